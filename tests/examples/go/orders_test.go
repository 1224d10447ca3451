package orders

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"testing"
)

var server *fixture

func TestMain(m *testing.M) {
	started, err := newFixture()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = started
	os.Exit(m.Run())
}

func newChannel(t *testing.T) *channel {
	made := &channel{}
	server.call(t, "channel", arguments{}, made)
	made.call(t, "table", arguments{"sql": "CREATE TABLE orders (id BIGINT PRIMARY KEY, amount DECIMAL(9,2) NOT NULL)"})
	return made
}

// follow runs the program until the function it returns is called.
func follow(t *testing.T, c *channel) (*Orders, func()) {
	orders, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- orders.Follow(ctx, server.ready.Brokers, c.Topic, c.SID, c.Username+"-"+c.SID, c.Password)
	}()
	return orders, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func order(id int, amount string) arguments {
	return arguments{"id": id, "amount": amount}
}

func (c *channel) insert(t *testing.T, rows ...arguments) {
	c.call(t, "insert", arguments{"table": "orders", "rows": rows})
}

func expect(t *testing.T, orders *Orders, wanted map[string]string) {
	t.Helper()
	if found := orders.Amounts(); !reflect.DeepEqual(found, wanted) {
		t.Errorf("found %v, wanted %v", found, wanted)
	}
}

func TestRowsThatComeChangeAndGo(t *testing.T) {
	c := newChannel(t)
	orders, stop := follow(t, c)
	defer stop()
	c.insert(t, order(1, "9.90"), order(2, "20"))
	c.call(t, "update", arguments{"table": "orders", "rows": [][]arguments{{order(1, "9.90"), order(1, "8.50")}}})
	c.call(t, "delete", arguments{"table": "orders", "rows": []arguments{order(2, "20")}})
	c.call(t, "wait_consumed", nil)
	expect(t, orders, map[string]string{"1": "8.50"})
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	c := newChannel(t)
	_, stop := follow(t, c)
	c.insert(t, order(1, "10"))
	c.call(t, "wait_consumed", nil)
	stop()
	c.insert(t, order(2, "20"))
	restarted, stop := follow(t, c)
	defer stop()
	c.call(t, "wait_consumed", nil)
	expect(t, restarted, map[string]string{"2": "20.00"})
}

func TestAConnectionThatBreaksLosesNothing(t *testing.T) {
	c := newChannel(t)
	c.call(t, "fault_cut", arguments{"api": "Fetch", "after_bytes": 20})
	orders, stop := follow(t, c)
	defer stop()
	c.insert(t, order(1, "10"))
	c.call(t, "wait_consumed", nil)
	expect(t, orders, map[string]string{"1": "10.00"})
}
