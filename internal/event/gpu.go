package event

// GPUSample is the state of one GPU at one moment. Figures that the driver
// does not give are -1.
type GPUSample struct {
	Time     int64   // unix ns
	GPU      int     // index in nvidia-smi, by bus; a process may number its devices otherwise
	Util     float64 // percent of the time in which a kernel ran
	MemUsed  float64 // MiB
	MemTotal float64 // MiB
	SMClock  float64 // MHz
	SMMax    float64 // MHz
	MemClock float64 // MHz
	Power    float64 // W
	Temp     float64 // °C
	Throttle string  // why the clocks are held down, comma-separated; empty: they are not, or it is not known
	Procs    []GPUProc
}

// GPUProc is a process that computes on a GPU.
type GPUProc struct {
	PID  uint32
	Name string  // path of the program, empty when not known
	Mem  float64 // MiB on this GPU, -1 when not known
}
