package nvidia

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"ingero/internal/event"
	"ingero/internal/proc"
)

var all = []struct {
	library
	lib   event.Lib
	build string // how the version starts
}{
	{driver470, event.LIBCUDA, "470."}, {driver535, event.LIBCUDA, "535."}, {driver550, event.LIBCUDA, "550."},
	{runtime112, event.CUDART, "11.2."}, {runtime118, event.CUDART, "11.8."}, {runtime124, event.CUDART, "12.4."},
}

// Every function of the table that a version exports gets a probe, and on an
// instruction that the kernel emulates.
func TestSites(t *testing.T) {
	want(t)
	lacks := make([][]string, len(all)) // by library, names
	for i, l := range all {
		t.Run(l.build, func(t *testing.T) {
			path := l.file(t)
			b, err := proc.OpenBinary(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(b.Build, l.build) || !slices.Equal(b.Libs, []event.Lib{l.lib}) {
				t.Fatalf("got %+v", b)
			}
			sites, missing, err := b.Sites(event.Calls)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, path, l.lib, sites)
			code(t, path, l.lib, sites)
			for _, row := range missing {
				lacks[i] = append(lacks[i], event.Calls[row].Name)
			}
		})
	}
	table(t, lacks)
}

// compare checks the sites against what debug/elf says is exported.
func compare(t *testing.T, path string, lib event.Lib, sites []proc.Site) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	wanted, at := map[string]int{}, map[string]uint64{}
	for row, c := range event.Calls {
		if c.Lib == lib {
			for _, s := range c.Exports() {
				wanted[s] = row
			}
		}
	}
	for _, s := range symbols {
		if _, ok := wanted[s.Name]; !ok || s.Section == elf.SHN_UNDEF || elf.ST_TYPE(s.Info) != elf.STT_FUNC {
			continue
		}
		text := f.Section(".text")
		at[s.Name] = s.Value - text.Addr + text.Offset
	}
	got := map[uint64]proc.Site{}
	for _, s := range sites {
		if at[s.Symbol] != s.Func || wanted[s.Symbol] != s.Row {
			t.Errorf("%s: %+v, exported at %#x for row %d", s.Symbol, s, at[s.Symbol], wanted[s.Symbol])
		}
		if _, twice := got[s.Func]; twice {
			t.Errorf("%s: two sites in one function", s.Symbol)
		}
		got[s.Func] = s
	}
	for name, offset := range at {
		if _, ok := got[offset]; !ok {
			t.Errorf("%s is exported and has no site", name)
		}
	}
	if len(at) < 40 {
		t.Errorf("only %d functions of the table are exported", len(at))
	}
}

// code checks the instruction under each probe: the je of the driver's stubs,
// the first push of the runtime's functions.
func code(t *testing.T, path string, lib event.Lib, sites []proc.Site) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range sites {
		b := make([]byte, 12)
		if _, err := io.ReadFull(io.NewSectionReader(f, int64(s.Func), int64(len(b))), b); err != nil {
			t.Fatal(err)
		}
		d := s.Offset - s.Func
		push := b[0]&0xf8 == 0x50 || b[0] == 0x41 && b[1]&0xf8 == 0x50
		switch {
		case lib == event.LIBCUDA && (d != 10 || b[0] != 0x81 || b[1] != 0x3d || b[d] != 0x74):
			t.Errorf("%s: probe at +%d of % x, not at the je", s.Symbol, d, b)
		case lib == event.CUDART && (d != 0 || !push):
			t.Errorf("%s: probe at +%d of % x, not at a push", s.Symbol, d, b)
		}
	}
}

// table prints which version lacks which row.
func table(t *testing.T, lacks [][]string) {
	var b strings.Builder
	for _, lib := range []event.Lib{event.LIBCUDA, event.CUDART} {
		fmt.Fprintf(&b, "\n%-32s", lib)
		for _, l := range all {
			if l.lib == lib {
				fmt.Fprintf(&b, "%8s", strings.TrimSuffix(l.build, "."))
			}
		}
		for _, c := range event.Calls {
			if c.Lib != lib {
				continue
			}
			fmt.Fprintf(&b, "\n%-32s", c.Name)
			for i, l := range all {
				if l.lib == lib {
					mark := "yes"
					if slices.Contains(lacks[i], c.Name) {
						mark = "-"
					}
					fmt.Fprintf(&b, "%8s", mark)
				}
			}
		}
		b.WriteString("\n")
	}
	t.Log(b.String())
}
