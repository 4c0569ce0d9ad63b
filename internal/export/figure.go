package export

import (
	"context"
	"fmt"

	"ingero/internal/query"
)

// point is one value of a figure.
type point struct {
	at         int64
	name, unit string
	value      float64
}

var wakerNames = [...]factName{factWokenBy, factWokenBy2, factWokenBy3}

func wakerText(k query.Waker) string {
	return fmt.Sprintf("%s (PID %d, TID %d): %s in %d waits", k.Comm, k.Thread.PID, k.Thread.TID, query.ShortDuration(k.NS), k.Count)
}

// figures are those of the machine and its GPUs. What is not known, -1, is
// left out.
func figures(ctx context.Context, s query.Streamed, f query.Filter) (all []point, err error) {
	add := func(at int64, name, unit string, v float64) {
		if v >= 0 {
			all = append(all, point{at, name, unit, v})
		}
	}
	snapshots, err := s.Snapshots(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, x := range snapshots {
		add(x.Time, "CPU", "%", x.CPU)
		add(x.Time, "memory", "%", x.Mem)
		add(x.Time, "memory available", "MiB", float64(x.MemAvail))
		add(x.Time, "swap", "MiB", float64(x.Swap))
		add(x.Time, "load (1 min)", "", x.Load)
		add(x.Time, "pressure: CPU", "%", x.PSICPU)
		add(x.Time, "pressure: memory", "%", x.PSIMem)
		add(x.Time, "pressure: I/O", "%", x.PSIIO)
	}
	gpus, err := s.GPU(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, x := range gpus {
		name := fmt.Sprintf("GPU %d ", x.GPU)
		add(x.Time, name+"utilization", "%", x.Util)
		add(x.Time, name+"memory", "MiB", x.MemUsed)
		add(x.Time, name+"SM clock", "MHz", x.SMClock)
		add(x.Time, name+"memory clock", "MHz", x.MemClock)
		add(x.Time, name+"power", "W", x.Power)
		add(x.Time, name+"temperature", "°C", x.Temp)
	}
	return all, nil
}
