// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"leakprof/bpf"
)

// describeMachine says on what, and of what, figures are.
func describeMachine() string {
	processor := "unknown processor"
	virtual := ""
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(key) {
			case "model name":
				processor = strings.TrimSpace(value)
			case "flags":
				for _, f := range strings.Fields(value) {
					if f == "hypervisor" {
						virtual = ", virtual machine"
					}
				}
			}
		}
	}
	memory := "unknown"
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kB int64
		if _, err := fmt.Sscanf(string(data), "MemTotal: %d kB", &kB); err == nil {
			memory = fmt.Sprintf("%.1f GB", float64(kB)/(1<<20))
		}
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte("unknown")
	}
	return fmt.Sprintf("%s; %d x %s%s; %s of memory; Linux %s; %s; leakprof of commit %s; load at the begin %s\n",
		time.Now().UTC().Format("2006-01-02 15:04 MST"), runtime.NumCPU(), processor, virtual, memory,
		bpf.KernelRelease(), runtime.Version(), commit(), strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " "))
}

// commit is the one that is checked out.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude", "*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
