package export

import (
	"slices"
	"testing"

	"ingero/internal/event"
	"ingero/internal/query"
)

// described keeps what a timeline tells of its processes and threads.
type described struct {
	chrome
	processes []process
	tracks    []track
}

func (d *described) process(p *process) { d.processes = append(d.processes, *p) }
func (d *described) track(t *track)     { d.tracks = append(d.tracks, *t) }

// Two nodes, or two times, may have the same PID: in a file each process has a
// number of its own.
func TestNumbersAreUnique(t *testing.T) {
	known := []query.Process{{Process: event.Process{PID: 5, Start: 1, Comm: "first", Rank: event.NoRank}, Node: "a"},
		{Process: event.Process{PID: 5, Start: 100e9, Comm: "second", Rank: event.NoRank}, Node: "a"}}
	d := &described{}
	tracks := newTracks(d, known)
	var ids []uint64
	for _, e := range []query.Stored{
		{Event: event.Event{Start: 1e9, PID: 5, TID: 5, Op: opLaunch, Comm: "first", Rank: event.NoRank}, Node: "a"},
		{Event: event.Event{Start: 2e9, PID: 5, TID: 6, Op: opLaunch, Comm: "first", Rank: event.NoRank}, Node: "a"},
		{Event: event.Event{Start: 200e9, PID: 5, TID: 5, Op: opLaunch, Comm: "second", Rank: event.NoRank}, Node: "a"},
		{Event: event.Event{Start: 1e9, PID: 5, TID: 5, Op: opLaunch, Comm: "third", Rank: event.Rank{Rank: 3}}, Node: "b"},
		{Event: event.Event{Start: 3e9, PID: 5, TID: 6, Op: opLaunch, Comm: "first", Rank: event.NoRank}, Node: "a"},
	} {
		track, _ := tracks.ofEvent(&e)
		ids = append(ids, track.id)
	}
	if ids[4] != ids[1] || len(d.tracks) != 4 || len(d.processes) != 3 {
		t.Errorf("tracks %v: %d threads of %d processes", ids, len(d.tracks), len(d.processes))
	}
	var numbers []int32
	var names []string
	for _, p := range d.processes {
		numbers, names = append(numbers, p.number), append(names, p.name)
	}
	if want := []string{"a first", "a second (PID 5)", "b (rank 3) third (PID 5)"}; !slices.Equal(names, want) {
		t.Errorf("processes %q, want %q", names, want)
	}
	for _, x := range d.tracks {
		numbers = append(numbers, x.tid)
	}
	// A thread that is the first one of its process has its number.
	if numbers[0] != 5 || numbers[3] != 5 || numbers[4] != 6 || numbers[5] != numbers[1] || numbers[6] != numbers[2] || numbers[1] == numbers[2] {
		t.Errorf("numbers %v", numbers)
	}
}
