package event

// HostOps is the table of kernel events: what it is, and which tracepoints it
// is counted by, if any. Those that this agent does not produce are still
// listed: older recordings contain them. See docs/adding.md.
var HostOps = []Info{
	{MakeOp(Host, 1), "sched_switch", Sched, "a thread of the process left its CPU", "sched_switch"},
	{MakeOp(Host, 2), "sched_wakeup", Sched, "a thread of the process that waited became runnable", "sched_waking"},
	{MakeOp(Host, 3), "mm_page_alloc", Memory, "the kernel allocated pages for the process; arg0 is bytes", "mm_page_alloc"},
	{MakeOp(Host, 4), "oom_kill", Memory, "the kernel killed the process for want of memory; arg1 is who wanted it", "mark_victim"},
	{MakeOp(Host, 5), "process_exec", Lifecycle, "a process started a new program", ""},
	{MakeOp(Host, 6), "process_exit", Lifecycle, "a process ended; ret_code is its wait status", ""},
	{MakeOp(Host, 7), "process_fork", Lifecycle, "a process was created; arg1 is its PID", ""},
	{MakeOp(Host, 8), "major_fault", Memory, "page faults that waited for a disk; the duration is the wait", "sched_switch sched_waking"},
	{MakeOp(Host, 9), "direct_reclaim", Memory, "freed memory for the kernel, or for its cgroup, before it got any", "mm_vmscan_direct_reclaim_begin mm_vmscan_direct_reclaim_end mm_vmscan_memcg_reclaim_begin? mm_vmscan_memcg_reclaim_end?"},
	{MakeOp(Host, 10), "pod_restart", Lifecycle, "a container of a pod restarted", ""},
	{MakeOp(Host, 11), "pod_eviction", Lifecycle, "a pod was evicted", ""},
	{MakeOp(Host, 12), "pod_oom_kill", Lifecycle, "a pod was killed for want of memory", ""},
	{MakeOp(Host, 13), "cpu_throttle", Sched, "held back by a CPU quota: periods, and the time of all its threads", ""},
	{MakeOp(Host, 14), "gap", Gap, "1 ms or more between the calls of a thread", ""},
	{MakeOp(Host, 15), "capturing", Capturing, "a place of the time ledger: a thread records a CUDA graph, from the call that begins it to the one that ends it", ""},
	{MakeOp(IO, 1), "block_read", Block, "a read from a block device; arg1 is the device, major << 20 | minor", "block_rq_issue block_rq_complete block_io_start? block_rq_insert?"},
	{MakeOp(IO, 2), "block_write", Block, "a write to a block device; arg1 is the device", "block_rq_issue block_rq_complete block_io_start? block_rq_insert?"},
	{MakeOp(IO, 3), "block_discard", Block, "a discard on a block device; arg1 is the device", "block_rq_issue block_rq_complete block_io_start? block_rq_insert?"},
	{MakeOp(TCP, 1), "tcp_retransmit", Network, "a TCP segment was sent again; arg1 is the peer, IPv4 address << 16 | port", "tcp_retransmit_skb sock_send_length sock_recv_length"},
	{MakeOp(Net, 1), "net_send", Network, "a socket send; the duration is what the thread waited on sockets since its last operation", "sock_send_length"},
	{MakeOp(Net, 2), "net_recv", Network, "a socket receive; the duration as for net_send", "sock_recv_length"},
	{MakeOp(Net, 3), "net_request", Network, "of the receives, those on connections that others opened: the process serves them", "sock_recv_length"},
}
