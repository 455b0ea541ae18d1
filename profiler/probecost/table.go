// SPDX-License-Identifier: Apache-2.0

package probecost

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"leakprof/profiler/plan/prologue"
)

// Table is what probes cost on a machine.
type Table struct {
	Kernel string `json:"kernel"` // uname -r and -v
	CPU    string `json:"cpu"`    // model name of /proc/cpuinfo
	// Costs are nanoseconds of the probed thread's CPU time a hit, with a program
	// that does nothing, by kind of probe and form of instruction.
	Costs map[Kind]map[prologue.Form]float64 `json:"hit_ns"`
}

// newTable is an empty table for this machine.
func newTable() (*Table, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("ask for the kernel's release: %w", err)
	}
	cpu, err := cpuModel()
	if err != nil {
		return nil, err
	}
	return &Table{
		Kernel: unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Version[:]),
		CPU:    cpu, Costs: make(map[Kind]map[prologue.Form]float64),
	}, nil
}

func cpuModel() (string, error) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("read CPU model: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value), nil
		}
	}
	return "", errors.New("read CPU model: /proc/cpuinfo has none")
}
