package sysinfo

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{
		"proc/sys/kernel/osrelease": "5.15.0-144-generic\n",
		"etc/os-release":            "NAME=\"Ubuntu\"\nPRETTY_NAME=\"Ubuntu 22.04.4 LTS\"\n",
		"proc/cpuinfo":              "processor\t: 0\nmodel name\t: AMD EPYC 7763\n\nprocessor\t: 1\nmodel name\t: AMD EPYC 7763\n",
		"proc/meminfo":              meminfo,
		"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.126.09  Release Build  (dvs-builder@U22)\n" +
			"GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n",
		"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA GeForce RTX 3090 Ti\nIRQ:   \t\t 98\n",
		"proc/driver/nvidia/gpus/0000:02:00.0/information": "Model: \t\t NVIDIA A100-SXM4-80GB\n",
	})
	want := Machine{
		Kernel: "5.15.0-144-generic", OS: "Ubuntu 22.04.4 LTS", CPU: "AMD EPYC 7763", Cores: 2, Memory: 15625,
		Driver: Driver{"580.126.09", true}, GPUs: []GPU{{Model: "NVIDIA GeForce RTX 3090 Ti"}, {Model: "NVIDIA A100-SXM4-80GB"}},
	}
	if d := cmp.Diff(want, describe(root)); d != "" {
		t.Error(d)
	}
	if empty := describe(t.TempDir()); empty.Kernel == "" || empty.Driver.Version != "" || empty.GPUs != nil {
		t.Errorf("bare machine: %+v", empty)
	}
}

func TestParseDriver(t *testing.T) {
	for text, want := range map[string]Driver{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\nGCC version: gcc 10.2.1\n": {"470.256.02", false},
		"NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  550.54.14  Release Build\n":                                {"550.54.14", true},
		"": {},
	} {
		if got := parseDriver(text); got != want {
			t.Errorf("%q: got %+v", text, got)
		}
	}
	if m := (Driver{Version: "580.126.09"}).Major(); m != 580 {
		t.Errorf("major %d", m)
	}
}

func TestParseSMI(t *testing.T) {
	gpus, driver := parseSMI("NVIDIA GeForce RTX 3090 Ti, 24564, 580.126.09\nNVIDIA GB10, [N/A], 580.126.09\nFailed to initialize NVML\n")
	want := []GPU{{"NVIDIA GeForce RTX 3090 Ti", 24564}, {"NVIDIA GB10", 0}}
	if d := cmp.Diff(want, gpus); d != "" || driver != "580.126.09" {
		t.Errorf("driver %q %s", driver, d)
	}
	if s := gpus[0].String() + "; " + gpus[1].String(); s != "NVIDIA GeForce RTX 3090 Ti, 24564 MiB; NVIDIA GB10" {
		t.Error(s)
	}
}

// A driver that hangs must not hang us.
func TestSMIHangs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"nvidia-smi": "#!/bin/sh\nsleep 3\n"})
	if err := os.Chmod(dir+"/nvidia-smi", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if gpus, driver := askSMI(ctx); gpus != nil || driver != "" {
		t.Errorf("got %v %q", gpus, driver)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("took %v", d)
	}
}
