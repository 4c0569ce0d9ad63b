package sysinfo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what does not change while it runs.
type Machine struct {
	Kernel string // release, as 5.15.0-144-generic
	OS     string // as "Ubuntu 22.04.4 LTS"
	CPU    string // model
	Cores  int    // logical, online
	Memory int64  // MiB
	Driver Driver
	GPUs   []GPU
}

// Driver is NVIDIA's kernel driver; Version is empty when it is not loaded.
type Driver struct {
	Version string // as 580.126.09
	Open    bool   // the open kernel modules
}

// Major is the first number of the version, 0 when not known.
func (d Driver) Major() int {
	first, _, _ := strings.Cut(d.Version, ".")
	n, _ := strconv.Atoi(first) // 0 when not known
	return n
}

// GPU is one NVIDIA device.
type GPU struct {
	Model  string
	Memory int64 // MiB, 0 when not known
}

// smiLimit bounds nvidia-smi, which hangs on a broken driver.
const smiLimit = 2 * time.Second

// Describe returns the facts of this machine. What cannot be found out stays
// empty.
func Describe(ctx context.Context) Machine {
	m := describe("/")
	gpus, version := askSMI(ctx)
	if len(gpus) > 0 {
		m.GPUs = gpus
	}
	if m.Driver.Version == "" {
		m.Driver.Version = version // Windows' Linux has no /proc/driver/nvidia
	}
	return m
}

// describe reads the files below root.
func describe(root string) Machine {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return ""
		}
		return string(b)
	}
	m := Machine{
		Kernel: kernelRelease(read("proc/sys/kernel/osrelease")),
		OS:     osName(read("etc/os-release")),
		Driver: parseDriver(read("proc/driver/nvidia/version")),
	}
	m.CPU, m.Cores = parseCPUInfo(read("proc/cpuinfo"))
	if mem, err := readMeminfo(filepath.Join(root, "proc")); err == nil {
		m.Memory = mem["MemTotal"] >> 10
	}
	cards, _ := filepath.Glob(filepath.Join(root, "proc/driver/nvidia/gpus/*/information")) // a constant pattern
	for _, path := range cards {
		b, err := os.ReadFile(path)
		if model := field(string(b), "Model"); err == nil && model != "" {
			m.GPUs = append(m.GPUs, GPU{Model: model})
		}
	}
	return m
}

func kernelRelease(text string) string {
	if r := strings.TrimSpace(text); r != "" {
		return r
	}
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func osName(text string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return ""
}

func parseCPUInfo(text string) (model string, cores int) {
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(k) {
		case "processor":
			cores++
		case "model name":
			model = strings.TrimSpace(v)
		}
	}
	return model, cores
}

var driverVersion = regexp.MustCompile(`\b[0-9]{3,}\.[0-9]+(\.[0-9]+)?\b`)

// parseDriver reads the first line of /proc/driver/nvidia/version:
//
//	NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build …
//	NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 …
func parseDriver(text string) Driver {
	line, _, _ := strings.Cut(text, "\n")
	return Driver{Version: driverVersion.FindString(line), Open: strings.Contains(line, "Open Kernel Module")}
}

// field returns the value of a "Name:  value" line.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// askSMI asks nvidia-smi, if there is one, for what only the driver knows.
func askSMI(ctx context.Context) (gpus []GPU, driver string) {
	path := findSMI()
	if path == "" {
		return nil, ""
	}
	ctx, cancel := context.WithTimeout(ctx, smiLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
	cmd.WaitDelay = 100 * time.Millisecond // its children may hold the pipe
	out, err := cmd.Output()
	if err != nil {
		return nil, ""
	}
	return parseSMI(string(out))
}

func parseSMI(text string) (gpus []GPU, driver string) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ", ")
		if len(f) != 3 {
			continue
		}
		mem, _ := strconv.ParseInt(f[1], 10, 64) // "[N/A]" on machines with one memory
		gpus, driver = append(gpus, GPU{f[0], mem}), f[2]
	}
	return gpus, driver
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// String is the model and its memory, as nvidia-smi writes them.
func (g GPU) String() string {
	if g.Memory == 0 {
		return g.Model
	}
	return fmt.Sprintf("%s, %d MiB", g.Model, g.Memory)
}
