package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// maxLine is how many bytes a message of the client may have.
const maxLine = 1 << 20

// pipe stands between the client and the server: lines that are no message are
// answered here with an error, so that one of them does not end the server.
func pipe(in io.Reader, out io.Writer, log io.Writer) (io.ReadCloser, io.WriteCloser) {
	w := &answers{w: out}
	return &lines{in: bufio.NewReaderSize(in, 64<<10), out: w, log: log}, w
}

// answers lets two write whole lines, and knows which questions are open.
type answers struct {
	mu   sync.Mutex
	w    io.Writer
	open int
	none chan struct{} // closed when none is; nil: nobody waits
}

func (w *answers) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.w.Write(b)
	if m, wrong := jsonrpc.DecodeMessage(bytes.TrimSpace(b)); wrong == nil {
		if r, is := m.(*jsonrpc.Response); is && r.ID.IsValid() {
			w.closed()
		}
	}
	return n, err
}

func (w *answers) closed() {
	w.open--
	if w.open <= 0 && w.none != nil {
		close(w.none)
		w.none = nil
	}
}

func (w *answers) Close() error { return nil }

// asked notes a question.
func (w *answers) asked() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
}

// lastAnswers is how long a client that has closed its end may still be read
// by: a script that pipes questions in wants their answers.
const lastAnswers = 5 * time.Second

// wait returns when no question is open, or after a while.
func (w *answers) wait() {
	w.mu.Lock()
	if w.open <= 0 {
		w.mu.Unlock()
		return
	}
	none := make(chan struct{})
	w.none = none
	w.mu.Unlock()
	select {
	case <-none:
	case <-time.After(lastAnswers):
	}
}

type lines struct {
	in   *bufio.Reader
	out  *answers
	log  io.Writer
	rest []byte // of a line that is good
}

func (l *lines) Close() error { return nil }

func (l *lines) Read(b []byte) (int, error) {
	for len(l.rest) == 0 {
		line, err := l.next()
		if len(bytes.TrimSpace(line)) > 0 {
			if code, question, wrong := refusal(line); wrong != nil {
				if err := l.refuse(code, wrong); err != nil {
					return 0, err
				}
			} else {
				if question {
					l.out.asked()
				}
				l.rest = append(bytes.TrimRight(line, "\r\n"), '\n')
				break
			}
		}
		if err != nil {
			l.out.wait()
			return 0, err
		}
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

var errLong = fmt.Errorf("a message has more than %d bytes", maxLine)

// next returns the next line; of one that is too long, only so much that refusal
// can tell.
func (l *lines) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// refusal says why a line is no message of the protocol; else whether it is a
// question that will be answered.
func refusal(line []byte) (code int, question bool, wrong error) {
	line = bytes.TrimSpace(line)
	switch {
	case len(line) > maxLine:
		return jsonrpc.CodeInvalidRequest, false, errLong
	case line[0] == '[':
		return jsonrpc.CodeInvalidRequest, false, errors.New("send messages one by one, each on a line")
	}
	m, err := jsonrpc.DecodeMessage(line)
	if err != nil {
		return jsonrpc.CodeParseError, false, errors.New("this line is no JSON-RPC message")
	}
	r, is := m.(*jsonrpc.Request)
	return 0, is && r.ID.IsValid(), nil
}

func (l *lines) refuse(code int, wrong error) error {
	fmt.Fprintf(l.log, "mcp: %v\n", wrong)
	_, err := fmt.Fprintf(l.out, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":%q}}\n", code, wrong)
	return err
}
