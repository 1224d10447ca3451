// Package orders keeps what every order of a shop costs in memory by following the changes of its table.
//
// Changes come at least once: each is applied by the row's primary key, so one that comes twice does no harm, and is
// committed some time after it was applied.
package orders

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/linkedin/goavro/v2"
)

//go:generate sh -c "binwire schema > record.avsc"

//go:embed record.avsc
var schema string

type object = map[string]interface{}

// Orders has the amounts of all orders by their ids.
type Orders struct {
	codec   *goavro.Codec
	mutex   sync.Mutex
	amounts map[string]string
}

// New is a shop without orders.
func New() (*Orders, error) {
	codec, err := goavro.NewCodec(schema)
	return &Orders{codec: codec, amounts: map[string]string{}}, err
}

// Amounts is a copy of what is known now.
func (o *Orders) Amounts() map[string]string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	amounts := map[string]string{}
	for id, amount := range o.amounts {
		amounts[id] = amount
	}
	return amounts
}

// Follow applies and commits what comes until the context ends.
func (o *Orders) Follow(ctx context.Context, brokers, topic, sid, login, password string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V1_0_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest                // where the group has consumed nothing yet
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond // what is marked by then, and nothing else
	config.Net.SASL.Enable = true
	config.Net.SASL.Mechanism = sarama.SASLTypePlaintext
	config.Net.SASL.Version = sarama.SASLHandshakeV1
	config.Net.SASL.User = login
	config.Net.SASL.Password = password
	group, err := sarama.NewConsumerGroup([]string{brokers}, sid, config)
	if err != nil {
		return err
	}
	defer group.Close()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, o); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Setup is called before a partition is read.
func (o *Orders) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is called when it is read no more.
func (o *Orders) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads a partition.
func (o *Orders) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			record, _, err := o.codec.NativeFromBinary(message.Value)
			if err != nil {
				return fmt.Errorf("offset %d: %w", message.Offset, err)
			}
			o.apply(record.(object))
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

// apply takes one change; records of anything else than rows of `orders` are passed over.
func (o *Orders) apply(record object) {
	switch record["operation"] {
	case "INSERT", "UPDATE", "DELETE":
	default:
		return
	}
	name, _ := record["objectName"].(object)
	if text, _ := name["string"].(string); !strings.HasSuffix(text, ".orders") {
		return
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if before := row(record, "beforeImages"); before != nil {
		delete(o.amounts, before["id"])
	}
	if after := row(record, "afterImages"); after != nil {
		o.amounts[after["id"]] = after["amount"]
	}
}

// row is an image by column name; integers and decimals come with their digits as text.
func row(record object, image string) map[string]string {
	cells, ok := record[image].(object)
	if !ok {
		return nil
	}
	values := map[string]string{}
	for index, field := range record["fields"].(object)["array"].([]interface{}) {
		cell, _ := cells["array"].([]interface{})[index].(object)
		for _, value := range cell {
			values[field.(object)["name"].(string)] = fmt.Sprint(value.(object)["value"])
		}
	}
	return values
}
