package rule

import (
	"fmt"

	"ingero/internal/event"
)

// own is the time at places that the calls themselves took: what the machine
// took there belongs to other causes.
func own(s *slot, places ...event.Class) float64 {
	var ns float64
	for _, p := range places {
		ns += float64(s.place(p)) - float64(s.in(event.Runnable, p)+s.in(event.Disk, p)+s.in(event.Fault, p)+s.in(event.Reclaim, p)+s.in(event.Stopped, p))
	}
	return ns
}

// churnRate is how many calls a second make a habit.
const churnRate = 5

// chargeAlloc is the time in calls that take or give back device memory, if
// there are many of them: jobs do that at their start, not all the time.
func chargeAlloc(j *job, s *slot) []charge {
	if s.count(event.Alloc)+s.count(event.Free) < churnRate || j.starting(s) {
		return nil
	}
	return []charge{{rule: ruleAlloc, ns: own(s, event.Alloc, event.Free)}}
}

func tellAlloc(j *job, f *Finding) {
	f.Symptom = j.worstOp(f, event.Alloc)
	var calls uint64
	for _, s := range f.slots {
		calls += s.count(event.Alloc) + s.count(event.Free)
	}
	f.Summary = fmt.Sprintf("%s takes and gives back device memory %.0f times a second: %s lost", f.Process.Comm, float64(calls)/f.seconds(), f.lost())
	f.Fixes = []Fix{
		{Text: "Keep memory instead of giving it back: no torch.cuda.empty_cache() in the loop; PyTorch's caching allocator with expandable segments; cudaMallocAsync with a pool's release threshold", Command: "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"},
	}
}

// chargeCapture is the time spent on recording and preparing graphs, if it
// goes on: that should happen once for each shape. What is queued while
// capturing is not work but its recording: the ledger has it at Capturing.
func chargeCapture(j *job, s *slot) []charge {
	if (s.count(event.Capture)+s.count(event.Prepare) < 2 && s.place(event.Capturing) == 0) || j.starting(s) {
		return nil
	}
	ns := own(s, event.Capture, event.Prepare, event.Capturing)
	if s.place(event.Capturing) == 0 {
		ns += launchesWhileCapturing(s)
	}
	return []charge{{rule: ruleCapture, ns: ns}}
}

// launchesWhileCapturing is for recordings whose ledger does not know the
// place: in a second with captures and launches of graphs, other launches are
// taken for recorded ones.
func launchesWhileCapturing(s *slot) float64 {
	var graphs, launches uint64
	for op, c := range s.calls {
		switch {
		case op.Class() == event.Launch && op.Source() == event.Graph:
			graphs += outer(c)
		case op.Class() == event.Launch:
			launches += c.Hist.Sum()
		}
	}
	if graphs == 0 {
		return 0
	}
	return min(float64(launches), own(s, event.Launch))
}

func tellCapture(j *job, f *Finding) {
	var captures, prepares, graphs, before, capturing, preparing float64
	for _, s := range f.slots {
		captures += float64(s.count(event.Capture)) / 2 // begin and end
		prepares += float64(s.count(event.Prepare))
		graphs += float64(j.graphs(s))
		capturing += own(s, event.Capture, event.Capturing)
		preparing += own(s, event.Prepare)
	}
	for _, s := range f.good {
		before += float64(j.graphs(s))
	}
	if capturing <= preparing && (captures < 1 && prepares > 0 || (before > 0 && graphs/f.seconds() < 0.5*before/float64(len(f.good)) && captures/f.seconds() < 1)) {
		f.Kind = "graph_pool"
		f.Summary = fmt.Sprintf("%s makes and drops executable graphs (%.0f a second) where it used to launch them: %s lost", f.Process.Comm, prepares/f.seconds(), f.lost())
		f.Fixes = []Fix{{Text: "Let the pool hold more graphs, or use fewer shapes: vLLM cudagraph_capture_sizes, torch.compile(dynamic=False) with padded batches"}}
		return
	}
	f.Summary = fmt.Sprintf("%s captures graphs again and again (%.0f a second): %s lost", f.Process.Comm, captures/f.seconds(), f.lost())
	if captures < 2 {
		f.Summary = fmt.Sprintf("%s captured a graph in the middle of its work: %s lost", f.Process.Comm, f.lost())
	}
	f.Fixes = []Fix{{Text: "Capture each shape once, before serving: pad batches to a few sizes (vLLM: cudagraph_capture_sizes), keep input addresses fixed, and find what makes torch.compile recompile", Command: "export TORCH_LOGS=recompiles,cudagraphs"}}
}

func (j *job) graphs(s *slot) (n uint64) {
	for op, c := range s.calls {
		if op.Class() == event.Launch && op.Source() == event.Graph {
			n += outer(c)
		}
	}
	return n
}
