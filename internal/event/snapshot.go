package event

// Snapshot is the state of the whole machine at one moment.
type Snapshot struct {
	Time     int64   // unix ns
	CPU      float64 // percent of all cores
	Mem      float64 // percent used
	MemAvail int64   // MiB
	Swap     int64   // MiB used
	Load     float64 // one-minute load average

	PSICPU, PSIMem, PSIIO float64   // percent of the time in which some task waited for it; -1 unknown
	Cores                 []float64 // percent of each core, by its number; -1 unknown
}
