package stats

import "ingero/internal/event"

// Ledger is the time that one thread spent at one place, by state. All
// ledgers of a thread add up to the time it lived.
type Ledger struct {
	PID, TID uint32
	Start    int64 // of the thread, unix ns
	Comm     string
	Place    event.Op // the outermost traced call, or capturing; 0 is between calls
	NS       [event.States]uint64
	Count    [event.States]uint64 // intervals that ended
	Max      [event.States]uint64 // the longest of them, ns
}

// Total is the time in all states.
func (l *Ledger) Total() uint64 {
	var sum uint64
	for _, ns := range l.NS {
		sum += ns
	}
	return sum
}

// Pair is time that one party cost another, in one of three roles:
//
//   - a thief had the CPU that the process wanted: State is Runnable and TID 0;
//   - a waker ended a wait of thread TID, which is not 0;
//   - a rival used the same block device: State is Disk and TID 0, and NS is
//     what the rival's own requests took on the device.
type Pair struct {
	PID, TID           uint32
	State              event.State
	OtherPID, OtherTID uint32 // PID 0 is the idle CPU, or the kernel on its own behalf
	OtherComm          string
	NS, Count          uint64
}

// Second is what one process did in one second.
type Second struct {
	At     int64   // unix s
	Wall   int64   // ns that the ledgers are of: from one drain to the next; 0: not known
	Span   int64   // seconds it covers, where older data is kept by the minute; 0 is one
	Calls  []Calls // exact; operations of the host as well
	Ledger []Ledger
	Pairs  []Pair
}

// Process is a traced process over a window of time.
type Process struct {
	event.Process
	Node    string
	Ended   int64    // unix ns; 0 while it lives
	Status  int32    // as from wait(2), once Ended is set
	Seconds []Second // in order; seconds without data are left out
}
