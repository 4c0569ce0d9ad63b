package event

// HostOps is the table of kernel events. Probes for those that are not yet
// produced by this agent are still listed: older recordings contain them.
var HostOps = []Info{
	{MakeOp(Host, 1), "sched_switch", Sched, "a thread left its CPU"},
	{MakeOp(Host, 2), "sched_wakeup", Sched, "a thread became runnable"},
	{MakeOp(Host, 3), "mm_page_alloc", Memory, "the kernel allocated pages; arg0 is bytes"},
	{MakeOp(Host, 4), "oom_kill", Memory, "the kernel killed a process for want of memory"},
	{MakeOp(Host, 5), "process_exec", Lifecycle, "a process started a new program"},
	{MakeOp(Host, 6), "process_exit", Lifecycle, "a process ended; ret_code is its wait status"},
	{MakeOp(Host, 7), "process_fork", Lifecycle, "a process was created; arg1 is its PID"},
	{MakeOp(Host, 8), "major_fault", Memory, "page faults that had to read from a disk"},
	{MakeOp(Host, 9), "direct_reclaim", Memory, "freed memory for the kernel before it got any"},
	{MakeOp(Host, 10), "pod_restart", Lifecycle, "a container of a pod restarted"},
	{MakeOp(Host, 11), "pod_eviction", Lifecycle, "a pod was evicted"},
	{MakeOp(Host, 12), "pod_oom_kill", Lifecycle, "a pod was killed for want of memory"},
	{MakeOp(Host, 13), "cpu_throttle", Sched, "held back by a CPU quota: periods, and the time of all its threads"},
	{MakeOp(Host, 14), "gap", Gap, "a long time between the calls of a thread"},
	{MakeOp(IO, 1), "block_read", Block, "a read from a block device"},
	{MakeOp(IO, 2), "block_write", Block, "a write to a block device"},
	{MakeOp(IO, 3), "block_discard", Block, "a discard on a block device"},
	{MakeOp(TCP, 1), "tcp_retransmit", Network, "a TCP segment was sent again"},
	{MakeOp(Net, 1), "net_send", Network, "a socket send"},
	{MakeOp(Net, 2), "net_recv", Network, "a socket receive"},
}
