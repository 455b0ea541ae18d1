// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"leakprof/profiler/plan"
)

// Empty is a program that does nothing, wherever Programs.Attach places ours: what
// a process takes longer with it is what the kernel asks for the hits alone. Close
// removes it.
type Empty struct {
	program *ebpf.Program
	links   []link.Link
}

// PlaceEmpty places the empty program at the sites of a plan in a process, on the
// entries and returns at which Attach has programs, in as many links.
func PlaceEmpty(pid int, sites []plan.Site, mode AttachMode) (_ *Empty, err error) {
	multi := PlacesMulti(mode)
	as := ebpf.AttachNone
	if multi {
		as = ebpf.AttachTraceUprobeMulti
	}
	e := &Empty{}
	e.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "nothing", Type: ebpf.Kprobe, AttachType: as, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load empty BPF program: %w", explain(err, false))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	groups, err := e.groups(sites)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		links, err := placeGroup(pid, g, multi)
		e.links = append(e.links, links...)
		if err != nil {
			return nil, fmt.Errorf("attach empty probes: %w", explain(err, !multi))
		}
	}
	return e, nil
}

func (e *Empty) groups(sites []plan.Site) (all []*group, err error) {
	// addTo tells groups by their program, which is the same in all of these.
	var entries, returns []*group
	for _, s := range sites {
		st, known := steps[s.Function]
		if !known {
			return nil, fmt.Errorf("attach to %s: no program for it", s.Function)
		}
		path, err := s.Module.AttachPath()
		if err != nil {
			return nil, err
		}
		offset, err := s.Module.FileOffset(s.Address + s.Offset)
		if err != nil {
			return nil, err
		}
		if st.enter != nil {
			addTo(&entries, group{path: path, function: s.Function, program: e.program}, offset, 0)
		}
		if s.Return {
			addTo(&returns, group{path: path, function: s.Function, program: e.program, ret: true}, offset, 0)
		}
	}
	return append(returns, entries...), nil
}

// Close removes the probes and the program.
func (e *Empty) Close() error {
	err := closeAll(e.links)
	e.links = nil
	return errors.Join(err, e.program.Close())
}

// Runs is how often it ran while MeasureRuntime had that measured.
func (e *Empty) Runs() (uint64, error) {
	stats, err := e.program.Stats()
	if err != nil {
		return 0, fmt.Errorf("read runs of empty BPF program: %w", err)
	}
	return stats.RunCount, nil
}
