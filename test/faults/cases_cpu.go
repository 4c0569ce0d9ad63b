package main

import "time"

// A job's step: 2 ms of kernels, and what the case adds on the host.
const step = "--launches 20 --kernel-ns 100000 "

var contention = []string{"cpu_contention", "noisy_neighbor"}

var cpuCases = []Case{
	{
		Name: "cpu/hog", Text: "a busy process on the job's CPU; waits that block",
		Job: step + "--work-us 6000", CPU: jobCPU, Inject: beside("hog", jobCPU), Kinds: contention, Culprit: "hog", CI: true,
	},
	{
		Name: "cpu/hog-spinning", Text: "the same; waits that spin",
		Job: step + "--work-us 1000 --wait spin", CPU: jobCPU, Inject: beside("hog", jobCPU), Kinds: contention, Culprit: "hog",
	},
	{
		Name: "cpu/hog-python", Text: "the same; a job in Python",
		Job: step + "--work-us 6000", Python: true, CPU: jobCPU, Inject: beside("hog", jobCPU), Kinds: contention, Culprit: "hog",
	},
	{
		Name: "cpu/hog-from-start", Text: "the busy process was there before the job",
		Job: step + "--work-us 6000", CPU: jobCPU, Inject: beside("hog", jobCPU), FromStart: true, Kinds: contention, Culprit: "hog",
	},
	{
		Name: "cpu/hog-late-trace", Text: "the trace begins when the job and the busy process are there",
		Job: step + "--work-us 6000", CPU: jobCPU, Inject: beside("hog", jobCPU), FromStart: true, Late: true, Kinds: contention, Culprit: "hog",
	},
	{
		Name: "cpu/bursts", Text: "a process that is busy half of each second",
		Job: step + "--work-us 6000", CPU: jobCPU, Inject: beside("burster", jobCPU), Kinds: contention, Culprit: "burster",
	},
	{
		Name: "cpu/hog-to-the-end", Text: "the trace ends while the busy process is there",
		Job: step + "--work-us 6000", CPU: jobCPU, Inject: beside("hog", jobCPU), After: time.Millisecond, Kinds: contention, Culprit: "hog",
	},
	{
		Name: "cpu/hog-threads", Text: "a job of four threads on the busy process's CPU",
		Job: "--launches 10 --kernel-ns 100000 --work-us 2000 --threads 4", CPU: jobCPU,
		Inject: beside("hog", jobCPU), Kinds: contention, Culprit: "hog",
	},
	{
		Name: "cpu/hog-processes", Text: "a job of two processes, and a busy process on each CPU",
		Job: step + "--work-us 6000 --processes 2", CPU: jobCPU + "," + otherCPU, Inject: all(beside("hog", jobCPU), beside("hog", otherCPU)),
		Kinds: contention, Culprit: "hog", Needs: []func() string{twoCPUs},
	},
	{
		Name: "cpu/thieves", Text: "many processes of 25 ms, one after another, on the job's CPU",
		Job: step + "--work-us 6000", CPU: jobCPU, Inject: beside("spawner", jobCPU), Kinds: contention, Culprit: "thief",
	},
	{
		Name: "cpu/job-niced", Text: "the job is nicer (10) than the busy process (0)",
		Job: step + "--work-us 6000", CPU: jobCPU, Nice: 10, Inject: beside("hog", jobCPU), Kinds: contention, Culprit: "hog",
	},
	{
		Name: "cpu/quota", Text: "a CPU quota of 30 %",
		Job: step + "--work-us 6000", Groups: []string{"cpu"}, Inject: quota(30), Kinds: []string{"cpu_throttled"}, CI: true,
	},
	{
		Name: "cpu/quota-from-start", Text: "a CPU quota of 30 % from the start",
		Job: step + "--work-us 6000", Groups: []string{"cpu"}, Inject: quota(30), FromStart: true, Kinds: []string{"cpu_throttled"},
	},
	{
		Name: "cpu/loader", Text: "a data loader on a busy process's CPU",
		Job: step + "--loaders 1 --loader-us 1800", CPU: jobCPU, Inject: beside("hog", jobCPU), Kinds: contention, Culprit: "hog",
	},
}

