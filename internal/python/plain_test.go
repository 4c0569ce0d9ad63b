package python

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"flag"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "capture memory of the interpreters of this machine into testdata")

// capture is what was read of a process that stood still.
type capture struct {
	Symbols struct{ Runtime, Version, CodeType uint64 }
	Names   []string
	Threads []thread
	Lines   map[uint64][]byte // of memory, by address
}

type thread struct {
	Self  uint64 // pthread_self
	Stack string // as the thread itself saw it
}

const lineBytes = 64

// ReadAt reads what was captured.
func (c *capture) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		at := uint64(off) + uint64(n)
		line, ok := c.Lines[at&^(lineBytes-1)]
		if !ok {
			return n, io.EOF
		}
		n += copy(b[n:], line[at%lineBytes:])
	}
	return n, nil
}

// plain is the walker as an ordinary program, which asks us for memory.
type plain struct {
	t   *testing.T
	in  io.Writer
	out io.Reader
}

func startPlain(t *testing.T) *plain {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc to compile the walker as plain C")
	}
	binary := filepath.Join(t.TempDir(), "walk")
	out, err := exec.Command(gcc, "-O1", "-g", "-Wall", "-Werror", "-fno-strict-aliasing", "-fsanitize=undefined", "-fno-sanitize-recover",
		"-I../../bpf", "-o", binary, "testdata/walk.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the walker: %v", err)
		}
	})
	return &plain{t, in, answers}
}

// laidOut is struct py_process; TestEveryLineInTheKernel compares it with the
// compiled one.
func laidOut(w Walk) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, w)
	if err != nil {
		panic(err)
	}
	return append(b, 0, 0, 0, 0)
}

// walk runs the walker once and returns the frames, and how often it read.
// remembered is struct py_thread.
func (p *plain) walk(w Walk, self uint64, remembered []byte, m io.ReaderAt) (frames []RawFrame, reads int) {
	p.t.Helper()
	in := binary.LittleEndian.AppendUint64(laidOut(w), self)
	if _, err := p.in.Write(append(in, remembered...)); err != nil {
		p.t.Fatal(err)
	}
	for ; ; reads++ {
		var q [24]byte
		if _, err := io.ReadFull(p.out, q[:]); err != nil {
			p.t.Fatal(err)
		}
		end, at, size := u64(q[:], 0), u64(q[:], 8), u64(q[:], 16)
		if end == 1 && size <= maxFrames {
			b := make([]byte, 16*size)
			if _, err := io.ReadFull(p.out, b); err != nil {
				p.t.Fatal(err)
			}
			for ; len(b) > 0; b = b[16:] {
				frames = append(frames, RawFrame{u64(b, 0), u64(b, 8)})
			}
			if _, err := io.ReadFull(p.out, remembered); err != nil {
				p.t.Fatal(err)
			}
			return frames, reads
		}
		if size > maxFrameBytes {
			p.t.Fatalf("the walker reads %d bytes", size)
		}
		answer := make([]byte, 1+size)
		answer[0] = 1
		if err := (memory{m}).read(answer[1:], at); err != nil {
			answer = answer[:1]
			answer[0] = 0
		}
		if _, err := p.in.Write(answer); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (c *capture) process() (*Process, error) {
	return describe(memory{c}, symbols{c.Symbols.Runtime, c.Symbols.Version, c.Symbols.CodeType}, c.Names)
}

func captures(t *testing.T) map[string]*capture {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the captures are from amd64, where the interpreter knows threads by their thread pointer")
	}
	if *update {
		captureAll(t)
	}
	files, err := filepath.Glob("testdata/*.gz")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures", err)
	}
	all := map[string]*capture{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		c := new(capture)
		if err := gob.NewDecoder(z).Decode(c); err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = c
	}
	return all
}

