// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"os"
	"reflect"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"leakprof/bpf"
	"leakprof/profiler/target"
)

// tryLoad has the kernel check and compile the very programs that attach uses,
// for our own process; nothing is probed. multi says how attach would place its
// probes.
func tryLoad() (multi bool, err error) {
	p, err := bpf.Load(bpf.Config{PID: os.Getpid(), MaxMemory: 1})
	if err != nil {
		return false, err
	}
	multi = p.Multi()
	if err := p.Close(); err != nil {
		return multi, fmt.Errorf("unload BPF programs: %w", err)
	}
	return multi, nil
}

// probed is never called: tryProbe places a probe on it.
//
//go:noinline
func probed() int { return 1 }

// tryProbe places an empty probe on a function of our own that nobody calls, in
// the way that attach would, and takes it off again.
func tryProbe(multi bool) error {
	spec := &ebpf.ProgramSpec{
		Type: ebpf.Kprobe, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	}
	if multi {
		spec.AttachType = ebpf.AttachTraceUprobeMulti
	}
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		return fmt.Errorf("load an empty program: %w", err)
	}
	defer program.Close()
	path, offset, err := place(uint64(reflect.ValueOf(probed).Pointer()))
	if err != nil {
		return fmt.Errorf("probe our own process: %w", err)
	}
	executable, err := link.OpenExecutable(path)
	if err != nil {
		return fmt.Errorf("probe our own process: %w", err)
	}
	var l link.Link
	if multi {
		l, err = executable.UprobeMulti(nil, program, &link.UprobeMultiOptions{Addresses: []uint64{offset}, PID: uint32(os.Getpid())})
	} else {
		l, err = executable.Uprobe("", program, &link.UprobeOptions{Address: offset, PID: os.Getpid()})
	}
	if err != nil {
		return fmt.Errorf("probe our own process: %w", err)
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("take off the probe: %w", err)
	}
	return nil
}

// place is where a function of ours lies: a path of its file, and the offset
// there.
func place(address uint64) (path string, offset uint64, err error) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		return "", 0, err
	}
	defer self.Close()
	modules, err := self.Modules()
	if err != nil {
		return "", 0, err
	}
	for _, m := range modules {
		defer m.Close()
		if m.Contains(address) {
			offset, err = m.FileOffset(address - m.Bias)
		}
	}
	return "/proc/self/exe", offset, err
}

// tryRuntime has the kernel measure run times for an instant.
func tryRuntime() error {
	c, err := bpf.MeasureRuntime()
	if err != nil {
		return err
	}
	return c.Close()
}
