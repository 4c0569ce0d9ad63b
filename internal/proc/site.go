package proc

import (
	"debug/elf"
	"fmt"
	"io"

	"ingero/internal/event"
)

// Site is one place to probe.
type Site struct {
	Row    int    // index in the table of calls
	Symbol string // the exported name found there
	Offset uint64 // file offset of the chosen instruction; uprobes take file offsets
	Func   uint64 // file offset of the function's first instruction
}

// Sites finds where to probe each call in the binary. A call may have several
// sites, one for each variant that is exported. Where two names stand for one
// address the first row has it. missing lists the rows of the binary's
// libraries that have no symbol in it. Rows of other libraries are passed
// over.
func (b Binary) Sites(calls []event.Call) (sites []Site, missing []int, err error) {
	img, err := openImage(b.Open)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", b.Path, err)
	}
	defer img.Close()
	sites, missing, err = img.sites(calls, b.Libs)
	if err != nil {
		return nil, nil, fmt.Errorf("find functions in %s: %w", b.Path, err)
	}
	return sites, missing, nil
}

func (i *image) sites(calls []event.Call, libs []event.Lib) (sites []Site, missing []int, err error) {
	if i.f.Class != elf.ELFCLASS64 {
		return nil, nil, fmt.Errorf("%v is not supported", i.f.Class)
	}
	has := map[event.Lib]bool{}
	for _, lib := range libs {
		has[lib] = true
	}
	var names []string
	for _, c := range calls {
		if has[c.Lib] {
			names = append(names, c.Exports()...)
		}
	}
	// The linker's table is searched only for a runtime that was linked in:
	// the libraries export all there is.
	found, err := i.functions(names, has[event.CUDART])
	if err != nil {
		return nil, nil, err
	}
	taken := map[uint64]bool{}
	for row, c := range calls {
		if !has[c.Lib] {
			continue
		}
		there := false
		for _, name := range c.Exports() {
			for _, f := range found[name] {
				start, ok := i.codeOffset(f.addr)
				if !ok {
					continue
				}
				there = true
				if taken[start] {
					continue
				}
				taken[start] = true
				sites = append(sites, Site{row, name, start + i.probeOffset(start, f.size), start})
			}
		}
		if !there {
			missing = append(missing, row)
		}
	}
	return sites, missing, nil
}

// probeOffset reads the function's code to choose the instruction to probe.
// Of long functions only the prologue is read: where the first instruction
// is a good one nothing more is needed.
func (i *image) probeOffset(start, size uint64) uint64 {
	if i.f.Machine != elf.EM_X86_64 {
		return 0 // a fixed instruction length, and the first one is as good as any
	}
	n := size
	if n == 0 || n > maxBody {
		n = prologueSize
	}
	code := make([]byte, n)
	got, err := i.r.ReadAt(code, int64(start))
	if err != nil && err != io.EOF {
		return 0
	}
	code = code[:got]
	return probeOffset(code, uint64(got) == size)
}
