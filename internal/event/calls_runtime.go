package event

var runtimeCalls = []Call{
	{ID: MakeOp(CUDA, 1), Name: "cudaMalloc", Class: Alloc, Args: Args{Bytes: 2, Out: 1}},
	{ID: MakeOp(CUDA, 2), Name: "cudaFree", Class: Free, Args: Args{Handle: 1}},
	// Code that nvcc 13 compiled launches through the second.
	{ID: MakeOp(CUDA, 3), Name: "cudaLaunchKernel", Symbols: []string{"cudaLaunchKernel", "__cudaLaunchKernel"}, Class: Launch, Async: true, Args: Args{Handle: 1}},
	{ID: MakeOp(CUDA, 4), Name: "cudaMemcpy", Class: Copy, Args: Args{Bytes: 3, Handle: 1, Kind: 4}},
	{ID: MakeOp(CUDA, 5), Name: "cudaStreamSync", Symbols: []string{"cudaStreamSynchronize"}, Class: Sync, Args: Args{Handle: 1}},
	{ID: MakeOp(CUDA, 6), Name: "cudaDeviceSync", Symbols: []string{"cudaDeviceSynchronize"}, Class: Sync},
	{ID: MakeOp(CUDA, 7), Name: "cudaMemcpyAsync", Class: Copy, Async: true, Args: Args{Bytes: 3, Handle: 5, Kind: 4}},
	{ID: MakeOp(CUDA, 8), Name: "cudaMallocManaged", Class: Alloc, Args: Args{Bytes: 2, Out: 1}},
	{ID: MakeOp(CUDA, 9), Name: "cudaLaunchKernelExC", Class: Launch, Async: true, Args: Args{Handle: 2}},
	{ID: MakeOp(CUDA, 10), Name: "cudaLaunchCooperativeKernel", Class: Launch, Async: true, Args: Args{Handle: 1}},
	{ID: MakeOp(CUDA, 11), Name: "cudaMallocHost", Class: Alloc, Args: Args{Bytes: 2, Out: 1}},
	{ID: MakeOp(CUDA, 12), Name: "cudaHostAlloc", Class: Alloc, Args: Args{Bytes: 2, Out: 1}},
	{ID: MakeOp(CUDA, 13), Name: "cudaMallocAsync", Class: Alloc, Args: Args{Bytes: 2, Out: 1}},
	{ID: MakeOp(CUDA, 14), Name: "cudaMallocFromPoolAsync", Class: Alloc, Args: Args{Bytes: 2, Out: 1}},
	{ID: MakeOp(CUDA, 15), Name: "cudaFreeAsync", Class: Free, Args: Args{Handle: 1}},
	{ID: MakeOp(CUDA, 16), Name: "cudaFreeHost", Class: Free, Args: Args{Handle: 1}},
	{ID: MakeOp(CUDA, 17), Name: "cudaMemcpy2D", Class: Copy, Args: Args{Bytes: 5, Mul: 6, Handle: 1, Dir: Unspecified}},
	{ID: MakeOp(CUDA, 18), Name: "cudaMemcpy2DAsync", Class: Copy, Async: true, Args: Args{Bytes: 5, Mul: 6, Handle: 1, Dir: Unspecified}},
	{ID: MakeOp(CUDA, 19), Name: "cudaMemset", Class: Copy, Args: Args{Bytes: 3, Handle: 1, Dir: Unspecified}},
	{ID: MakeOp(CUDA, 20), Name: "cudaMemsetAsync", Class: Copy, Async: true, Args: Args{Bytes: 3, Handle: 4, Dir: Unspecified}},
	{ID: MakeOp(CUDA, 21), Name: "cudaEventSync", Symbols: []string{"cudaEventSynchronize"}, Class: Sync, Args: Args{Handle: 1}},
	{ID: MakeOp(CUDA, 22), Name: "cudaSetDevice", Class: Device, Args: Args{Device: 1}},
}
