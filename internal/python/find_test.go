package python

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ingero/internal/event"
)

func TestNoPython(t *testing.T) {
	if _, err := Find(os.Getpid()); !errors.Is(err, ErrNone) {
		t.Errorf("this test: %v", err)
	}
}

// What is not known is said, not guessed.
func TestUnknownVersions(t *testing.T) {
	want := map[string]string{"2.7": "before 3.7", "3.6": "before 3.7", "3.7": "3.7 is not known", "3.8": "3.8 is not known", "3.9": "3.9 is not known"}
	tried := 0
	for minor, words := range want {
		paths, _ := filepath.Glob("/root/.pyenv/versions/" + minor + ".*/bin/python" + minor)
		for _, path := range paths {
			cmd := exec.Command(path, "-c", "import sys; print('ready'); sys.stdout.flush(); sys.stdin.read()")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				continue
			}
			tried++
			out.Read(make([]byte, 6))
			_, err = Find(cmd.Process.Pid)
			in.Close()
			cmd.Wait()
			if err == nil || errors.Is(err, ErrNone) || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if tried == 0 {
		t.Skip("needs an older Python from pyenv")
	}
}

// A layout that does not fit is noticed.
func TestWrongVersion(t *testing.T) {
	c := captures(t)["3.10.13.gz"]
	for _, wrong := range []string{"python3.11", "python3.12", "python3.9"} {
		c.Names = []string{wrong}
		if p, err := c.process(); err == nil {
			t.Errorf("3.10 passes for %v", p.Version)
		} else {
			t.Log(err)
		}
	}
}

// Another code object in the place of one that was freed is read again.
func TestReusedCode(t *testing.T) {
	walker := startPlain(t)
	for name, c := range captures(t) {
		p, err := c.process()
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := walker.walk(p.Walk(), c.Threads[1].Self, make([]byte, 16), c)
		before := p.Frames(raw)
		code := raw[0].Code &^ entered
		at := code + p.layout.codeFirstLine
		line := c.Lines[at&^(lineBytes-1)][at%lineBytes:]
		binary.LittleEndian.PutUint32(line, binary.LittleEndian.Uint32(line)+100)
		after := p.Frames(raw)
		if after[0].PyLine != before[0].PyLine+100 || after[1] != before[1] {
			t.Errorf("%s: %+v, then %+v", name, before[0], after[0])
		}
		clear(c.Lines[(code+p.typeAt)&^(lineBytes-1)])
		if got := p.Frames(raw)[0]; got != (event.Frame{PyFunc: "?"}) {
			t.Errorf("%s: freed code is named %+v", name, got)
		}
	}
}
