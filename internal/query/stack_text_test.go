package query

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var (
	pythonLine = regexp.MustCompile(`^\[Python\] (.*):(\d+) in (.*)\(\)$`)
	nativeLine = regexp.MustCompile(`^(.*?) ?(?:\(([^()]*)\))?$`)
)

// readFrames reads frames as the examples have them.
func readFrames(text string) (frames []Frame) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := pythonLine.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[2])
			frames = append(frames, Frame{PyFile: m[1], PyLine: n, PyFunc: m[3]})
			continue
		}
		m := nativeLine.FindStringSubmatch(line)
		frames = append(frames, Frame{IP: fmt.Sprintf("0x%x", len(frames)), Symbol: m[1], File: m[2]})
	}
	return frames
}

var update = flag.Bool("update", false, "write what stacks are told as")

// TestStackText has stacks in full and what is told of them.
func TestStackText(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/stacks.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		full, told := archive.Files[i], archive.Files[i+1]
		got := strings.Join(StackText(readFrames(string(full.Data))), "\n") + "\n"
		if *update {
			archive.Files[i+1].Data = []byte(got)
		} else if got != string(told.Data) {
			t.Errorf("%s:\n%swant\n%s", full.Name, got, told.Data)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/stacks.txtar", txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := StackText(nil); got != nil {
		t.Errorf("no stack: %q", got)
	}
	if got := StackText([]Frame{{IP: "0x1"}, {IP: "0x2"}}); len(got) != 2 || got[1] != "0x2" {
		t.Errorf("bare addresses: %q", got)
	}
}

// However deep a stack is, there are few lines, and those of the user's code
// come before those of libraries.
func TestStackTextDepth(t *testing.T) {
	for natives := range 20 {
		for libraries := range 20 {
			for users := range 20 {
				frames := []Frame{{Symbol: "call"}}
				for i := range natives {
					frames = append(frames, Frame{Symbol: fmt.Sprint("n", i)})
				}
				for i := range libraries {
					frames = append(frames, Frame{PyFile: "/venv/lib/python3.12/site-packages/torch/nn.py", PyFunc: fmt.Sprint("l", i)})
				}
				for i := range users {
					frames = append(frames, Frame{PyFile: "/job.py", PyFunc: fmt.Sprint("u", i)})
				}
				lines := StackText(frames)
				text := strings.Join(lines, "\n")
				if len(lines) > stackLines || lines[0] != "call" {
					t.Fatalf("%d, %d, %d frames:\n%s", natives, libraries, users, text)
				}
				if shown := strings.Count(text, "/job.py"); shown < min(users, 5) || users == 0 && libraries > 0 && !strings.Contains(text, "torch/nn.py:0 in l0()") {
					t.Fatalf("%d, %d, %d frames, %d of the user's shown:\n%s", natives, libraries, users, shown, text)
				}
			}
		}
	}
}
