package query

import "context"

// CapabilitiesAnswer is what is measured, and what is not.
type CapabilitiesAnswer struct {
	Capabilities []Capability `json:"capabilities" rows:""`
}

// Capability is one thing that an engineer may want to know.
type Capability struct {
	Group     string `json:"group"`
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Question  string `json:"question,omitempty"` // that answers it
	Tool      string `json:"tool,omitempty"`     // that measures it instead
	Note      string `json:"note,omitempty"`
}

// capabilities is the table. What needs the driver's own tool is available
// once it was there.
var capabilities = []Capability{
	{Group: "CUDA", Name: "runtime and driver calls: counts, durations, bytes, errors", Available: true, Question: "ops"},
	{Group: "CUDA", Name: "call stacks with Python lines", Available: true, Question: "stacks"},
	{Group: "CUDA", Name: "graphs: capture, instantiation, launches", Available: true, Question: "graph-metrics"},
	{Group: "CUDA", Name: "collectives: calls of NCCL on the host", Available: true, Question: "ops"},
	{Group: "host", Name: "time ledger: running, waiting for a CPU, blocked and on what", Available: true, Question: "ledger"},
	{Group: "host", Name: "thieves of CPU time, rivals on disks, wakers", Available: true, Question: "thieves"},
	{Group: "host", Name: "block I/O, page faults, reclaim, sockets, TCP retransmits", Available: true, Question: "ops"},
	{Group: "host", Name: "CPU, memory, swap, load, pressure", Available: true, Question: "snapshots"},
	{Group: gpuGroup, Name: "utilization, memory, clocks, power, temperature, throttle reasons", Question: "snapshots", Tool: "nvidia-smi", Note: "the agent asks nvidia-smi where there is one"},
	{Group: gpuGroup, Name: "duration of each kernel on the device", Tool: "Nsight Systems", Note: "the agent sees launches and waits, not the device"},
	{Group: gpuGroup, Name: "SM occupancy and activity of tensor cores", Tool: "DCGM (dcgm-exporter)"},
	{Group: gpuGroup, Name: "memory bandwidth of the device", Tool: "DCGM (dcgm-exporter)"},
	{Group: gpuGroup, Name: "NVLink and PCIe traffic", Tool: "DCGM (dcgm-exporter)"},
	{Group: gpuGroup, Name: "ECC and XID errors", Tool: "DCGM (dcgm-exporter), dmesg"},
	{Group: gpuGroup, Name: "instructions, stalls and roofline of a kernel", Tool: "Nsight Compute"},
	{Group: "network", Name: "InfiniBand and RDMA counters", Tool: "perfquery, rdma statistic"},
	{Group: "framework", Name: "loss, accuracy, steps of the training itself", Tool: "TensorBoard, Weights & Biases"},
}

const gpuGroup = "GPU"

func askCapabilities(ctx context.Context, a *Asked, _ noParams) (*CapabilitiesAnswer, error) {
	m, err := askSnapshots(ctx, a, snapshotsParams{Points: 1})
	if err != nil {
		return nil, err
	}
	out := &CapabilitiesAnswer{append([]Capability{}, capabilities...)}
	for i := range out.Capabilities {
		if c := &out.Capabilities[i]; c.Group == gpuGroup && c.Question != "" && len(m.GPUs) > 0 {
			c.Available, c.Tool = true, ""
		}
	}
	return out, nil
}
