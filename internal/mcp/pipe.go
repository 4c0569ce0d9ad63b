package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// maxLine is how many bytes a message of the client may have.
const maxLine = 1 << 20

// pipe stands between the client and the server: lines that are no message are
// answered here with an error, so that one of them does not end the server.
func pipe(in io.Reader, out io.Writer, log io.Writer) (io.ReadCloser, io.WriteCloser) {
	w := &lockedWriter{w: out}
	return &lines{in: bufio.NewReaderSize(in, 64<<10), out: w, log: log}, w
}

// lockedWriter lets two write whole lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

func (w *lockedWriter) Close() error { return nil }

type lines struct {
	in   *bufio.Reader
	out  io.Writer
	log  io.Writer
	rest []byte // of a line that is good
}

func (l *lines) Close() error { return nil }

func (l *lines) Read(b []byte) (int, error) {
	for len(l.rest) == 0 {
		line, err := l.next()
		if len(bytes.TrimSpace(line)) > 0 {
			if code, wrong := refusal(line); wrong != nil {
				if err := l.refuse(code, wrong); err != nil {
					return 0, err
				}
			} else {
				l.rest = append(bytes.TrimRight(line, "\r\n"), '\n')
				break
			}
		}
		if err != nil {
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

// refusal says why a line is no message of the protocol.
func refusal(line []byte) (int, error) {
	line = bytes.TrimSpace(line)
	switch {
	case len(line) > maxLine:
		return jsonrpc.CodeInvalidRequest, errLong
	case line[0] == '[':
		return jsonrpc.CodeInvalidRequest, errors.New("send messages one by one, each on a line")
	}
	if _, err := jsonrpc.DecodeMessage(line); err != nil {
		return jsonrpc.CodeParseError, errors.New("this line is no JSON-RPC message")
	}
	return 0, nil
}

func (l *lines) refuse(code int, wrong error) error {
	fmt.Fprintf(l.log, "mcp: %v\n", wrong)
	_, err := fmt.Fprintf(l.out, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":%q}}\n", code, wrong)
	return err
}
