package event

// LifeKind is what happened to a traced process.
type LifeKind uint8

// Kinds of Life.
const (
	Found      LifeKind = iota + 1 // a process made its first traced call
	Exec                           // it started another program
	Exit                           // its last thread ended
	Fork                           // it created a process
	DiedInCall                     // a thread ended inside a traced call
	OOMKill                        // it is about to be killed for want of memory
)

// Life is a step in the life of a traced process.
type Life struct {
	Kind      LifeKind
	Time      int64 // unix ns
	PID, TID  uint32
	Other     uint32 // the child of a Fork, who wanted the memory of an OOMKill, otherwise the parent
	UID       uint32
	Status    int32  // of an Exit, as from wait(2)
	Start     int64  // of the process, unix ns
	StartBoot uint64 // the same in ns since boot; with PID it is unique
	Cgroup    uint64
	Comm      string
	Op        Op     // the call that DiedInCall ended in
	CallStart int64  // when that call began, unix ns
	OtherComm string // of an OOMKill: the name of Other
	Group     string // of an OOMKill: the victim's memory cgroup, its last component
}

// Event returns the step as an event of the host, and false for steps that
// older recordings have no operation for.
func (l Life) Event() (Event, bool) {
	e := Event{
		Start: l.Time, PID: l.PID, TID: l.TID, Cgroup: l.Cgroup, Comm: l.Comm, Rank: NoRank,
		Runnable: -1, Blocked: -1,
	}
	switch l.Kind {
	case Exec:
		e.Op = MakeOp(Host, 5)
	case Exit:
		e.Op, e.Ret = MakeOp(Host, 6), l.Status
	case Fork:
		e.Op, e.Handle = MakeOp(Host, 7), uint64(l.Other)
	case OOMKill:
		e.Op, e.Handle = MakeOp(Host, 4), uint64(l.Other)
	default:
		return Event{}, false
	}
	return e, true
}