// The walker over captured memory of each version: every frame, function and
// line as the thread itself saw them.
func TestCaptured(t *testing.T) {
	walker := startPlain(t)
	for name, c := range captures(t) {
		p, err := c.process()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, th := range c.Threads {
			remembered := make([]byte, 16)
			raw, first := walker.walk(p.Walk(), th.Self, remembered, c)
			if got := show(p.Frames(raw)); got != th.Stack {
				t.Errorf("%s: got\n%swant\n%s", name, got, th.Stack)
			}
			if got, want := entries(raw), entriesOf(p.Version, len(raw)); got != want {
				t.Errorf("%s: C entered frames %s, want %s of\n%s", name, got, want, th.Stack)
			}
			again, reads := walker.walk(p.Walk(), th.Self, remembered, c)
			if len(again) != len(raw) || reads > len(raw)+8 || reads > first {
				t.Errorf("%s: %d frames in %d reads, then %d in %d", name, len(raw), first, len(again), reads)
			}
		}
		remembered := make([]byte, 16)
		raw, _ := walker.walk(p.Walk(), 12345, remembered, c)
		again, reads := walker.walk(p.Walk(), 12345, remembered, c)
		if len(raw)+len(again) != 0 || reads > 5 {
			t.Errorf("%s: a thread without a state has %d frames, then %d in %d reads", name, len(raw), len(again), reads)
		}
	}
}

// entries shows which frames C entered.
func entries(raw []RawFrame) string {
	s := ""
	for _, r := range raw {
		s += string('0' + rune(r.Code&entered))
	}
	return s
}

// entriesOf is what entries must be for the two threads of testdata/still.py.
// One stands in wait, Thread.run, _bootstrap_inner and _bootstrap: 3.11 calls
// with *args through C, 3.14 runs a thread in a context. The other stands in
// wait, a lambda, a generator and a callback, which C entered, and three more.
func entriesOf(v Version, frames int) string {
	switch {
	case v.Minor == 10:
		return strings.Repeat("1", frames)
	case frames == 7:
		return "0011001"
	}
	return map[int]string{11: "1001", 12: "0001", 13: "0001", 14: "0101"}[v.Minor]
}

// liar answers reads with captured memory, in which words are replaced.
type liar struct {
	*capture
	rand  *rand.Rand
	share float64 // of lies
	known []uint64
}

func (l *liar) ReadAt(b []byte, off int64) (int, error) {
	n, err := l.capture.ReadAt(b, off)
	for i := 0; i+8 <= len(b); i += 8 {
		if l.rand.Float64() < l.share {
			lie := l.rand.Uint64()
			if l.rand.IntN(2) == 0 {
				lie = l.known[l.rand.IntN(len(l.known))] // a loop
			}
			binary.LittleEndian.PutUint64(b[i:], lie)
			err, n = nil, len(b)
		}
	}
	if err == nil && l.rand.Float64() < l.share {
		err = errors.New("a lie")
	}
	return n, err
}

// Whatever memory says, the walker ends soon and naming frames does not fail.
func TestLies(t *testing.T) {
	walker := startPlain(t)
	for name, c := range captures(t) {
		l := &liar{capture: c, rand: rand.New(rand.NewPCG(1, 2))}
		l.known = append(slices.Sorted(maps.Keys(c.Lines)), math.MaxUint64)
		for i := range 300 {
			l.share = []float64{0.001, 0.01, 0.1, 0.5}[i%4]
			p, err := c.process()
			if err != nil {
				t.Fatal(err)
			}
			w := p.Walk()
			if i%3 == 0 { // as if the offsets were wrong
				w.ThreadNext, w.FramePrevious, w.FrameOwner = l.rand.Uint32N(200), l.rand.Uint32(), l.rand.Uint32()
				w.FrameBytes = l.rand.Uint32N(200)
			}
			raw, reads := walker.walk(w, c.Threads[i%2].Self, make([]byte, 16), l)
			if reads > 5000 {
				t.Errorf("%s: %d reads", name, reads)
			}
			p.mem = memory{l}
			p.Frames(raw)
			p, err = describe(memory{l}, symbols{c.Symbols.Runtime, c.Symbols.Version, c.Symbols.CodeType}, c.Names)
			if err == nil {
				p.Frames(raw)
			}
		}
	}
}
