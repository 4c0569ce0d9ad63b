package stats

import "ingero/internal/event"

// Calls counts what one process did with one operation, usually in one
// second. The counts are exact whatever was recorded.
type Calls struct {
	PID      uint32 // 0: processes that could not be counted one by one
	Start    int64  // of the process, unix ns; with PID it is unique
	Op       event.Op
	Hist     *Histogram // durations in ns: number of calls, sum, maximum
	Nested   uint64     // calls made inside another traced call
	Errors   uint64     // calls that returned anything but success
	Bytes    uint64
	Recorded uint64 // calls that are events as well
	Lost     uint64 // events that should have been recorded and were not
}

// Add merges o, which is of the same operation.
func (c *Calls) Add(o *Calls) {
	if c.Hist == nil {
		c.Hist = &Histogram{}
	}
	c.Hist.Merge(o.Hist)
	c.Nested += o.Nested
	c.Errors += o.Errors
	c.Bytes += o.Bytes
	c.Recorded += o.Recorded
	c.Lost += o.Lost
}
