package cli

import (
	"time"

	"ingero/internal/event"
	"ingero/internal/pipeline"
	"ingero/internal/sysinfo"
)

// second adds to a batch, once a second, what /proc, cgroupfs and nvidia-smi
// say, and keeps the clock in step.
type second struct {
	t        *tracer
	sampler  *sysinfo.Sampler
	filter   sysinfo.Deadband
	accounts *sysinfo.Accounts // nil if there is no /proc to read
	gpus     *sysinfo.SMI      // nil if there is no nvidia-smi
}

func newSecond(t *tracer) *second {
	s := &second{
		t: t, sampler: sysinfo.NewSampler("", nil), gpus: sysinfo.OpenSMI(),
		filter: sysinfo.Deadband{Percent: t.plan.deadband, Heartbeat: t.plan.heartbeat},
	}
	var err error
	if s.accounts, err = sysinfo.OpenAccounts(""); err != nil {
		t.gap("quotas and page faults of processes: %v", err)
	}
	return s
}

func (s *second) close() {
	s.gpus.Close()
	if s.accounts != nil {
		if err := s.accounts.Close(); err != nil {
			s.t.status.debugf("%v", err)
		}
	}
}

// add is called by the pipeline.
func (s *second) add(b *pipeline.Batch, living []event.Process) error {
	if step, err := s.t.probe.Clock().Sync(); err != nil {
		return err
	} else if step != 0 {
		s.t.status.say("the wall clock was stepped by %s; times follow it", time.Duration(step))
		b.Steps = append(b.Steps, pipeline.ClockStep{At: time.Now().UnixNano(), Delta: step})
	}
	if s.accounts != nil {
		for _, a := range s.accounts.Take(living) {
			a.MajorFaults = 0 // the kernel side counts them, with the time they took
			b.Calls = a.AppendCalls(b.Calls)
		}
	}
	b.GPU = append(b.GPU, s.gpus.Take()...)
	if trouble := s.gpus.Trouble(); trouble != "" {
		s.t.gap("clocks, memory and load of the GPUs: %s", trouble)
	}
	x, err := s.sampler.Sample()
	if err != nil {
		return nil // no CPU time has passed, or /proc is odd: next second
	}
	now := event.Snapshot{
		Time: x.Time.UnixNano(), CPU: x.CPU, Mem: x.Mem, MemAvail: x.MemAvail, Swap: x.Swap, Load: x.Load,
		PSICPU: x.PSICPU, PSIMem: x.PSIMem, PSIIO: x.PSIIO, Cores: x.Cores,
	}
	s.t.meters.system(now)
	if s.filter.Keep(x) {
		b.Snapshots = append(b.Snapshots, now)
	}
	return nil
}
