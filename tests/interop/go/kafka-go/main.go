// The scenarios of kafka-go: its Reader for consuming, its Client for what the Reader keeps to itself (metadata of
// commits, look-ups).
package main

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"

	"binwire.test/interop/scenarios"
)

const (
	partition = scenarios.Partition
	maxWait   = 500 * time.Millisecond // the library's own is ten seconds: its Close waits for the fetch under way
	// noGeneration and a member id "" are how somebody commits who is no member of the group.
	noGeneration = -1
)

func main() {
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

// reader is a Reader and the last trouble it told its log: it tries again whatever happened, and says so nowhere else.
type reader struct {
	*kafka.Reader
	trouble string
}

func open(arguments scenarios.Arguments, configure func(*kafka.ReaderConfig)) (*reader, error) {
	settings, err := arguments.TLS()
	if err != nil {
		return nil, err
	}
	opened := &reader{}
	config := kafka.ReaderConfig{
		Brokers: strings.Split(arguments["bootstrap"], ","),
		Topic:   arguments["topic"],
		Dialer: &kafka.Dialer{
			ClientID:      arguments["client_id"],
			Timeout:       10 * time.Second,
			TLS:           settings,
			SASLMechanism: plain.Mechanism{Username: arguments["username"], Password: arguments["password"]},
		},
		MaxBytes:    int(arguments.PartitionBytes()),
		MaxWait:     maxWait,
		Logger:      kafka.LoggerFunc(log.Printf),
		ErrorLogger: kafka.LoggerFunc(opened.note),
	}
	configure(&config)
	opened.Reader = kafka.NewReader(config)
	return opened, nil
}

func (r *reader) note(format string, values ...any) {
	r.trouble = fmt.Sprintf(format, values...)
	log.Print(r.trouble)
}

// read gives the last message too, which is what a Reader commits.
func (r *reader) read(
	ctx context.Context, arguments scenarios.Arguments,
) (reading *scenarios.Reading, last kafka.Message, err error) {
	reading = scenarios.NewReading(arguments)
	for !reading.Complete() {
		last, err = r.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil, last, fmt.Errorf("%w; the reader's log: %s", reading.Late(), r.trouble)
		}
		if err != nil {
			return nil, last, err
		}
		reading.Record(last.Offset, last.Time, last.Key, last.Value)
	}
	return reading, last, nil
}

func join(arguments scenarios.Arguments) (*reader, error) {
	return open(arguments, func(config *kafka.ReaderConfig) {
		config.GroupID = arguments["group"]
		config.StartOffset = kafka.FirstOffset
		config.SessionTimeout = arguments.SessionTimeout()
		config.HeartbeatInterval = arguments.Heartbeat()
		config.GroupBalancers = []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}} // range serves the last member
	})
}

// group commits as a member, without metadata, as a Reader's commits have none; the metadata follows from outside.
func group(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	member, err := join(arguments)
	if err != nil {
		return nil, err
	}
	reading, err := member.readAndCommit(ctx, arguments)
	_ = member.Close()
	if err != nil {
		return nil, err
	}
	return reading.Values(), commit(ctx, arguments, reading)
}

// hold is group by a member that stays until the process ends.
func hold(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	member, err := join(arguments)
	if err != nil {
		return nil, err
	}
	reading, err := member.readAndCommit(ctx, arguments)
	if err != nil {
		return nil, err
	}
	return reading.Values(), nil
}

func (r *reader) readAndCommit(ctx context.Context, arguments scenarios.Arguments) (*scenarios.Reading, error) {
	reading, last, err := r.read(ctx, arguments)
	if _, given := arguments["metadata"]; err == nil && given {
		err = r.CommitMessages(ctx, last)
	}
	return reading, err
}

func commit(ctx context.Context, arguments scenarios.Arguments, reading *scenarios.Reading) error {
	metadata := arguments["metadata"]
	if metadata == "" {
		return nil
	}
	return withClient(arguments, func(client *kafka.Client) error {
		response, err := client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
			GroupID:      arguments["group"],
			GenerationID: noGeneration,
			Topics: map[string][]kafka.OffsetCommit{
				arguments["topic"]: {{Partition: partition, Offset: reading.Next, Metadata: metadata}},
			},
		})
		if err != nil {
			return err
		}
		return response.Topics[arguments["topic"]][0].Error
	})
}

func assign(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	reading, err := readFrom(ctx, arguments, arguments.Int("offset"))
	if err != nil {
		return nil, err
	}
	return reading.Values(), commit(ctx, arguments, reading)
}

func readFrom(ctx context.Context, arguments scenarios.Arguments, offset int64) (*scenarios.Reading, error) {
	opened, err := open(arguments, func(config *kafka.ReaderConfig) { config.Partition = partition })
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	if err := opened.SetOffset(offset); err != nil {
		return nil, err
	}
	reading, _, err := opened.read(ctx, arguments)
	return reading, err
}

func withClient(arguments scenarios.Arguments, use func(*kafka.Client) error) error {
	settings, err := arguments.TLS()
	if err != nil {
		return err
	}
	transport := &kafka.Transport{
		ClientID: arguments["client_id"],
		TLS:      settings,
		SASL:     plain.Mechanism{Username: arguments["username"], Password: arguments["password"]},
	}
	defer transport.CloseIdleConnections()
	bootstrap := strings.Split(arguments["bootstrap"], ",")
	return use(&kafka.Client{Addr: kafka.TCP(bootstrap...), Transport: transport})
}

// offsets answers one question to ListOffsets.
func offsets(
	ctx context.Context, arguments scenarios.Arguments, asked ...kafka.OffsetRequest,
) (found kafka.PartitionOffsets, err error) {
	err = withClient(arguments, func(client *kafka.Client) error {
		response, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{arguments["topic"]: asked},
		})
		if err != nil {
			return err
		}
		found = response.Topics[arguments["topic"]][0]
		return found.Error
	})
	return found, err
}

func assignTime(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	asked := time.UnixMilli(arguments.Int("timestamp"))
	found, err := offsets(ctx, arguments, kafka.TimeOffsetOf(partition, asked))
	if err != nil {
		return nil, err
	}
	for offset, timestamp := range found.Offsets {
		if offset < 0 {
			break
		}
		if _, err := readFrom(ctx, arguments, offset); err != nil {
			return nil, err
		}
		return scenarios.Values{"offset": offset, "timestamp": timestamp.UnixMilli()}, nil
	}
	return scenarios.Values{"offset": nil, "timestamp": nil}, nil
}

func bounds(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	found, err := offsets(ctx, arguments, kafka.FirstOffsetOf(partition), kafka.LastOffsetOf(partition))
	return scenarios.Values{"begin": found.FirstOffset, "end": found.LastOffset}, err
}

func committed(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	values := scenarios.Values{"offset": nil, "metadata": nil}
	return values, withClient(arguments, func(client *kafka.Client) error {
		response, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
			GroupID: arguments["group"],
			Topics:  map[string][]int{arguments["topic"]: {partition}},
		})
		if err != nil {
			return err
		}
		if response.Error != nil {
			return response.Error
		}
		found := response.Topics[arguments["topic"]][0]
		if found.CommittedOffset >= 0 {
			values["offset"], values["metadata"] = found.CommittedOffset, found.Metadata
		}
		return found.Error
	})
}

func topics(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	names := []string{}
	err := withClient(arguments, func(client *kafka.Client) error {
		response, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		if err != nil {
			return err
		}
		for _, topic := range response.Topics {
			names = append(names, topic.Name)
		}
		return nil
	})
	return scenarios.Values{"topics": names}, err
}
