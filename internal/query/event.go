package query

import (
	"fmt"
	"strconv"
	"time"

	"ingero/internal/event"
)

// EventJSON is one event as trace --json prints it, one object a line.
type EventJSON struct {
	Timestamp time.Time `json:"timestamp"` // start, UTC
	PID       uint32    `json:"pid"`
	TID       uint32    `json:"tid"`
	Comm      string    `json:"comm"`
	Source    string    `json:"source"`
	Op        string    `json:"op"`
	Duration  int64     `json:"duration_ns"`
	Text      string    `json:"duration"` // for people, as in "11us"
	Bytes     uint64    `json:"bytes"`
	Handle    string    `json:"handle"` // hexadecimal
	Ret       int32     `json:"ret_code"`
	Running   *int64    `json:"running_ns,omitempty"` // of the duration; left out when not measured
	Runnable  *int64    `json:"runnable_ns,omitempty"`
	Blocked   *int64    `json:"blocked_ns,omitempty"`
	Stack     []Frame   `json:"stack,omitempty"`
	Node      string    `json:"node"`
	Rank      *int32    `json:"rank"` // null: not known
}

// EncodeEvent turns an event of a node into its JSON form.
func EncodeEvent(e event.Event, node string, stack []event.Frame) EventJSON {
	j := EventJSON{
		Timestamp: time.Unix(0, e.Start).UTC(), PID: e.PID, TID: e.TID, Comm: e.Comm,
		Source: e.Op.Source().String(), Op: e.Op.String(), Duration: e.Dur, Text: ShortDuration(e.Dur),
		Bytes: e.Bytes, Handle: "0x" + strconv.FormatUint(e.Handle, 16), Ret: e.Ret, Stack: encodeFrames(stack), Node: node,
	}
	if e.Rank.Rank >= 0 {
		j.Rank = &e.Rank.Rank
	}
	if e.Runnable >= 0 && e.Blocked >= 0 {
		running := max(e.Dur-e.Runnable-e.Blocked, 0)
		j.Running, j.Runnable, j.Blocked = &running, &e.Runnable, &e.Blocked
	}
	return j
}

// ShortDuration prints ns with two or three digits and an ASCII unit:
// "900ns", "4.2us", "11us", "3.1s".
func ShortDuration(ns int64) string {
	v, unit := scaleDuration(ns)
	if unit == "ns" || v >= 9.95 {
		return fmt.Sprintf("%.0f%s", v, unit)
	}
	return fmt.Sprintf("%.1f%s", v, unit)
}

// scaleDuration finds the unit in which ns reads best.
func scaleDuration(ns int64) (float64, string) {
	v := float64(ns)
	// A value that would be rounded up to 1000 takes the next unit.
	switch {
	case v < 999.5:
		return v, "ns"
	case v < 999.5e3:
		return v / 1e3, "us"
	case v < 999.5e6:
		return v / 1e6, "ms"
	}
	return v / 1e9, "s"
}
