// Package scenarios is the line protocol between a test and a client process, the same for every Go library.
//
// In: one scenario per line, tab separated: its name, then key=value arguments. Out: JSON lines, any number of
// {"record": [offset, timestamp, key, value]} (base64, null kept), closed by one {"done": {...}} or {"error": "message"}.
// Standard output carries nothing else: what a library logs goes to standard error. End of input ends the process.
package scenarios

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Partition is the only one that a topic here has.
const Partition = 0

// Values is what a scenario closes with.
type Values map[string]any

// Scenario runs until it is done or ctx, which ends at the deadline, is.
type Scenario func(ctx context.Context, arguments Arguments) (Values, error)

// Serve runs the scenarios that standard input asks for, one after the other, until it ends.
func Serve(scenarios map[string]Scenario) {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return
		}
		name, arguments := parse(strings.TrimSuffix(line, "\n"))
		values, err := run(scenarios[name], arguments)
		if err != nil {
			emit("error", err.Error())
		} else {
			emit("done", values)
		}
	}
}

func run(scenario Scenario, arguments Arguments) (Values, error) {
	if scenario == nil {
		return nil, fmt.Errorf("no such scenario")
	}
	ctx, cancel := context.WithTimeout(context.Background(), arguments.Duration("deadline_ms"))
	defer cancel()
	return scenario(ctx, arguments)
}

func parse(line string) (string, Arguments) {
	fields := strings.Split(line, "\t")
	arguments := Arguments{}
	for _, pair := range fields[1:] {
		key, value, _ := strings.Cut(pair, "=")
		arguments[key] = value
	}
	return fields[0], arguments
}

func emit(kind string, value any) {
	text, err := json.Marshal(map[string]any{kind: value})
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(append(text, '\n')) // at once: who follows a topic waits for each record
}

// Arguments are what the test gave.
type Arguments map[string]string

// Int is a whole number; an argument that is missing or is none is a mistake of the test.
func (a Arguments) Int(key string) int64 {
	number, err := strconv.ParseInt(a[key], 10, 64)
	if err != nil {
		panic(fmt.Sprintf("argument %s: %v", key, err))
	}
	return number
}

// IntOr is a whole number, or other where the argument was not given.
func (a Arguments) IntOr(key string, other int64) int64 {
	if _, given := a[key]; !given {
		return other
	}
	return a.Int(key)
}

// Duration is an argument in milliseconds.
func (a Arguments) Duration(key string) time.Duration {
	return time.Duration(a.Int(key)) * time.Millisecond
}

// SessionTimeout is how long a member may be silent, and Heartbeat how often it is heard.
func (a Arguments) SessionTimeout() time.Duration {
	return time.Duration(a.IntOr("session_timeout_ms", 10_000)) * time.Millisecond
}

func (a Arguments) Heartbeat() time.Duration {
	return min(time.Second, a.SessionTimeout()/4)
}

// PartitionBytes is the most that a fetch should bring.
func (a Arguments) PartitionBytes() int32 {
	return int32(a.IntOr("partition_bytes", 1<<20))
}

// TLS is how a SASL_SSL listener's certificate is verified, nil for SASL_PLAINTEXT.
func (a Arguments) TLS() (*tls.Config, error) {
	if a["security"] != "SASL_SSL" {
		return nil, nil
	}
	pem, err := os.ReadFile(a["ca"])
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", a["ca"])
	}
	return &tls.Config{RootCAs: authorities}, nil
}

// Reading passes on exactly the records that a scenario wants, and knows the offset behind the last one.
type Reading struct {
	wanted, seen int64
	Next         int64
}

// NewReading is of as many records as the argument count says.
func NewReading(arguments Arguments) *Reading {
	return &Reading{wanted: arguments.Int("count"), Next: -1}
}

// Complete says whether all wanted records were seen.
func (r *Reading) Complete() bool {
	return r.seen >= r.wanted
}

// Record passes one on, unless all wanted ones were seen before.
func (r *Reading) Record(offset int64, timestamp time.Time, key, value []byte) {
	if r.Complete() {
		return
	}
	emit("record", []any{offset, timestamp.UnixMilli(), key, value})
	r.seen++
	r.Next = offset + 1
}

// Values closes a scenario that read.
func (r *Reading) Values() Values {
	return Values{"count": r.seen}
}

// Late is the error of a scenario whose deadline came first.
func (r *Reading) Late() error {
	return fmt.Errorf("read %d of %d records before the deadline", r.seen, r.wanted)
}
