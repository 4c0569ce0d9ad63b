package event

// GPUSample is the state of one device at one moment, as the driver reports
// it. Numbers are -1 where the device does not tell.
type GPUSample struct {
	Time     int64 // unix ns
	GPU      int
	Util     float64 // percent of the time in which a kernel ran
	MemUsed  float64 // MiB
	MemTotal float64 // MiB
	SMClock  float64 // MHz
	SMMax    float64 // MHz
	MemClock float64 // MHz
	Power    float64 // W
	Temp     float64 // °C
	Throttle string  // reasons for which the clock is held down, comma-separated; empty is none
	Procs    []GPUProc
}

// GPUProc is a process that computes on the device.
type GPUProc struct {
	PID  uint32
	Name string
	Mem  float64 // MiB; -1: not known
}
