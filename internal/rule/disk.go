package rule

import (
	"fmt"

	"ingero/internal/event"
	"ingero/internal/stats"
)

// chargeDisk is the time that feeders waited for a block device or a file
// system, whatever they were doing.
func chargeDisk(_ *job, s *slot) []charge {
	return []charge{{rule: ruleDisk, ns: float64(s.at(event.Disk))}}
}

// rivals adds up what other processes' requests took on the devices that the
// job used, over the seconds of an incident, less what they took in as many
// good seconds before.
func (j *job) rivals(f *Finding) []Culprit {
	sums := map[uint32]*Culprit{}
	add := func(s *slot, sign float64) {
		for _, p := range s.Pairs {
			if p.State != event.Disk || p.TID != 0 || p.OtherPID == 0 || j.window.sameJob(j.Process, p.OtherPID) {
				continue
			}
			c := sums[p.OtherPID]
			if c == nil {
				c = &Culprit{PID: p.OtherPID, Comm: p.OtherComm}
				sums[p.OtherPID] = c
			}
			c.NS = uint64(max(float64(c.NS)+sign*float64(p.NS), 0))
		}
	}
	for _, s := range f.slots {
		add(s, 1)
	}
	var own uint64
	for _, s := range f.slots {
		for _, op := range []uint8{1, 2} {
			if c := s.host[event.MakeOp(event.IO, op)]; c != nil {
				own += c.Hist.Sum()
			}
		}
	}
	var out []Culprit
	for _, c := range sums {
		if float64(c.NS) >= 0.5*float64(own) && c.NS >= uint64(50e6) {
			// Of the wait, what its requests were of all requests.
			part := float64(c.NS) / float64(c.NS+own)
			out = append(out, Culprit{PID: c.PID, Comm: c.Comm, NS: uint64(part * float64(f.LostNS))})
		}
	}
	return byHarm(out)
}

// bytesOf adds up what the job's processes read or wrote during a finding.
func (j *job) bytesOf(f *Finding, op event.Op) (bytes uint64) {
	for i := range j.window.Processes {
		p := &j.window.Processes[i]
		if !j.window.sameJob(j.Process, p.PID) {
			continue
		}
		for k := range p.Seconds {
			if s := &p.Seconds[k]; s.At >= f.Start.Unix() && s.At < f.End.Unix() {
				bytes += bytesIn(s, op)
			}
		}
	}
	return bytes
}

// slowerWrites reports whether the job waited longer for each byte it wrote
// than it did when all was well.
func (j *job) slowerWrites(f *Finding) bool {
	perByte := func(of []*slot) float64 {
		var ns, bytes float64
		for _, s := range of {
			ns += float64(s.at(event.Disk))
			bytes += float64(bytesIn(s.Second, event.MakeOp(event.IO, 2)))
		}
		return ns / bytes // not a number if nothing was written
	}
	return perByte(f.slots) >= 2*perByte(f.good)
}

func bytesIn(s *stats.Second, op event.Op) uint64 {
	for i := range s.Calls {
		if s.Calls[i].Op == op {
			return s.Calls[i].Bytes
		}
	}
	return 0
}

func tellDisk(j *job, f *Finding) {
	read, written := j.bytesOf(f, event.MakeOp(event.IO, 1)), j.bytesOf(f, event.MakeOp(event.IO, 2))
	rivals := j.rivals(f)
	worker := ""
	if len(f.Culprits) > 0 {
		worker = f.Culprits[0].name() + ", which waited for "
	}
	what := "the disk"
	switch {
	case read >= written && read > 0:
		what = fmt.Sprintf("reads from the disk (%s)", size(read))
	case written > 0:
		what = fmt.Sprintf("writes to the disk (%s)", size(written))
	}
	f.Summary = fmt.Sprintf("%s waited for %s%s: %s lost", f.Process.Comm, worker, what, f.lost())
	if len(rivals) > 0 {
		f.Culprits, f.foreign = rivals, true
		f.Summary += fmt.Sprintf("; meanwhile %s used the same device", rivals[0].name())
		f.Fixes = append(f.Fixes, Fix{Text: "Let the other process give way", Command: fmt.Sprintf("ionice -c 3 -p %d", rivals[0].PID)})
	} else if written > read && read < written/10 && !j.slowerWrites(f) {
		// Its own writes at its own time: a checkpoint.
		f.limit(Low, "the job's own writes, as at a checkpoint")
		f.Fixes = append(f.Fixes, Fix{Text: "Write checkpoints in the background (torch.distributed.checkpoint async_save), or to a faster disk"})
	}
	if read >= written {
		f.Fixes = append(f.Fixes, Fix{Text: "Keep the data set on a faster disk or in memory (page cache, /dev/shm), or read ahead: more data loader workers, a larger prefetch_factor"})
	}
	f.Fixes = append(f.Fixes, Fix{Text: "See which device is slow: await and %util", Command: "iostat -x 1"})
}

func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KB", n>>10)
}
