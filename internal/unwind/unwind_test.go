package unwind

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-delve/delve/pkg/dwarf/frame"

	"ingero/test/workload"

	"ingero/internal/proc"
)

// binaries returns real files, and the simulated libraries.
func binaries(t testing.TB) []string {
	dir := t.TempDir()
	if err := workload.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(dir + "/*")
	for _, pattern := range []string{
		"/lib/*-linux-gnu/libc.so.6", "/lib/*-linux-gnu/libstdc++.so.6", "/lib/*-linux-gnu/libgcc_s.so.1",
		"/lib/*-linux-gnu/libcrypto.so.3", "/lib/*-linux-gnu/libpython3.*.so.1.0", "/usr/bin/python3", "/usr/bin/gdb",
		"/lib64/ld-linux-x86-64.so.2", "/lib/*-linux-gnu/libm.so.6",
	} {
		more, _ := filepath.Glob(pattern)
		files = append(files, more...)
	}
	return files
}

// TestDelve compares every row with what delve's reader of the same section
// says at its first and its last address.
func TestDelve(t *testing.T) {
	for _, path := range binaries(t) {
		f, err := elf.Open(path)
		if err != nil {
			continue // a script
		}
		defer f.Close()
		if f.Machine != elf.EM_X86_64 {
			continue
		}
		table, err := load(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		s := f.Section(".eh_frame")
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		entries, err := frame.Parse(data, binary.LittleEndian, 0, 8, s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		entries = frame.FrameDescriptionEntries{}.Append(entries) // sorts
		wrong, seen := 0, map[Kind]int{}
		check := func(pc uint64) {
			got := table.Find(pc)
			want := oracle(t, entries, pc)
			seen[got.Kind()]++
			if got != want && wrong < 5 {
				wrong++
				t.Errorf("%s: %#x: %v, delve says %v", path, pc, got, want)
			}
		}
		for i, r := range table.Rows {
			end := table.Size
			if i+1 < len(table.Rows) {
				end = table.Rows[i+1].PC
			}
			if r.Rule.Kind() == Hole {
				continue
			}
			for _, pc := range []uint32{r.PC, end - 1} {
				if _, err := entries.FDEForPC(table.Base + uint64(pc)); err == nil { // not padding
					check(table.Base + uint64(pc))
				}
			}
		}
		for _, e := range entries {
			if e.End() > e.Begin() {
				check(e.Begin())
				check(e.End() - 1)
			}
		}
		t.Logf("%s: %d rows, %d dropped, %v", path, len(table.Rows), table.Dropped, seen)
	}
}

// oracle makes a rule of delve's.
func oracle(t *testing.T, entries frame.FrameDescriptionEntries, pc uint64) Rule {
	e, err := entries.FDEForPC(pc)
	if err != nil {
		return Rule(Hole)
	}
	c, err := e.EstablishFrame(pc)
	if err != nil {
		t.Fatal(err)
	}
	ra, bp := c.Regs[16], c.Regs[6]
	bpIs := uint32(Same)
	if _, ok := c.Regs[6]; ok {
		switch {
		case bp.Rule == frame.RuleSameVal, bp.Rule == frame.RuleUndefined: // what delve makes of a restored register
		case bp.Rule == frame.RuleOffset && bp.Offset%8 == 0 && bp.Offset < -8 && bp.Offset > -8*Lost:
			bpIs = uint32(-bp.Offset / 8)
		case bp.Rule == frame.RuleExpression && bytes.Equal(bp.Expression, []byte{0x76, 0}):
			bpIs = AtFrame
		default:
			bpIs = Lost
		}
	}
	_, known := c.Regs[16]
	switch {
	case known && ra.Rule == frame.RuleUndefined:
		return Rule(End)
	case c.CFA.Rule == frame.RuleExpression && bytes.Equal(c.CFA.Expression, []byte{0x77, 0xa0, 1, 6}):
		return Rule(Signal)
	case !known || ra.Rule != frame.RuleOffset || ra.Offset != -8:
		return Rule(Unsupported)
	case c.CFA.Rule == frame.RuleCFA && c.CFA.Reg == 7:
		return makeRule(StackPtr, bpIs, c.CFA.Offset)
	case c.CFA.Rule == frame.RuleCFA && c.CFA.Reg == 6:
		return makeRule(FramePtr, bpIs, c.CFA.Offset)
	case c.CFA.Rule == frame.RuleExpression:
		var s state
		s.expression(c.CFA.Expression)
		switch {
		case s.cfa == cfaPLT:
			return makeRule(PLT, uint32(s.plt), 0)
		case s.cfa == cfaDeref && s.reg == regBP:
			return makeRule(Realigned, bpIs, s.offset)
		}
	}
	return Rule(Unsupported)
}

func TestRule(t *testing.T) {
	for _, c := range []struct {
		r    Rule
		want string
	}{
		{makeRule(StackPtr, 2, 16), "rsp+16 bp=c-16"},
		{makeRule(FramePtr, Lost, -8), "rbp-8 bp=?"},
		{makeRule(Realigned, AtFrame, -16), "*rbp-16 bp=*rbp"},
		{makeRule(StackPtr, Same, 1<<20-8), "rsp+1048568"},
		{makeRule(StackPtr, Same, 1<<20), "unsupported"},
		{makeRule(StackPtr, Same, 12), "unsupported"},
	} {
		if got := c.r.String(); got != c.want {
			t.Errorf("%v, want %s", got, c.want)
		}
	}
}

// FuzzRead feeds it damaged files: they cost an error or rows, never more.
func FuzzRead(f *testing.F) {
	for _, path := range binaries(f) {
		if b, err := os.ReadFile(path); err == nil && len(b) < 64<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if len(table.Rows) > 2*len(b) {
			t.Errorf("%d rows of %d bytes", len(table.Rows), len(b))
		}
		for i, r := range table.Rows {
			if i > 0 && r.PC < table.Rows[i-1].PC {
				t.Errorf("row %d out of order", i)
			}
		}
	})
}

// FuzzFrames does the same for the section alone, where the fuzzer gets deeper.
func FuzzFrames(f *testing.F) {
	for _, path := range binaries(f) {
		e, err := elf.Open(path)
		if err != nil {
			continue
		}
		if s := e.Section(".eh_frame"); s != nil && s.Size < 64<<10 {
			b, _ := s.Data()
			f.Add(b, s.Addr)
		}
		e.Close()
	}
	f.Fuzz(func(t *testing.T, b []byte, addr uint64) {
		table := &Table{Size: 1 << 24}
		_ = table.parse(b, addr)
		if len(table.Rows) > 2*len(b) {
			t.Errorf("%d rows of %d bytes", len(table.Rows), len(b))
		}
	})
}

// load reads the table of the file at path.
func load(path string) (*Table, error) {
	f, err := proc.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return Read(f, st.Size())
}
