package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingero/internal/query"
)

var update = flag.Bool("update", false, "write what is said as what is expected")

// talk is a client of the server, line by line.
type talk struct {
	in   *io.PipeWriter
	out  *bufio.Reader
	done chan error
	log  bytes.Buffer
}

func begin(t *testing.T, o Options) *talk {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &talk{in: inW, out: bufio.NewReader(outR), done: make(chan error, 1)}
	o.Log = &c.log
	go func() { c.done <- Stdio(t.Context(), o, inR, outW) }()
	return c
}

// say sends a line and returns the answer, if one is due.
func (c *talk) say(t *testing.T, line string) string {
	t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(line, `"method":"notifications/`) || strings.TrimSpace(line) == "" {
		return ""
	}
	got := make(chan string, 1)
	go func() {
		s, _ := c.out.ReadString('\n')
		got <- s
	}()
	select {
	case s := <-got:
		return strings.TrimSuffix(s, "\n")
	case err := <-c.done:
		t.Fatalf("%s: the server ended: %v", line, err)
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: no answer", line)
	}
	return ""
}

// end closes the client's end and waits for the server to end well.
func (c *talk) end(t *testing.T) {
	t.Helper()
	c.in.Close()
	select {
	case err := <-c.done:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end when its client does")
	}
}

// A conversation is a file of lines: > from the client, < the answer, an error
// or the text of a result; # is a comment. What is not JSON is sent as it is.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.talk")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no conversations")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".talk"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o := open(t)
			if strings.Contains(file, "nothing") {
				whole := o.Asked
				o.Asked = func() (*query.Asked, error) {
					a, _ := whole()
					a.Data = nil
					return a, errors.New("there is no database; record something with 'sudo ingero trace'")
				}
			}
			c := begin(t, o)
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				line = strings.TrimSuffix(line, "\n")
				text, said := strings.CutPrefix(line, "> ")
				if !said {
					if strings.HasPrefix(line, "#") || line == "" {
						got.WriteString(line + "\n")
					}
					continue
				}
				got.WriteString(line + "\n")
				for l := range strings.Lines(shown(t, c.say(t, text))) {
					got.WriteString("< " + strings.TrimSuffix(l, "\n") + "\n")
				}
			}
			c.end(t)
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got.String() != string(want) {
				t.Errorf("%s", got.String())
			}
		})
	}
}

// shown is what matters of an answer: the text of a tool, else all but what
// every answer has.
func shown(t *testing.T, line string) string {
	t.Helper()
	if line == "" {
		return ""
	}
	var m struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
			Tools   []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	text := ""
	switch {
	case m.Result.Content != nil:
		for _, x := range m.Result.Content {
			text += x.Text + "\n"
		}
		if m.Result.IsError {
			text = "ERROR " + text
		}
	case m.Result.Tools != nil:
		for _, x := range m.Result.Tools {
			text += x.Name + "\n"
		}
	default:
		text = line
		if i := strings.Index(text, `"instructions":`); i > 0 {
			text = text[:i] + "…"
		}
	}
	return text
}

// The server ends without a word when it is told to.
func TestEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	done := make(chan error)
	go func() { done <- Stdio(ctx, open(t), r, io.Discard) }()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
}
