package event

// Collectives, as nccl.h declares them. A call returns when the work is
// queued, or for the last of a group when all of the group is; a communicator
// is made when all its ranks ask for it.
var ncclCalls = []Call{
	{ID: MakeOp(NCCL, 1), Lib: LIBNCCL, Name: "ncclAllReduce", Class: Collective, Async: true, Args: Args{Bytes: 3, Type: 4, Handle: 6}},
	{ID: MakeOp(NCCL, 2), Lib: LIBNCCL, Name: "ncclAllGather", Class: Collective, Async: true, Args: Args{Bytes: 3, Type: 4, Handle: 5}},
	{ID: MakeOp(NCCL, 3), Lib: LIBNCCL, Name: "ncclReduceScatter", Class: Collective, Async: true, Args: Args{Bytes: 3, Type: 4, Handle: 6}},
	{ID: MakeOp(NCCL, 4), Lib: LIBNCCL, Name: "ncclBroadcast", Class: Collective, Async: true, Args: Args{Bytes: 3, Type: 4, Handle: 6}},
	{ID: MakeOp(NCCL, 5), Lib: LIBNCCL, Name: "ncclBcast", Class: Collective, Async: true, Args: Args{Bytes: 2, Type: 3, Handle: 5}},
	{ID: MakeOp(NCCL, 6), Lib: LIBNCCL, Name: "ncclReduce", Class: Collective, Async: true, Args: Args{Bytes: 3, Type: 4}}, // the communicator is on the stack
	{ID: MakeOp(NCCL, 7), Lib: LIBNCCL, Name: "ncclSend", Class: Collective, Async: true, Args: Args{Bytes: 2, Type: 3, Handle: 5}},
	{ID: MakeOp(NCCL, 8), Lib: LIBNCCL, Name: "ncclRecv", Class: Collective, Async: true, Args: Args{Bytes: 2, Type: 3, Handle: 5}},
	{ID: MakeOp(NCCL, 9), Lib: LIBNCCL, Name: "ncclGroupStart", Class: Collective, Async: true},
	{ID: MakeOp(NCCL, 10), Lib: LIBNCCL, Name: "ncclGroupEnd", Class: Collective, Async: true},
	{ID: MakeOp(NCCL, 11), Lib: LIBNCCL, Name: "ncclCommInitRank", Class: Load, Args: Args{Out: 1}},
	{ID: MakeOp(NCCL, 12), Lib: LIBNCCL, Name: "ncclCommInitRankConfig", Class: Load, Args: Args{Out: 1}},
	{ID: MakeOp(NCCL, 13), Lib: LIBNCCL, Name: "ncclCommInitAll", Class: Load, Args: Args{Out: 1}},
}

// TypeShifts holds, two bits for each ncclDataType_t, log2 of its size: int8,
// uint8, int32, uint32, int64, uint64, half, float, double, bfloat16 and the
// two forms of fp8.
const TypeShifts = 0<<0 | 0<<2 | 2<<4 | 2<<6 | 3<<8 | 3<<10 | 1<<12 | 2<<14 | 3<<16 | 1<<18
