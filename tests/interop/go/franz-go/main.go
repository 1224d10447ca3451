// The scenarios of franz-go: kgo for consuming, its companion kadm for look-ups.
package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"binwire.test/interop/scenarios"
)

const partition = scenarios.Partition

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

func connect(arguments scenarios.Arguments, options ...kgo.Opt) (*kgo.Client, error) {
	settings, err := arguments.TLS()
	if err != nil {
		return nil, err
	}
	options = append(
		options,
		kgo.ClientID(arguments["client_id"]),
		kgo.SeedBrokers(strings.Split(arguments["bootstrap"], ",")...),
		kgo.SASL(plain.Auth{User: arguments["username"], Pass: arguments["password"]}.AsMechanism()),
		kgo.FetchMaxPartitionBytes(arguments.PartitionBytes()),
		kgo.BrokerMaxReadBytes(int32(arguments.IntOr("response_bytes", 100<<20))),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelInfo, nil)),
	)
	if settings != nil {
		options = append(options, kgo.DialTLSConfig(settings))
	}
	return kgo.NewClient(options...)
}

func join(arguments scenarios.Arguments) (*kgo.Client, error) {
	return connect(
		arguments,
		kgo.ConsumerGroup(arguments["group"]),
		kgo.ConsumeTopics(arguments["topic"]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(arguments.SessionTimeout()),
		kgo.HeartbeatInterval(arguments.Heartbeat()),
	)
}

func group(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := join(arguments)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return readAndCommit(ctx, client, arguments)
}

// hold is group by a member that stays until the process ends.
func hold(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	client, err := join(arguments)
	if err != nil {
		return nil, err
	}
	return readAndCommit(ctx, client, arguments)
}

func readAndCommit(
	ctx context.Context, client *kgo.Client, arguments scenarios.Arguments,
) (scenarios.Values, error) {
	reading, err := read(ctx, client, arguments)
	if err != nil {
		return nil, err
	}
	metadata, given := arguments["metadata"]
	if !given {
		return reading.Values(), nil
	}
	var failed error
	client.CommitOffsetsSync(
		kgo.PreCommitFnContext(ctx, withMetadata(metadata)),
		map[string]map[int32]kgo.EpochOffset{arguments["topic"]: {partition: {Epoch: -1, Offset: reading.Next}}},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			failed = errors.Join(err, refused(response))
		},
	)
	return reading.Values(), failed
}

// refused is the error code inside an answer that came.
func refused(response *kmsg.OffsetCommitResponse) error {
	if response == nil {
		return nil
	}
	return kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
}

func withMetadata(metadata string) func(*kmsg.OffsetCommitRequest) error {
	return func(request *kmsg.OffsetCommitRequest) error {
		for _, topic := range request.Topics {
			for i := range topic.Partitions {
				topic.Partitions[i].Metadata = &metadata
			}
		}
		return nil
	}
}

func read(
	ctx context.Context, client *kgo.Client, arguments scenarios.Arguments,
) (*scenarios.Reading, error) {
	reading := scenarios.NewReading(arguments)
	for !reading.Complete() {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, reading.Late()
		}
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			reading.Record(record.Offset, record.Timestamp, record.Key, record.Value)
		})
	}
	return reading, nil
}

func readFrom(
	ctx context.Context, arguments scenarios.Arguments, offset int64,
) (scenarios.Values, error) {
	client, err := connect(arguments, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		arguments["topic"]: {partition: kgo.NewOffset().At(offset)},
	}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	reading, err := read(ctx, client, arguments)
	if err != nil {
		return nil, err
	}
	return reading.Values(), nil
}

func assign(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	return readFrom(ctx, arguments, arguments.Int("offset"))
}

// lookUp runs one question to kadm.
func lookUp[T any](arguments scenarios.Arguments, ask func(*kadm.Client) (T, error)) (T, error) {
	client, err := connect(arguments)
	if err != nil {
		var nothing T
		return nothing, err
	}
	defer client.Close()
	return ask(kadm.NewClient(client))
}

func assignTime(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	listed, err := lookUp(arguments, func(admin *kadm.Client) (kadm.ListedOffsets, error) {
		return admin.ListOffsetsAfterMilli(ctx, arguments.Int("timestamp"), arguments["topic"])
	})
	if err != nil {
		return nil, err
	}
	found, _ := listed.Lookup(arguments["topic"], partition)
	if found.Err != nil {
		return nil, found.Err
	}
	if found.Timestamp < 0 { // kadm puts the log's end there
		return scenarios.Values{"offset": nil, "timestamp": nil}, nil
	}
	if _, err := readFrom(ctx, arguments, found.Offset); err != nil {
		return nil, err
	}
	return scenarios.Values{"offset": found.Offset, "timestamp": found.Timestamp}, nil
}

func bounds(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	values := scenarios.Values{}
	return lookUp(arguments, func(admin *kadm.Client) (scenarios.Values, error) {
		for name, list := range map[string]func(context.Context, ...string) (kadm.ListedOffsets, error){
			"begin": admin.ListStartOffsets, "end": admin.ListEndOffsets,
		} {
			listed, err := list(ctx, arguments["topic"])
			if err != nil {
				return nil, err
			}
			found, _ := listed.Lookup(arguments["topic"], partition)
			if found.Err != nil {
				return nil, found.Err
			}
			values[name] = found.Offset
		}
		return values, nil
	})
}

func committed(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	offsets, err := lookUp(arguments, func(admin *kadm.Client) (kadm.OffsetResponses, error) {
		return admin.FetchOffsets(ctx, arguments["group"])
	})
	if err != nil {
		return nil, err
	}
	found, ok := offsets.Lookup(arguments["topic"], partition)
	if !ok || found.At < 0 {
		return scenarios.Values{"offset": nil, "metadata": nil}, nil
	}
	return scenarios.Values{"offset": found.At, "metadata": found.Metadata}, found.Err
}

func topics(ctx context.Context, arguments scenarios.Arguments) (scenarios.Values, error) {
	listed, err := lookUp(arguments, func(admin *kadm.Client) (kadm.TopicDetails, error) {
		return admin.ListTopics(ctx)
	})
	return scenarios.Values{"topics": listed.Names()}, err
}