var memoryCases = []Case{
	{
		Name: "memory/reclaim", Text: "a memory limit of 32 MB on a job that writes 16 MB a step into the page cache",
		Job: step + "--dirty DIR/dirty --dirty-bytes 16777216", Groups: []string{"memory"}, Inject: memory(32),
		Kinds: []string{"memory_reclaim"}, Needs: []func() string{realDisk},
	},
	{
		Name: "memory/thrash", Text: "a memory limit of 16 MB on a job that reads at random in a mapped file of 32 MB",
		Job: step + "--mmap LAB/mapped --map-pages 200", Groups: []string{"memory"}, Inject: memory(16),
		Kinds: []string{"memory_reclaim", "page_fault"}, Needs: []func() string{realDisk},
	},
	{
		Name: "memory/major-faults", Text: "the pages of a mapped file are no longer in memory",
		Job: step + "--mmap LAB/mapped --map-pages 200", Inject: control("drop=1", "drop=0"),
		Kinds: []string{"page_fault"}, Needs: []func() string{realDisk},
	},
	{
		Name: "memory/oom", Text: "the job grows by 4 MB a step until its memory group kills it",
		Job: step, Groups: []string{"memory"}, Inject: all(memory(400), control("grow_bytes=4194304", "grow_bytes=0")),
		Kinds: []string{"oom_kill"}, Allow: []string{"memory_reclaim", "page_fault"}, Ends: true, After: time.Second, NoLoss: true,
	},
}

var diskCases = []Case{
	{
		Name: "disk/slow-direct", Text: "a disk of 100 MB/s for a job that reads 2 MB a step past the page cache",
		Job: step + "--read LAB/batches --read-bytes 2097152 --direct", Groups: []string{"blkio"}, Inject: throttled("read", 100),
		Kinds: []string{"block_io"}, Needs: []func() string{realDisk}, CI: true,
	},
	{
		Name: "disk/slow-buffered", Text: "the same through the page cache",
		Job: step + "--read LAB/batches --read-bytes 2097152", Groups: []string{"blkio"}, Inject: throttled("read", 100),
		Kinds: []string{"block_io"}, Needs: []func() string{realDisk},
	},
	{
		Name: "disk/rival", Text: "another process reads from the same disk as fast as it can",
		Job: step + "--read LAB/batches --read-bytes 2097152 --direct", Inject: beside("diskhog", "", "hogged"),
		Kinds: []string{"block_io"}, Culprit: "diskhog", Needs: []func() string{realDisk},
	},
	{
		Name: "disk/checkpoint", Text: "checkpoints of 4 MB, each 50 steps, to a disk of 10 MB/s",
		Job: step + "--write DIR/write --write-bytes 4194304 --write-every 50", Groups: []string{"blkio"}, Inject: throttled("write", 10),
		Kinds: []string{"block_io"}, Needs: []func() string{realDisk},
	},
	{
		Name: "disk/loader", Text: "data loaders that read 1 MB a batch from a disk of 100 MB/s",
		Job: step + "--loaders 2 --loader-file LAB/batches --loader-bytes 1048576 --direct", Groups: []string{"blkio"},
		Inject: throttled("read", 100), Kinds: []string{"block_io"}, Needs: []func() string{realDisk},
	},
}

var waitCases = []Case{
	{
		Name: "wait/lock", Text: "another thread holds a lock that each step needs, 20 ms at a time",
		Job: step + "--lock", Inject: control("lock_us=20000", "lock_us=0"), Kinds: []string{"lock_wait"}, Culprit: "self",
	},
	{
		Name: "wait/loader-lock", Text: "three data loaders take turns with a lock held for 10 ms",
		Job: step + "--loaders 3", Inject: control("loader_lock_us=10000", "loader_lock_us=0"), Kinds: []string{"lock_wait"},
	},
	{
		Name: "wait/slow-peer", Text: "a peer on the network takes 10 ms to answer",
		Job: step, Before: withPeer(64), Inject: slowPeer(10 * time.Millisecond), Kinds: []string{"network_wait"}, Culprit: "peer",
	},
	{
		Name: "wait/packet-loss", Text: "2 % of the packets to the peer are lost",
		Job: step, Before: withPeer(4096), Inject: lossy(2), Kinds: []string{"tcp_retransmit", "network_wait"},
		Needs: []func() string{needUnified},
	},
	{
		Name: "wait/stopped", Text: "the job is stopped by SIGSTOP",
		Job: step, Inject: stopped(sigStop, sigCont), Kinds: []string{"process_hang"},
	},
	{
		Name: "wait/frozen", Text: "the job's freezer group is frozen",
		Job: step, Groups: []string{"freezer"}, Inject: frozen, Kinds: []string{"process_hang"},
	},
	{
		Name: "wait/hang", Text: "the device stands still: the job hangs in a wait",
		Job: step, Inject: stuck, Kinds: []string{"process_hang"}, CI: true,
	},
}
