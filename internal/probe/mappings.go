package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mapping is a file that a process has just mapped as code.
type Mapping struct {
	PID  int
	Path string // as the process sees it
	File FileKey
}

// FileKey tells files apart as the kernel does for mappings.
type FileKey struct {
	Major, Minor uint32
	Inode        uint64
}

// Mappings reports every file mapped as code on the machine from now on: new
// programs and libraries loaded later. The kernel tells perf, so that nobody
// has to look through /proc again and again, and a library is probed within
// a millisecond or so of being loaded.
type Mappings struct {
	rings []*mappingRing
	Lost  uint64 // reports that did not fit
}

const mappingPages = 16 // of data, per CPU

type mappingRing struct {
	fd   int
	mem  []byte
	meta *unix.PerfEventMmapPage
}

// WatchMappings begins to listen on all CPUs.
func WatchMappings() (*Mappings, error) {
	cpus, err := onlineCPUs()
	if err != nil {
		return nil, err
	}
	m := &Mappings{}
	for _, cpu := range cpus {
		r, err := openMappingRing(cpu)
		if err != nil {
			m.Close()
			return nil, err
		}
		m.rings = append(m.rings, r)
	}
	return m, nil
}

func openMappingRing(cpu int) (*mappingRing, error) {
	attr := &unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Config: unix.PERF_COUNT_SW_DUMMY,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Bits:   unix.PerfBitMmap | unix.PerfBitMmap2 | unix.PerfBitWatermark,
		Wakeup: 1, // byte: wake the reader for every report
	}
	fd, err := unix.PerfEventOpen(attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch for mapped files on CPU %d: %w", cpu, err)
	}
	mem, err := unix.Mmap(fd, 0, (1+mappingPages)*unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the perf ring of CPU %d: %w", cpu, err), unix.Close(fd))
	}
	return &mappingRing{fd, mem, (*unix.PerfEventMmapPage)(unsafe.Pointer(unsafe.SliceData(mem)))}, nil
}

// Wait blocks until something was mapped or the timeout passed, and calls f
// for each file.
func (m *Mappings) Wait(timeout time.Duration, f func(Mapping)) error {
	fds := make([]unix.PollFd, len(m.rings))
	for i, r := range m.rings {
		fds[i] = unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN}
	}
	if _, err := unix.Poll(fds, int(timeout.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for mapped files: %w", err)
	}
	for _, r := range m.rings {
		m.Lost += r.read(f)
	}
	return nil
}

// read takes all reports from the ring (perf_event_open(2), "MMAP layout").
func (r *mappingRing) read(f func(Mapping)) (lost uint64) {
	data := r.mem[unix.Getpagesize():]
	head, tail := atomic.LoadUint64(&r.meta.Data_head), r.meta.Data_tail
	for tail < head {
		header := ringBytes(data, tail, 8)
		kind, size := binary.NativeEndian.Uint32(header), uint64(binary.NativeEndian.Uint16(header[6:]))
		if size < 8 || size > head-tail {
			tail = head // not a ring we understand; start afresh
			break
		}
		body := ringBytes(data, tail+8, int(size-8))
		switch {
		case kind == unix.PERF_RECORD_LOST && len(body) >= 16:
			lost += binary.NativeEndian.Uint64(body[8:])
		case kind == unix.PERF_RECORD_MMAP2 && len(body) > 64:
			// pid tid addr len pgoff maj min ino generation prot flags name
			name, _, _ := bytes.Cut(body[64:], []byte{0})
			if len(name) > 0 && name[0] == '/' {
				f(Mapping{
					PID: int(binary.NativeEndian.Uint32(body)), Path: string(name), File: FileKey{
						binary.NativeEndian.Uint32(body[32:]), binary.NativeEndian.Uint32(body[36:]),
						binary.NativeEndian.Uint64(body[40:]),
					},
				})
			}
		}
		tail += size
	}
	atomic.StoreUint64(&r.meta.Data_tail, tail)
	return lost
}

func ringBytes(ring []byte, at uint64, n int) []byte {
	out := make([]byte, n)
	start := at % uint64(len(ring))
	k := copy(out, ring[start:])
	copy(out[k:], ring)
	return out
}

// Close stops listening.
func (m *Mappings) Close() error {
	var errs []error
	for _, r := range m.rings {
		errs = append(errs, unix.Munmap(r.mem), unix.Close(r.fd))
	}
	m.rings = nil
	return errors.Join(errs...)
}

// onlineCPUs parses a list like 0-3,8.
func onlineCPUs() ([]int, error) {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		cpus := make([]int, runtime.NumCPU())
		for i := range cpus {
			cpus[i] = i
		}
		return cpus, nil
	}
	var cpus []int
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(last)
		}
		if err != nil || b < a {
			return nil, fmt.Errorf("list of CPUs %q: not understood", text)
		}
		for ; a <= b; a++ {
			cpus = append(cpus, a)
		}
	}
	return cpus, nil
}
