package event

// GPUSample is the state of one GPU at one moment; -1 is not known.
type GPUSample struct {
	Time              int64 // unix ns
	GPU               int
	Util              float64 // percent
	MemUsed, MemTotal float64 // MiB
	SMClock, SMMax    float64 // MHz
	MemClock          float64 // MHz
	Power             float64 // W
	Temp              float64 // °C
	Throttle          string  // reasons, separated by commas; empty is none
	Procs             []GPUProc
}

// GPUProc is a process that has a context on a GPU.
type GPUProc struct {
	PID  uint32
	Name string
	Mem  float64 // MiB; -1 is not known
}
