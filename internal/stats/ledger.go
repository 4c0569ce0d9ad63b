package stats

import "ingero/internal/event"

// Ledger is the time that one thread spent at one place, by state. All
// ledgers of a thread add up to the time it lived.
type Ledger struct {
	PID, TID uint32
	Start    int64 // of the thread, unix ns
	Comm     string
	Place    event.Op // the outermost traced call; 0 is between calls
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

// Pair is time that one party cost another: a thief that had the CPU, or a
// waker that ended a wait.
type Pair struct {
	PID, TID           uint32      // who waited; TID is 0 for thieves
	State              event.State // what for; Runnable for thieves
	OtherPID, OtherTID uint32      // who had the CPU, or ended the wait; PID 0 is the idle CPU
	OtherComm          string
	NS, Count          uint64
}
