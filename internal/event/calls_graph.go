package event

// The runtime's graph calls keep the names older recordings use.
var graphCalls = []Call{
	{ID: MakeOp(Graph, 1), Name: "graphBeginCapture", Symbols: []string{"cudaStreamBeginCapture"}, Class: Capture, Begins: true, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 2), Name: "graphEndCapture", Symbols: []string{"cudaStreamEndCapture"}, Class: Capture, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 3), Name: "graphInstantiate", Symbols: []string{"cudaGraphInstantiate"}, Class: Prepare, Args: Args{Out: 1}},
	{ID: MakeOp(Graph, 4), Name: "graphLaunch", Symbols: []string{"cudaGraphLaunch"}, Class: Launch, Async: true, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 5), Name: "graphInstantiateWithFlags", Symbols: []string{"cudaGraphInstantiateWithFlags"}, Class: Prepare, Args: Args{Out: 1}},
	{ID: MakeOp(Graph, 6), Name: "graphInstantiateWithParams", Symbols: []string{"cudaGraphInstantiateWithParams"}, Class: Prepare, Args: Args{Out: 1}},
	{ID: MakeOp(Graph, 7), Name: "graphExecUpdate", Symbols: []string{"cudaGraphExecUpdate"}, Class: Prepare, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 8), Name: "graphExecDestroy", Symbols: []string{"cudaGraphExecDestroy"}, Class: Prepare, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 9), Lib: LIBCUDA, Name: "cuStreamBeginCapture", Symbols: []string{"cuStreamBeginCapture_v2"}, Class: Capture, Begins: true, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 10), Lib: LIBCUDA, Name: "cuStreamEndCapture", Class: Capture, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 11), Lib: LIBCUDA, Name: "cuGraphInstantiate", Symbols: []string{"cuGraphInstantiate_v2"}, Class: Prepare, Args: Args{Out: 1}},
	{ID: MakeOp(Graph, 12), Lib: LIBCUDA, Name: "cuGraphLaunch", Class: Launch, Async: true, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 13), Lib: LIBCUDA, Name: "cuGraphInstantiateWithFlags", Class: Prepare, Args: Args{Out: 1}},
	{ID: MakeOp(Graph, 14), Lib: LIBCUDA, Name: "cuGraphInstantiateWithParams", Class: Prepare, Args: Args{Out: 1}},
	{ID: MakeOp(Graph, 15), Lib: LIBCUDA, Name: "cuGraphExecUpdate", Symbols: []string{"cuGraphExecUpdate_v2", "cuGraphExecUpdate"}, Class: Prepare, Args: Args{Handle: 1}},
	{ID: MakeOp(Graph, 16), Lib: LIBCUDA, Name: "cuGraphExecDestroy", Class: Prepare, Args: Args{Handle: 1}},
}
