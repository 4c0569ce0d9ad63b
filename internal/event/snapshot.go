package event

// Snapshot is the state of the whole machine at one moment.
type Snapshot struct {
	Time     int64   // unix ns
	CPU      float64 // percent of all cores
	Mem      float64 // percent used
	MemAvail int64   // MiB
	Swap     int64   // MiB used
	Load     float64 // one-minute load average

	// Percent of the time since the snapshot before in which some task
	// waited for a CPU, for memory or for I/O; -1 is not known.
	PSICPU, PSIMem, PSIIO float64
	Cores                 []float64 // percent of each core
}
