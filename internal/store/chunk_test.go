package store

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ingero/internal/event"
)

func drawEvent(t *rapid.T) event.Event {
	small := rapid.Uint64Range(0, 3)
	wide := rapid.Uint64()
	pick := func(label string) uint64 {
		if rapid.Bool().Draw(t, "wide") {
			return wide.Draw(t, label)
		}
		return small.Draw(t, label)
	}
	return event.Event{
		Start: rapid.Int64().Draw(t, "start"), Dur: rapid.Int64Min(0).Draw(t, "dur"),
		PID: uint32(pick("pid")), TID: uint32(pick("tid")), Op: event.Op(pick("op")),
		Depth: uint8(small.Draw(t, "depth")), Dir: event.Direction(small.Draw(t, "dir")),
		GPU: int16(pick("gpu")), Ret: int32(pick("ret")), Bytes: pick("bytes"), Handle: pick("handle"),
		Stack: pick("stack"), Cgroup: pick("cgroup"), Comm: rapid.StringN(0, 5, 16).Draw(t, "comm"),
		Runnable: rapid.Int64Range(-1, 1<<40).Draw(t, "runnable"), Blocked: rapid.Int64Range(-1, 1<<40).Draw(t, "blocked"),
		Rank: event.Rank{Rank: int32(pick("rank")), Local: int32(pick("local")), World: int32(pick("world"))},
	}
}

func TestChunksKeepEveryFieldOfEveryEvent(t *testing.T) {
	enc, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	var dec decoder
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(drawEvent), 1, 700).Draw(t, "events")
		c, err := parseChunk(enc.encode(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := dec.events(&c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestColumnsOfAllShapesRoundTrip(t *testing.T) {
	distinct := func(n int, f func(i int) int64) []int64 {
		v := make([]int64, n)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	cases := map[string][]int64{
		"one":         {7},
		"constant":    distinct(4096, func(int) int64 { return -1 }),
		"two":         distinct(4096, func(i int) int64 { return int64(i & 1) }),
		"256 keys":    distinct(4096, func(i int) int64 { return int64(i%256) << 48 }),
		"257 keys":    distinct(4096, func(i int) int64 { return int64(i % 257) }),
		"rising":      distinct(4096, func(i int) int64 { return 1e18 + int64(i)*5000 }),
		"extremes":    distinct(300, func(i int) int64 { return []int64{-1 << 63, 1<<63 - 1}[i&1] + int64(i)/2 }),
		"65 distinct": distinct(65, func(i int) int64 { return int64(i) * 1e12 }),
	}
	var d dictionary
	for name, want := range cases {
		b := appendInts(nil, want, &d)
		got, err := decodeInts(nil, b, len(want))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v in %d bytes does not come back", name, err, len(b))
		}
		if _, err := decodeInts(nil, b, len(want)+1); err == nil && b[0] != encConst {
			t.Errorf("%s: one value too many is not noticed", name)
		}
		for cut := range min(len(b), 64) {
			if _, err := decodeInts(nil, b[:cut], len(want)); err == nil {
				t.Errorf("%s: cut to %d bytes is not noticed", name, cut)
			}
		}
	}
}

func TestColumnsThatAChunkLacksAreLeftOut(t *testing.T) {
	// Version 1, two events, one column: pid, not compressed, constant 5.
	c, err := parseChunk([]byte{chunkVersion, 2, 1, byte(colPID), 0, 2, encConst, 10})
	if err != nil {
		t.Fatal(err)
	}
	var dec decoder
	got, err := dec.events(&c, nil)
	if want := []event.Event{{PID: 5, Runnable: -1, Blocked: -1}, {PID: 5, Runnable: -1, Blocked: -1}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, ok, err := dec.ints(&c, colDur, nil); ok || err != nil {
		t.Errorf("a missing column: %v, %v", ok, err)
	}
	// A column from the future is skipped.
	if _, err := parseChunk([]byte{chunkVersion, 2, 2, 0xc8, 1, 0, 1, byte(colPID), 0, 2, 99, encConst, 10}); err != nil {
		t.Error(err)
	}
}

func FuzzChunk(f *testing.F) {
	enc, err := newEncoder()
	if err != nil {
		f.Fatal(err)
	}
	events := testEvents(300, 1)
	f.Add(enc.encode(events))
	f.Add(enc.encode(events[:1]))
	f.Add([]byte{chunkVersion, 2, 1, byte(colPID), 0, 2, encConst, 10})
	f.Add([]byte{chunkVersion, 2, 1, byte(colComm), 0, 5, 1, 1, 'x', encConst, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseChunk(b)
		if err != nil {
			return
		}
		var dec decoder
		if got, err := dec.events(&c, nil); err == nil && len(got) != c.n {
			t.Errorf("%d events of %d", len(got), c.n)
		}
	})
}

// testEvents makes n events as a training job would, from one seed.
func testEvents(n int, seed uint64) []event.Event {
	g := newGenerator(seed)
	events := make([]event.Event, n)
	for i := range events {
		g.next(&events[i])
	}
	return events
}
