package python

import (
	"bytes"
	"compress/gzip"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// recorder reads a process and keeps the lines that were read.
type recorder struct {
	io.ReaderAt
	lines map[uint64][]byte
}

func (r recorder) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, off)
	if err != nil {
		return n, err
	}
	for at := uint64(off) &^ (lineBytes - 1); at < uint64(off)+uint64(len(b)); at += lineBytes {
		line := make([]byte, lineBytes)
		if _, err := r.ReaderAt.ReadAt(line, int64(at)); err != nil {
			return 0, err
		}
		r.lines[at] = line
	}
	return n, nil
}

// captureAll captures testdata/still.py in each interpreter of this machine.
func captureAll(t *testing.T) {
	walker := startPlain(t)
	for version, python := range pythons(t) {
		outside, inside := folder(t, python)
		text, err := os.ReadFile("testdata/still.py")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(outside+"/still.py", text, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := command(python, inside+"/still.py")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said []struct {
			Self  uint64
			Chain [][]any
		}
		err = json.NewDecoder(out).Decode(&said)
		if err == nil {
			c := &capture{}
			for _, s := range said {
				th := thread{Self: s.Self}
				for _, f := range s.Chain {
					th.Stack += fmt.Sprintf("%s:%v in %s()\n", f[0], f[2], f[1])
				}
				c.Threads = append(c.Threads, th)
			}
			err = c.take(walker, cmd.Process.Pid)
			if err == nil {
				err = c.write("testdata/" + version + ".gz")
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
		if err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

var pythonFile = regexp.MustCompile(`python3`)

// take reads what the walker and the naming of its frames need, once the
// threads stand where they said.
func (c *capture) take(walker *plain, pid int) error {
	p, err := Find(pid)
	if err != nil {
		return err
	}
	defer p.Close()
	likely, names, err := mappings(pid)
	if err != nil {
		return err
	}
	for _, m := range likely {
		if s, err := m.symbols(pid); err == nil && s.runtime != 0 {
			c.Symbols.Runtime, c.Symbols.Version, c.Symbols.CodeType = s.runtime, s.version, s.codeType
		}
	}
	for _, n := range names {
		if n = filepath.Base(n); pythonFile.MatchString(n) {
			c.Names = append(c.Names, n)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		c.Lines = map[uint64][]byte{}
		r := recorder{p.file, c.Lines}
		p, err := describe(memory{r}, symbols{c.Symbols.Runtime, c.Symbols.Version, c.Symbols.CodeType}, c.Names)
		if err != nil {
			return err
		}
		same := true
		for _, th := range c.Threads {
			raw, _ := walker.walk(p.Walk(), th.Self, make([]byte, 16), r)
			same = same && show(p.Frames(raw)) == th.Stack
		}
		if same {
			// What the search for a thread that is not there reads.
			walker.walk(p.Walk(), 12345, make([]byte, 16), r)
			return nil
		}
	}
	return fmt.Errorf("the threads of process %d do not stand where they said", pid)
}

func (c *capture) write(name string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := gob.NewEncoder(z).Encode(c); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}
