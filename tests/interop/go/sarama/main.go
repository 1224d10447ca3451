// The scenarios of sarama, one source for Shopify's and IBM's releases: shopify.mod puts the old one in the new one's
// place. The program's argument is what a user sets as Config.Version, from which every request's version follows.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"binwire.test/interop/scenarios"
)

const partition = scenarios.Partition

func main() {
	sarama.Logger = log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds)
	scenarios.Serve(map[string]scenarios.Scenario{
		"group":       group,
		"hold":        hold,
		"assign":      assign,
		"assign_time": assignTime,
		"bounds":      bounds,
		"committed":   committed,
		"topics":      topics,
	})
}

func connect(arguments scenarios.Arguments) (sarama.Client, error) {
	config := sarama.NewConfig()
	version, err := sarama.ParseKafkaVersion(os.Args[1])
	if err != nil {
		return nil, err
	}
	config.Version = version
	adapt(config)
	config.ClientID = arguments["client_id"]
	config.Net.SASL.Enable = true
	config.Net.SASL.User = arguments["username"]
	config.Net.SASL.Password = arguments["password"]
	if config.Net.TLS.Config, err = arguments.TLS(); err != nil {
		return nil, err
	}
	config.Net.TLS.Enable = config.Net.TLS.Config != nil
	config.Consumer.Fetch.Default = arguments.PartitionBytes()
	sarama.MaxResponseSize = int32(arguments.IntOr("response_bytes", int64(sarama.MaxResponseSize)))
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Rebalance.Retry.Backoff = 250 * time.Millisecond
	config.Consumer.Group.Session.Timeout = arguments.SessionTimeout()
	config.Consumer.Group.Heartbeat.Interval = arguments.Heartbeat()
	return sarama.NewClient(strings.Split(arguments["bootstrap"], ","), config)
}

func group(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if !client.Config().Version.IsAtLeast(sarama.V0_10_2_0) {
		return goOn(ctx, client, arguments)
	}
	member, err := join(client, arguments)
	if err != nil {
		return nil, err
	}
	defer member.leave()
	return member.finish(ctx)
}

// goOn reads and commits where the group's committed offset says, without a membership: sarama has none for that version.
func goOn(ctx context.Context, client sarama.Client, arguments scenarios.Arguments) (scenarios.Values, error) {
	offset := sarama.OffsetOldest
	err := withOffsets(client, arguments, func(_ sarama.OffsetManager, mine sarama.PartitionOffsetManager) error {
		offset, _ = mine.NextOffset()
		return nil
	})
	if err != nil {
		return nil, err
	}
	reading, err := read(ctx, client, arguments, offset)
	if err != nil {
		return nil, err
	}
	return reading.Values(), commit(client, arguments, reading)
}

// hold is group by a member that stays until the process ends.
func hold(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	member, err := join(client, arguments)
	if err != nil {
		return nil, err
	}
	return member.finish(ctx)
}

// member is a consumer of a group; it reads in the library's goroutines.
type member struct {
	consumers sarama.ConsumerGroup
	reading   *scenarios.Reading
	metadata  *string
	done      chan struct{}
	failed    chan error
	stop      context.CancelFunc
	stopped   chan struct{}
}

func join(client sarama.Client, arguments scenarios.Arguments) (*member, error) {
	consumers, err := sarama.NewConsumerGroupFromClient(arguments["group"], client)
	if err != nil {
		return nil, err
	}
	staying, stop := context.WithCancel(context.Background())
	member := &member{
		consumers: consumers,
		reading:   scenarios.NewReading(arguments),
		done:      make(chan struct{}),
		failed:    make(chan error, 1),
		stop:      stop,
		stopped:   make(chan struct{}),
	}
	if metadata, given := arguments["metadata"]; given {
		member.metadata = &metadata
	}
	go member.consume(staying, arguments["topic"])
	go member.watch()
	return member, nil
}

func (m *member) consume(staying context.Context, topic string) {
	defer close(m.stopped)
	for staying.Err() == nil {
		if err := m.consumers.Consume(staying, []string{topic}, m); err != nil {
			m.fail(err)
			return
		}
	}
}

func (m *member) watch() {
	for err := range m.consumers.Errors() {
		m.fail(err)
	}
}

func (m *member) fail(err error) {
	select {
	case m.failed <- err:
	default:
		log.Print(err)
	}
}

func (m *member) finish(ctx context.Context) (scenarios.Values, error) {
	select {
	case <-m.done:
		return m.reading.Values(), nil
	case err := <-m.failed:
		return nil, err
	case <-ctx.Done():
		return nil, m.reading.Late()
	}
}

