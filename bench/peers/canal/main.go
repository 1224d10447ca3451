// Reads a server's binlog with go-mysql's canal until so many row changes have come, and says as JSON what it saw and
// how long that took from the first event on: {"inserts", "updates", "deletes", "ids", "timed_rows", "seconds",
// "cpu_seconds"}; ids is the sum of the first column. With --print, each change is a line of JSON before that.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/canal"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

type seen struct {
	Inserts    int     `json:"inserts"`
	Updates    int     `json:"updates"`
	Deletes    int     `json:"deletes"`
	Ids        uint64  `json:"ids"`
	TimedRows  int     `json:"timed_rows"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

func (s *seen) rows() int { return s.Inserts + s.Updates + s.Deletes }

type counter struct {
	canal.DummyEventHandler
	seen
	wanted  int
	printer *json.Encoder
	start   time.Time
	cpu     float64
	done    chan struct{}
}

// OnGTID comes with the first event, while those that follow are decoded ahead of us, so the clock starts here.
func (c *counter) OnGTID(*replication.EventHeader, mysql.BinlogGTIDEvent) error {
	if c.start.IsZero() {
		c.start, c.cpu = time.Now(), cpuSeconds()
	}
	return nil
}

func (c *counter) OnRow(event *canal.RowsEvent) error {
	if err := c.count(event); err != nil {
		return err
	}
	if c.rows() >= c.wanted && c.done != nil {
		c.TimedRows = c.rows()
		c.Seconds, c.CPUSeconds = time.Since(c.start).Seconds(), cpuSeconds()-c.cpu
		close(c.done)
		c.done = nil
	}
	return nil
}

func (c *counter) count(event *canal.RowsEvent) error {
	step := 1
	switch event.Action {
	case canal.InsertAction:
		c.Inserts += len(event.Rows)
	case canal.DeleteAction:
		c.Deletes += len(event.Rows)
	case canal.UpdateAction: // the images before and after, in turns
		step = 2
		c.Updates += len(event.Rows) / 2
	}
	for i := step - 1; i < len(event.Rows); i += step {
		id, ok := event.Rows[i][0].(uint64)
		if !ok {
			return fmt.Errorf("an id of type %T", event.Rows[i][0])
		}
		c.Ids += id
	}
	if c.printer == nil {
		return nil
	}
	for i := 0; i < len(event.Rows); i += step {
		if err := c.printer.Encode(map[string]any{"action": event.Action, "images": event.Rows[i : i+step]}); err != nil {
			return err
		}
	}
	return nil
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func run() error {
	config := canal.NewDefaultConfig()
	config.Dump.ExecutionPath = "" // no snapshot
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	flag.StringVar(&config.Addr, "address", "", "host:port of the server")
	flag.StringVar(&config.User, "user", "", "")
	flag.StringVar(&config.Password, "password", "", "")
	file := flag.String("file", "", "the binlog file to begin in")
	position := flag.Uint("position", 4, "and the position in it")
	table := flag.String("table", "", "regular expression of database.table")
	wanted := flag.Int("rows", 0, "how many row changes to wait for")
	printing := flag.Bool("print", false, "print each row change")
	flag.Parse()
	config.IncludeTableRegex = []string{*table}
	reader, err := canal.NewCanal(config)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	handler := &counter{wanted: *wanted, done: done}
	output := bufio.NewWriter(os.Stdout)
	if *printing {
		handler.printer = json.NewEncoder(output)
	}
	reader.SetEventHandler(handler)
	failed := make(chan error, 1)
	go func() { failed <- reader.RunFrom(mysql.Position{Name: *file, Pos: uint32(*position)}) }()
	select {
	case err := <-failed:
		return fmt.Errorf("canal ended after %d rows: %w", handler.rows(), err)
	case <-done:
	}
	reader.Close()
	if err := json.NewEncoder(output).Encode(handler.seen); err != nil {
		return err
	}
	return output.Flush()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
