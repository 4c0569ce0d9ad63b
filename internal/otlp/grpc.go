package otlp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
)

// codes are the names of gRPC status codes, by number.
var codes = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

const (
	ok                = 0
	unknown           = 2
	resourceExhausted = 8
)

// passingCodes are those after which a request may be sent again, says the
// specification of OTLP; RESOURCE_EXHAUSTED as well, with RetryInfo only.
var passingCodes = map[int]bool{1: true, 4: true, 10: true, 11: true, 14: true, 15: true}

// postGRPC makes a unary call: one frame in a POST, the status in trailers.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
func (c *client) postGRPC(ctx context.Context, body []byte) answer {
	r, err := c.request(ctx, frame(body, c.gzip))
	if err != nil {
		return answer{err: err}
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	r.Header.Set("Grpc-Accept-Encoding", "identity, gzip")
	if c.gzip {
		r.Header.Set("Grpc-Encoding", "gzip")
	}
	if deadline, has := ctx.Deadline(); has {
		r.Header.Set("Grpc-Timeout", strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10)+"m")
	}
	resp, text, err := c.do(r)
	if err != nil {
		return answer{err: err, retry: true}
	}
	if resp.StatusCode != http.StatusOK {
		return answer{
			err: fmt.Errorf("HTTP %s instead of gRPC", resp.Status), status: resp.Status,
			retry: passing(resp.StatusCode), after: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
		}
	}
	if a := grpcStatus(resp); a.err != nil {
		return a
	}
	a := answer{status: codes[ok]}
	if message, err := unframe(text, resp.Header.Get("Grpc-Encoding")); err == nil {
		a.rejected, a.message = c.partial("", message)
	}
	return a
}

// grpcStatus reads the status from the trailers, or from the headers of an
// answer that consists of nothing else.
func grpcStatus(resp *http.Response) answer {
	from := resp.Trailer
	if from.Get("Grpc-Status") == "" {
		from = resp.Header
	}
	text := from.Get("Grpc-Status")
	if text == "" {
		return answer{err: errors.New("the answer is not gRPC; is it the right port?"), status: resp.Status}
	}
	code, err := strconv.Atoi(text)
	if err != nil || code < 0 || code >= len(codes) {
		code = unknown
	}
	if code == ok {
		return answer{}
	}
	message, err := url.PathUnescape(from.Get("Grpc-Message"))
	if err != nil {
		message = from.Get("Grpc-Message")
	}
	a := answer{err: errors.New("gRPC " + codes[code] + colon(shown(message))), status: codes[code], retry: passingCodes[code]}
	if details, err := base64.RawStdEncoding.DecodeString(trimPadding(from.Get("Grpc-Status-Details-Bin"))); err == nil {
		if _, wait := readStatus(details); wait >= 0 {
			a.after = wait
			a.retry = a.retry || code == resourceExhausted
		}
	}
	return a
}

func trimPadding(s string) string {
	for len(s) > 0 && s[len(s)-1] == '=' {
		s = s[:len(s)-1]
	}
	return s
}

const frameHeader = 5 // whether it is compressed, and its length

func frame(message []byte, compressed bool) []byte {
	b := make([]byte, frameHeader, frameHeader+len(message))
	if compressed {
		b[0] = 1
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(message)))
	return append(b, message...)
}

var errFrame = errors.New("not a gRPC frame")

func unframe(b []byte, encoding string) ([]byte, error) {
	if len(b) < frameHeader || uint64(len(b)-frameHeader) < uint64(binary.BigEndian.Uint32(b[1:])) {
		return nil, errFrame
	}
	message := b[frameHeader : frameHeader+int(binary.BigEndian.Uint32(b[1:]))]
	switch {
	case b[0] == 0:
		return message, nil
	case encoding != "gzip":
		return nil, errFrame
	}
	z, err := gzip.NewReader(bytes.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return io.ReadAll(io.LimitReader(z, maxAnswer))
}
