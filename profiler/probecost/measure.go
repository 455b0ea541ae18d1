// SPDX-License-Identifier: Apache-2.0

// Package probecost measures what a probe costs by the instruction it is on,
// with the running kernel: which instructions are emulated, and what the others
// take. It probes functions of a scratch program, and keeps what it finds for
// package plan.
package probecost

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/scratch"
)

// Kind is a way to place a probe.
type Kind string

// The kinds that are measured.
const (
	Multi       Kind = "uprobe_multi"
	MultiReturn Kind = "uprobe_multi and return"
	Perf        Kind = "perf event"
	PerfReturn  Kind = "perf event and return"
)

// Kinds are all of them.
var Kinds = []Kind{Multi, MultiReturn, Perf, PerfReturn}

// How often functions are called. The least of many rounds is what it costs
// where nothing comes between.
const (
	callsPerRound = 40
	rounds        = 25
)

// Measure takes a few seconds. Kinds that the kernel does not have are left out.
// It needs the rights that attach needs.
func Measure(ctx context.Context) (*Table, error) {
	m, err := newMeasurement()
	if err != nil {
		return nil, err
	}
	defer m.close()
	table, err := newTable()
	if err != nil {
		return nil, err
	}
	none, err := m.time(ctx)
	if err != nil {
		return nil, err
	}
	for _, kind := range Kinds {
		links, err := m.place(kind)
		if errors.Is(err, ebpf.ErrNotSupported) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("measure probes by %s: %w", kind, err)
		}
		took, err := m.time(ctx)
		if err := errors.Join(err, closeAll(links)); err != nil {
			return nil, fmt.Errorf("measure probes by %s: %w", kind, err)
		}
		costs := make(map[prologue.Form]float64)
		for i, s := range samples {
			costs[s.form] = max(took[i]-none[i], 0)
		}
		table.Costs[kind] = costs
	}
	if len(table.Costs) == 0 {
		return nil, errors.New("measure probes: the kernel has none")
	}
	return table, nil
}

// measurement is a scratch program with all samples.
type measurement struct {
	functions []scratch.Function
	process   *scratch.Process
	multi     *ebpf.Program // nil where the kernel has no uprobe_multi
	perf      *ebpf.Program
}

func newMeasurement() (_ *measurement, err error) {
	m := &measurement{}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	b, err := scratch.NewBuilder()
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		f, err := b.Add(s.code)
		if err != nil {
			return nil, err
		}
		m.functions = append(m.functions, f)
	}
	if m.perf, err = empty(ebpf.AttachNone); err != nil {
		return nil, err
	}
	// Where there is no uprobe_multi, this is refused.
	m.multi, _ = empty(ebpf.AttachTraceUprobeMulti)
	m.process, err = b.Start()
	return m, err
}

// empty is a program that does nothing.
func empty(as ebpf.AttachType) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "nothing", Type: ebpf.Kprobe, AttachType: as, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load empty BPF program: %w", err)
	}
	return p, nil
}

// place probes all samples in one way.
func (m *measurement) place(kind Kind) (links []link.Link, err error) {
	ex, err := link.OpenExecutable(m.process.Path())
	if err != nil {
		return nil, err
	}
	var offsets []uint64
	for i, f := range m.functions {
		offsets = append(offsets, f.Offset+samples[i].at)
	}
	pid := m.process.PID()
	switch kind {
	case Multi, MultiReturn:
		if m.multi == nil {
			return nil, ebpf.ErrNotSupported
		}
		o := &link.UprobeMultiOptions{Addresses: offsets, PID: uint32(pid)}
		l, err := ex.UprobeMulti(nil, m.multi, o)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
		if kind == MultiReturn {
			l, err := ex.UretprobeMulti(nil, m.multi, o)
			if err != nil {
				return nil, errors.Join(err, closeAll(links))
			}
			links = append(links, l)
		}
	case Perf, PerfReturn:
		for _, at := range offsets {
			o := &link.UprobeOptions{Address: at, PID: pid}
			l, err := ex.Uprobe("", m.perf, o)
			if err != nil {
				return nil, errors.Join(err, closeAll(links))
			}
			links = append(links, l)
			if kind == PerfReturn {
				l, err := ex.Uretprobe("", m.perf, o)
				if err != nil {
					return nil, errors.Join(err, closeAll(links))
				}
				links = append(links, l)
			}
		}
	}
	return links, nil
}

// time returns what a call of each sample takes, nanoseconds of CPU time.
func (m *measurement) time(ctx context.Context) ([]float64, error) {
	least := make([]float64, len(samples))
	for round := range rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i, f := range m.functions {
			r, err := m.process.Call(f, callsPerRound, [6]uint64{scratch.Data})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", samples[i].form, err)
			}
			if r.Broken > 0 {
				return nil, fmt.Errorf("%s: a probe on it changed the caller's registers", samples[i].form)
			}
			if took := float64(r.NS) / callsPerRound; round == 0 || took < least[i] {
				least[i] = took
			}
		}
	}
	return least, nil
}

func (m *measurement) close() {
	for _, p := range []*ebpf.Program{m.multi, m.perf} {
		if p != nil {
			p.Close()
		}
	}
	if m.process != nil {
		m.process.Close()
	}
}

// closeAll closes links, at once: the kernel waits for each perf event.
func closeAll[C io.Closer](links []C) error {
	errs := make(chan error, len(links))
	for _, l := range links {
		go func() { errs <- l.Close() }()
	}
	var all error
	for range links {
		all = errors.Join(all, <-errs)
	}
	return all
}
