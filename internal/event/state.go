package event

// State is what a thread does at one moment. The numbers are those of the
// kernel side (bpf/event.h) and are stored on disk.
type State uint8

// States of a thread. From Disk on it is blocked.
const (
	Running     State = iota // on a CPU
	Runnable                 // wants a CPU and has none
	Disk                     // waits for a block device or a file system
	NetworkWait              // waits on a socket
	Lock                     // waits on a futex
	GPUWait                  // waits in the NVIDIA driver
	Fault                    // in a page fault: for a disk, a lock or another process
	Reclaim                  // frees memory for the kernel before it gets any, on a CPU or not
	Sleep                    // asked to sleep
	Child                    // waits for a process to end
	Stopped                  // by a signal or a debugger
	Pipe                     // waits for another local process
	Other                    // waits for something else
	States                   // how many there are
)

var stateNames = [States]string{
	"running", "runnable", "disk", "network", "lock", "gpu", "fault", "reclaim", "sleep", "child", "stopped", "pipe", "other",
}

// String returns the name used in JSON, SQL and on screen.
func (s State) String() string { return stateNames[s] }

// Blocked reports whether the thread could not have used a CPU.
func (s State) Blocked() bool { return s >= Disk }