// leave ends both ways of waiting there are: release 1.29 looks for its coordinator until it is closed, whatever its context says.
func (m *member) leave() {
	m.stop()
	_ = m.consumers.Close()
	<-m.stopped
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		if m.reading.Complete() {
			continue
		}
		m.reading.Record(message.Offset, message.Timestamp, message.Key, message.Value)
		if m.reading.Complete() {
			if m.metadata != nil {
				session.MarkOffset(claim.Topic(), claim.Partition(), m.reading.Next, *m.metadata)
				session.Commit()
			}
			close(m.done)
		}
	}
	return nil
}

func assign(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	reading, err := read(ctx, client, arguments, arguments.Int("offset"))
	if err != nil {
		return nil, err
	}
	return reading.Values(), commit(client, arguments, reading)
}

func read(
	ctx context.Context, client sarama.Client, arguments scenarios.Arguments, offset int64,
) (*scenarios.Reading, error) {
	reading := scenarios.NewReading(arguments)
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	messages, err := consumer.ConsumePartition(arguments["topic"], partition, offset)
	if err != nil {
		return nil, err
	}
	defer messages.AsyncClose()
	for !reading.Complete() {
		select {
		case message := <-messages.Messages():
			reading.Record(message.Offset, message.Timestamp, message.Key, message.Value)
		case err := <-messages.Errors():
			return nil, err
		case <-ctx.Done():
			return nil, reading.Late()
		}
	}
	return reading, nil
}

// commit is that of a consumer without a group membership, if metadata was given.
func commit(client sarama.Client, arguments scenarios.Arguments, reading *scenarios.Reading) error {
	metadata, given := arguments["metadata"]
	if !given {
		return nil
	}
	return withOffsets(client, arguments, func(offsets sarama.OffsetManager, mine sarama.PartitionOffsetManager) error {
		mine.MarkOffset(reading.Next, metadata)
		offsets.Commit()
		select {
		case err := <-mine.Errors():
			return err
		default:
			return nil
		}
	})
}

func withOffsets(
	client sarama.Client, arguments scenarios.Arguments,
	use func(sarama.OffsetManager, sarama.PartitionOffsetManager) error,
) error {
	offsets, err := sarama.NewOffsetManagerFromClient(arguments["group"], client)
	if err != nil {
		return err
	}
	defer offsets.Close()
	mine, err := offsets.ManagePartition(arguments["topic"], partition)
	if err != nil {
		return err
	}
	defer mine.AsyncClose()
	return use(offsets, mine)
}

func committed(_ context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	values := scenarios.Values{"offset": nil, "metadata": nil}
	return values, withOffsets(client, arguments, func(_ sarama.OffsetManager, mine sarama.PartitionOffsetManager) error {
		if offset, metadata := mine.NextOffset(); offset >= 0 {
			values["offset"], values["metadata"] = offset, metadata
		}
		return nil
	})
}

func assignTime(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	offset, err := client.GetOffset(arguments["topic"], partition, arguments.Int("timestamp"))
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return scenarios.Values{"offset": nil, "timestamp": nil}, nil
	}
	timestamp, err := timestampFound(client, arguments)
	if err != nil {
		return nil, err
	}
	if _, err := read(ctx, client, arguments, offset); err != nil {
		return nil, err
	}
	return scenarios.Values{"offset": offset, "timestamp": timestamp}, nil
}

// timestampFound asks the broker itself, as GetOffset keeps to itself which time was found.
func timestampFound(client sarama.Client, arguments scenarios.Arguments) (int64, error) {
	leader, err := client.Leader(arguments["topic"], partition)
	if err != nil {
		return 0, err
	}
	request := &sarama.OffsetRequest{Version: 1}
	request.AddBlock(arguments["topic"], partition, arguments.Int("timestamp"), 1)
	response, err := leader.GetAvailableOffsets(request)
	if err != nil {
		return 0, err
	}
	block := response.GetBlock(arguments["topic"], partition)
	if block == nil {
		return 0, fmt.Errorf("the answer lacks the partition")
	}
	return block.Timestamp, nil
}

func bounds(_ context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	begin, err := client.GetOffset(arguments["topic"], partition, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	end, err := client.GetOffset(arguments["topic"], partition, sarama.OffsetNewest)
	return scenarios.Values{"begin": begin, "end": end}, err
}

func topics(_ context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := connect(arguments)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	names, err := client.Topics()
	return scenarios.Values{"topics": names}, err
}
