package proc

import (
	"bufio"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ingero/internal/event"
)

// A process keeps its addresses after it has ended, and a number that was
// used again has none of the one before.
func TestAddresses(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // all its libraries are there
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	d, err := FS{}.Describe(pid)
	if err != nil {
		t.Fatal(err)
	}
	all, err := FS{}.code(pid)
	if err != nil {
		t.Fatal(err)
	}
	program := slices.IndexFunc(all, func(c code) bool { return c.name == path.Base(cmd.Path) })
	if program < 0 {
		t.Fatalf("no program among %v", all)
	}
	c := all[program]
	s := event.RawStack{PID: uint32(pid), StartBoot: uint64(d.SinceBoot) + 5, IPs: []uint64{c.start + 0x10, c.end, 1}}
	var a Addresses
	alive := a.Resolve(s)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	dead := a.Resolve(s)
	form := regexp.MustCompile(`^` + c.name + `\+0x[0-9a-f]+$`)
	for _, f := range [][]event.Frame{alive, dead} {
		// The second is a return address: that of a call at the end of the code.
		if len(f) != 3 || !form.MatchString(f[0].File) || !form.MatchString(f[1].File) || f[2].File != "" || f[2].IP != 1 {
			t.Errorf("got %+v", f)
		}
	}
	other := s
	other.StartBoot += 1e9
	if f := a.Resolve(other); f[0].File != "" {
		t.Errorf("another process of this number: %+v", f)
	}
}

func TestParseCode(t *testing.T) {
	for line, want := range map[string]code{
		"7f1c4a200000-7f1c4a3b2000 r-xp 00028000 fd:01 1234    /usr/lib/lib a.so":   {0x7f1c4a200000, 0x7f1c4a3b2000, 0x28000, "lib a.so"},
		"7f1c4a200000-7f1c4a3b2000 r-xp 00000000 fd:01 1234    /tmp/x.so (deleted)": {0x7f1c4a200000, 0x7f1c4a3b2000, 0, "x.so"},
		"7ffe1000-7ffe2000 r-xp 00000000 00:00 0               [vdso]":              {0x7ffe1000, 0x7ffe2000, 0, "[vdso]"},
		"1000-2000 rwxp 00000000 00:00 0 ":                                          {0x1000, 0x2000, 0, "[anon]"},
		"1000-2000 r--p 00000000 fd:01 1                       /usr/lib/x.so":       {},
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]":        {0xffffffffff600000, 0xffffffffff601000, 0, "[vsyscall]"},
		"nonsense": {}, "": {}, "1-2 r-xp": {}, strings.Repeat("x ", 9): {},
	} {
		got, ok := parseCode(line)
		if ok != (want.name != "") || ok && got != want {
			t.Errorf("%q: got %+v, %v", line, got, ok)
		}
	}
}
