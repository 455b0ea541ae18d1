// SPDX-License-Identifier: Apache-2.0

package probecost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/profiler/plan"
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

// isFor says whether the table is for the machine that another one is for.
func (t *Table) isFor(o *Table) bool { return t.Kernel == o.Kernel && t.CPU == o.CPU }

// Plan is the table as package plan uses it, for the kind of probes that is
// placed: by uprobe_multi, or by perf events. nil if they were not measured.
func (t *Table) Plan(multi bool) *plan.Costs {
	kind, returns := Perf, PerfReturn
	if multi {
		kind, returns = Multi, MultiReturn
	}
	entry, back := t.Costs[kind], t.Costs[returns]
	if len(entry) == 0 {
		return nil
	}
	c := &plan.Costs{Hit: make(map[prologue.Form]time.Duration)}
	for form, ns := range entry {
		c.Hit[form] = time.Duration(ns)
	}
	// Where rsp is as at the entry the kind of instruction makes no difference.
	c.Return = max(time.Duration(back[prologue.Jcc8]-entry[prologue.Jcc8]), 0)
	return c
}

// ErrNotMeasured says that there are no costs for this machine.
var ErrNotMeasured = errors.New("what probes cost here was not measured; run leakprof doctor --probe-cost")

// ErrNoPlace says that the user has no directory to keep a table in.
var ErrNoPlace = errors.New("no place for probe costs")

// mostBytes is far more than a table takes.
const mostBytes = 1 << 16

// Load reads the table that was kept for this machine: for its kernel and its
// CPU. The error wraps ErrNotMeasured if there is none.
func Load() (*Table, error) {
	path, err := cachePath()
	if err != nil {
		return nil, err
	}
	return loadFile(path)
}

func loadFile(path string) (*Table, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotMeasured
	}
	if err != nil {
		return nil, fmt.Errorf("read probe costs: %w", err)
	}
	defer f.Close()
	var t Table
	if err := json.NewDecoder(io.LimitReader(f, mostBytes)).Decode(&t); err != nil {
		return nil, fmt.Errorf("read probe costs: %s: %w", path, err)
	}
	here, err := newTable()
	if err != nil {
		return nil, err
	}
	if !t.isFor(here) {
		return nil, ErrNotMeasured
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("read probe costs: %s: %w", path, err)
	}
	return &t, nil
}

// check refuses what cannot have been measured.
func (t *Table) check() error {
	const most = 1e9 // a second
	for kind, costs := range t.Costs {
		for form, ns := range costs {
			if !(ns >= 0 && ns < most) {
				return fmt.Errorf("a hit of %s on %s takes %g ns", kind, form, ns)
			}
		}
	}
	return nil
}

// Save keeps the table for Load.
func (t *Table) Save() error {
	path, err := cachePath()
	if err != nil {
		return err
	}
	return t.saveFile(path)
}

func (t *Table) saveFile(path string) error {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("keep probe costs: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keep probe costs: %w", err)
	}
	// Whoever reads meanwhile has the old file or the new one.
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("keep probe costs: %w", err)
	}
	defer os.Remove(f.Name()) // gone already if all went well
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("keep probe costs: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("keep probe costs: %w", err)
	}
	return nil
}

// cachePath is where the table is kept: in the user's directory for what can be
// made again (XDG Base Directory Specification).
func cachePath() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoPlace, err)
	}
	return filepath.Join(dir, "leakprof", "probe-cost.json"), nil
}
