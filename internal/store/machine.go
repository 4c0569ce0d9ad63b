package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"

	"ingero/internal/event"
)

// Snapshot records the state of the machine.
func (w *Writer) Snapshot(s event.Snapshot) { w.snapshots = append(w.snapshots, s) }

// GPU records the state of one GPU.
func (w *Writer) GPU(s event.GPUSample) { w.gpus = append(w.gpus, s) }

// writeMachine stores what is pending of the machine and its GPUs.
func (w *Writer) writeMachine(ctx context.Context) error {
	for _, s := range w.snapshots {
		var cores any
		if len(s.Cores) > 0 {
			list := make([]float64, len(s.Cores))
			for i, v := range s.Cores {
				list[i] = math.Round(10*finite(v)) / 10
			}
			b, err := json.Marshal(list)
			if err != nil {
				return err
			}
			cores = string(b)
		}
		if _, err := w.exec(ctx, `INSERT OR REPLACE INTO system_snapshots (timestamp, cpu_pct, mem_pct, mem_avail, swap_mb, load_avg,
			psi_cpu, psi_mem, psi_io, cores) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			s.Time, finite(s.CPU), finite(s.Mem), s.MemAvail, s.Swap, finite(s.Load),
			known(s.PSICPU), known(s.PSIMem), known(s.PSIIO), cores); err != nil {
			return err
		}
	}
	for _, s := range w.gpus {
		procs := make([]gpuProc, len(s.Procs))
		for i, p := range s.Procs {
			procs[i] = gpuProc{p.PID, p.Name, finite(p.Mem)}
		}
		b, err := json.Marshal(procs)
		if err != nil {
			return err
		}
		if _, err := w.exec(ctx, "INSERT OR REPLACE INTO gpu_samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			s.Time, s.GPU, known(s.Util), known(s.MemUsed), known(s.MemTotal), known(s.SMClock), known(s.MemClock), known(s.SMMax),
			known(s.Power), known(s.Temp), s.Throttle, string(b)); err != nil {
			return err
		}
	}
	return w.writePlaces(ctx)
}

type gpuProc struct {
	PID  uint32  `json:"pid"`
	Name string  `json:"name"`
	Mem  float64 `json:"mem_mb"`
}

// finite replaces what neither SQLite nor JSON can hold.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// known turns -1, not known, into NULL.
func known(v float64) any {
	if v < 0 || v != finite(v) {
		return nil
	}
	return v
}

// orUnknown is the inverse of known.
func orUnknown(v sql.NullFloat64) float64 {
	if !v.Valid || v.Float64 < 0 {
		return -1
	}
	return v.Float64
}

// Snapshots returns the states of the machine in the window, in order.
func (r *Reader) Snapshots(ctx context.Context, f Filter) ([]event.Snapshot, error) {
	return read(ctx, r, "the state of the machine", func(ctx context.Context, c *readConn) ([]event.Snapshot, error) { return snapshots(ctx, c, f) })
}

func snapshots(ctx context.Context, c *readConn, f Filter) ([]event.Snapshot, error) {
	has, err := tableColumns(ctx, c, "system_snapshots")
	if err != nil || !has["timestamp"] {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, fmt.Sprintf(`SELECT timestamp, cpu_pct, mem_pct, mem_avail, swap_mb, load_avg, %s, %s, %s, %s
		FROM system_snapshots WHERE timestamp >= ? AND timestamp < ? ORDER BY timestamp`,
		has.or("psi_cpu", "NULL"), has.or("psi_mem", "NULL"), has.or("psi_io", "NULL"), has.or("cores", "NULL")), f.From, f.end())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []event.Snapshot
	for rows.Next() {
		var s event.Snapshot
		var cpu, mem, io sql.NullFloat64
		var cores sql.NullString
		if err := rows.Scan(&s.Time, &s.CPU, &s.Mem, &s.MemAvail, &s.Swap, &s.Load, &cpu, &mem, &io, &cores); err != nil {
			return nil, err
		}
		s.PSICPU, s.PSIMem, s.PSIIO = orUnknown(cpu), orUnknown(mem), orUnknown(io)
		if json.Unmarshal([]byte(cores.String), &s.Cores) != nil {
			s.Cores = nil
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// GPU returns the states of all GPUs in the window, in order.
func (r *Reader) GPU(ctx context.Context, f Filter) ([]event.GPUSample, error) {
	return read(ctx, r, "the state of the GPUs", func(ctx context.Context, c *readConn) ([]event.GPUSample, error) { return gpuSamples(ctx, c, f) })
}

func gpuSamples(ctx context.Context, c *readConn, f Filter) ([]event.GPUSample, error) {
	if has, err := tableColumns(ctx, c, "gpu_samples"); err != nil || !has["timestamp"] {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, `SELECT timestamp, gpu, util_pct, mem_used_mb, mem_total_mb, sm_mhz, mem_mhz, sm_max_mhz,
		power_w, temp_c, throttle, procs FROM gpu_samples WHERE timestamp >= ? AND timestamp < ? ORDER BY timestamp, gpu`, f.From, f.end())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []event.GPUSample
	for rows.Next() {
		var s event.GPUSample
		var v [8]sql.NullFloat64
		var procs string
		if err := rows.Scan(&s.Time, &s.GPU, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &s.Throttle, &procs); err != nil {
			return nil, err
		}
		for i, to := range []*float64{&s.Util, &s.MemUsed, &s.MemTotal, &s.SMClock, &s.MemClock, &s.SMMax, &s.Power, &s.Temp} {
			*to = orUnknown(v[i])
		}
		var list []gpuProc
		if json.Unmarshal([]byte(procs), &list) == nil {
			for _, p := range list {
				s.Procs = append(s.Procs, event.GPUProc(p))
			}
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
