package orders

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// fixture is `binwire fixture`: a server for one test run, whose changes come by call. It ends when its standard input
// does, and so with this process, however that ends. `GET /` of its address lists the calls.
type fixture struct {
	process *exec.Cmd
	ready   struct {
		URL     string `json:"url"`
		Brokers string `json:"bootstrap_servers"`
	}
}

type arguments = map[string]any

func newFixture() (*fixture, error) {
	command := os.Getenv("BINWIRE")
	if command == "" {
		command = "binwire"
	}
	f := &fixture{process: exec.Command(command, "fixture")}
	f.process.Stderr = os.Stderr
	// Kept open: at its end the fixture ends.
	if _, err := f.process.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := f.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.process.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%s fixture did not start: %w", command, err)
	}
	return f, json.Unmarshal(line, &struct{ Ready any }{&f.ready})
}

// call does a call and reads its result into `result`.
func (f *fixture) call(t *testing.T, name string, given arguments, result any) {
	t.Helper()
	body, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(f.ready.URL+"/"+name, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var refused struct{ Error string }
		_ = json.NewDecoder(response.Body).Decode(&refused)
		t.Fatalf("%s: %s", name, refused.Error)
	}
	if err := json.NewDecoder(response.Body).Decode(&result); err != nil {
		t.Fatal(err)
	}
}

// channel is a fresh topic with a consumer group of its own.
type channel struct {
	Name     string `json:"channel"`
	Topic    string `json:"topic"`
	SID      string `json:"sid"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// call does a call about this channel.
func (c *channel) call(t *testing.T, name string, given arguments) {
	t.Helper()
	all := arguments{"channel": c.Name}
	for key, value := range given {
		all[key] = value
	}
	var result any
	server.call(t, name, all, &result)
}
