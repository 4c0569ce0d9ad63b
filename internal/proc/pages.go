package proc

import (
	"fmt"
	"io"
)

const (
	pageSize = 4 << 10
	maxPages = 1 << 10 // memory held for one file stays below 4 MB
)

// pages reads a file by pages and keeps them: looking up a symbol touches
// few of them, and the file may be gigabytes long. A mapping would be
// simpler, but a file that is cut short meanwhile would kill the agent.
type pages struct {
	r    io.ReaderAt
	held map[int64][]byte
}

func (p *pages) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: negative offset", off)
	}
	if len(b) > 4*pageSize {
		return p.r.ReadAt(b, off)
	}
	n := 0
	for n < len(b) {
		page, err := p.page((off + int64(n)) / pageSize)
		at := int((off + int64(n)) % pageSize)
		if at >= len(page) {
			if err == nil {
				err = io.EOF
			}
			return n, err
		}
		n += copy(b[n:], page[at:])
	}
	return n, nil
}

func (p *pages) page(i int64) ([]byte, error) {
	if b, ok := p.held[i]; ok {
		return b, nil
	}
	b := make([]byte, pageSize)
	n, err := p.r.ReadAt(b, i*pageSize)
	if n == 0 {
		return nil, err
	}
	if len(p.held) >= maxPages {
		clear(p.held)
	}
	b = b[:n]
	p.held[i] = b
	return b, nil
}
