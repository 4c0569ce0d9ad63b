package otlp

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	firstWait   = time.Second
	longestWait = 30 * time.Second
	obeyedWait  = 10 * time.Minute // the most that a collector may ask for
)

// backoff is how long to wait after so many failures in a row, from 1 on:
// 1 s, 2 s, 4 s … 30 s, half of it by chance, so that those who failed
// together do not come back together.
func backoff(failures int) time.Duration {
	d := min(firstWait<<min(failures-1, 10), longestWait)
	return d/2 + rand.N(d/2+1)
}

// passing reports whether a request that was answered so may be sent again.
// The specification of OTLP lists these, and no others.
func passing(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, obeyedWait)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), obeyedWait)
	}
	return 0
}

// failure is the message of a failed request: google.rpc.Status as JSON or
// protobuf, or plain text.
func failure(kind string, body []byte) string {
	switch kind, _, _ = strings.Cut(kind, ";"); kind {
	case "application/json":
		var status struct{ Message string }
		if json.Unmarshal(body, &status) == nil && status.Message != "" {
			return shown(status.Message)
		}
	case "application/x-protobuf":
		message, _ := readStatus(body)
		return shown(message)
	case "text/html": // of a proxy, for people
		return ""
	}
	return shown(string(body))
}

// readStatus reads google.rpc.Status: its message, and how long to wait if a
// google.rpc.RetryInfo among its details says so, else -1.
func readStatus(b []byte) (message string, wait time.Duration) {
	wait = -1
	fields(b, func(n protowire.Number, _ uint64, b []byte) {
		switch n {
		case 2:
			message = string(b)
		case 3:
			if d := readRetryInfo(b); d >= 0 {
				wait = d
			}
		}
	})
	return message, wait
}

// readRetryInfo reads google.protobuf.Any, and the google.protobuf.Duration
// in it; -1 if it is another message.
func readRetryInfo(b []byte) time.Duration {
	var kind string
	var value []byte
	fields(b, func(n protowire.Number, _ uint64, b []byte) {
		switch n {
		case 1:
			kind = string(b)
		case 2:
			value = b
		}
	})
	if !strings.HasSuffix(kind, "/google.rpc.RetryInfo") {
		return -1
	}
	var wait time.Duration
	fields(value, func(n protowire.Number, _ uint64, b []byte) {
		if n == 1 { // retry_delay
			fields(b, func(n protowire.Number, v uint64, _ []byte) {
				switch n {
				case 1:
					wait += time.Duration(min(v, uint64(obeyedWait/time.Second))) * time.Second
				case 2:
					wait += time.Duration(min(v, 999_999_999))
				}
			})
		}
	})
	return min(wait, obeyedWait)
}

// fields calls f for each varint and each length-delimited field, until the
// end or the first that is not well-formed.
func fields(b []byte, f func(n protowire.Number, v uint64, b []byte)) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		var v uint64
		var value []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return
		}
		f(number, v, value)
		b = b[n:]
	}
}
