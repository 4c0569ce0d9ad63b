// Package demo knows the scenarios that are shown without a GPU: what a job
// did, second by second, and nothing of what is to be said about it.
package demo

import (
	"embed"
	"fmt"
	"slices"

	"ingero/internal/scenario"
)

//go:embed scenarios/*.txt
var files embed.FS

// Scenario is one that can be shown.
type Scenario struct {
	Name    string
	Aliases []string
	Title   string // what it shows
	Kind    string // cause.kind of the finding it is about, for tests; nothing is told from it
}

// Scenarios in the order in which they are shown.
var Scenarios = []Scenario{
	{"incident", nil, "The log rotation takes the cores of a training job", "cpu_contention"},
	{"cold-start", nil, "First CUDA calls take what later ones never do", "cold_start"},
	{"memcpy-bottleneck", nil, "The GPU is busy, with copies", "memcpy_bound"},
	{"periodic-spike", nil, "The allocator gives everything back, and takes it anew", "alloc_churn"},
	{"cpu-contention", nil, "A compiler runs where an inference server launches its kernels", "cpu_contention"},
	{"gpu-steal", []string{"gpu-contention", "contention"}, "A second job comes to the same device", "gpu_contention"},
}

// Find returns the scenario of a name or alias.
func Find(name string) (Scenario, bool) {
	i := slices.IndexFunc(Scenarios, func(s Scenario) bool { return s.Name == name || slices.Contains(s.Aliases, name) })
	if i < 0 {
		return Scenario{}, false
	}
	return Scenarios[i], true
}

// Read returns what the job did.
func (s Scenario) Read() (*scenario.Scenario, error) {
	b, err := files.ReadFile("scenarios/" + s.Name + ".txt")
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	x, err := scenario.Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("read scenario %s: %w", s.Name, err)
	}
	return x, nil
}
