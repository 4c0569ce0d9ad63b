package main

import (
	"syscall"
	"time"
)

const sigStop, sigCont = syscall.SIGSTOP, syscall.SIGCONT

// noise is much that goes on on the machine, none of it the job's business.
var noise = all(beside("hog", otherCPU), beside("spawner", otherCPU), beside("writer", otherCPU, "noise"))

var deviceCases = []Case{
	{
		Name: "device/slow", Text: "a device of half the speed",
		Job: step + "--work-us 500", Inject: control("speed=0.5", "speed=1"), Kinds: []string{"gpu_bound", "gpu_throttled"},
	},
	{
		Name: "device/slow-decoy", Text: "the same, with a busy process, short-lived processes and disk writes on the other CPU",
		Job: step + "--work-us 500", CPU: jobCPU, Inject: all(control("speed=0.5", "speed=1"), noise),
		Kinds: []string{"gpu_bound", "gpu_throttled"}, Needs: []func() string{twoCPUs}, CI: true,
	},
	{
		Name: "device/slow-spinning", Text: "a device of half the speed; waits that spin",
		Job: step + "--work-us 500 --wait spin", CPU: jobCPU, Inject: control("speed=0.5", "speed=1"), Kinds: []string{"gpu_bound", "gpu_throttled"},
	},
	{
		Name: "device/shared", Text: "a second process on the device",
		Job: step + "--work-us 500 --share DIR/device", Inject: rival("--launches", "20", "--kernel-ns", "200000"),
		Kinds: []string{"gpu_contention", "noisy_neighbor"}, Culprit: "rival",
	},
	{
		Name: "device/copies", Text: "copies at a twelfth of the bandwidth",
		Job: step + "--copy-bytes 6000000", Inject: control("bandwidth=1e9", "bandwidth=12e9"), Kinds: []string{"memcpy_bound"},
	},
	{
		Name: "device/allocations", Text: "forty pairs of cudaMalloc and cudaFree a step instead of one",
		Job: step + "--alloc-bytes 1048576 --alloc-ns 50000", Inject: control("allocs=40", "allocs=1"), Kinds: []string{"alloc_churn"},
	},
	{
		Name: "device/recapture", Text: "the graph is captured again in each step, with host work meanwhile",
		Job: step + "--graph --instantiate-ns 3000000", Inject: control("recapture=1 capture_us=2000", "recapture=0"), Kinds: []string{"graph_recapture"},
	},
	{
		Name: "device/graph-pool", Text: "eight shapes for a pool of four graphs",
		Job: step + "--graph --graph-pool 4 --shapes 4 --instantiate-ns 3000000", Inject: control("shapes=8", "shapes=4"),
		Kinds: []string{"graph_pool", "graph_recapture"},
	},
}

// Nothing is wrong in these, whatever it looks like.
var healthyCases = []Case{
	{Name: "healthy/plain", Text: "a job by itself", Job: step + "--work-us 500 --copy-bytes 1000000", CI: true},
	{
		Name: "healthy/noise", Text: "the other CPU and the disk are busy with the work of others",
		Job: step + "--work-us 500", CPU: jobCPU, Inject: noise, Needs: []func() string{twoCPUs},
	},
	{
		Name: "healthy/nicest-hog", Text: "a process of niceness 19 uses what the job leaves of its CPU",
		Job: step + "--work-us 500", CPU: jobCPU, Inject: niced(19, jobCPU),
	},
	{Name: "healthy/sleeps", Text: "a job that sleeps 50 ms between steps", Job: step + "--gap-us 50000"},
	{
		Name: "healthy/bimodal", Text: "one copy in eight is 64 times larger than the others",
		Job: step + "--copy-bytes 20000000 --copy-every 8",
	},
	{
		Name: "healthy/evaluation", Text: "evaluation for 3 s, then training again: other launches, other copies",
		Job: step + "--copy-bytes 8000000", Inject: control("launches=8 copy_bytes=1000000 work_us=1000", "launches=20 copy_bytes=8000000 work_us=0"),
		Fault: 3 * time.Second,
	},
	{
		Name: "healthy/checkpoints", Text: "a checkpoint of 8 MB each 400 steps, to a disk that is well",
		Job: step + "--write DIR/write --write-bytes 8388608 --write-every 400",
	},
	{
		Name: "healthy/idle", Text: "nothing to do for 4 s, twice",
		Job: step, Inject: repeat(4*time.Second, "gap_us=4000000", "gap_us=0"), Fault: 10 * time.Second,
	},
}

var calmCases = []Case{
	{Name: "healthy/threads", Text: "sixteen threads that share the device", Job: "--launches 4 --kernel-ns 100000 --threads 16"},
	{
		Name: "healthy/shared", Text: "two processes on the device, neither in need of half of it",
		Job: step + "--gap-us 20000 --share DIR/device", Inject: rival("--launches", "2", "--kernel-ns", "100000", "--gap-us", "20000"),
	},
	{Name: "healthy/server", Text: "an inference server that waits for requests, many or few", Job: step + "--requests DIR/requests", Before: requests, Inject: rush},
	{
		Name: "healthy/cold-start", Text: "a start of 5 s",
		Job: step + "--cold-start-ms 5000", Healthy: 8 * time.Second, Fault: time.Second, Allow: []string{"cold_start"},
	},
	{Name: "healthy/allocations", Text: "a few allocations a step, at the usual price", Job: step + "--alloc-bytes 1048576 --alloc-ns 20000 --allocs 3"},
	{
		Name: "healthy/slow-from-start", Text: "a device that is slow from the start, which nobody can know",
		Job: step + "--speed 0.5 --work-us 500", Allow: []string{"gpu_bound"},
	},
	{Name: "healthy/loaders", Text: "data loaders that keep up, with work to do", Job: step + "--loaders 2 --loader-us 500"},
	{
		Name: "healthy/python", Text: "a job in Python", Python: true, Job: step + "--work-us 500",
	},
}
