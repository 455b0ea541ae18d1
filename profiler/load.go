// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"leakprof/bpf"
	"leakprof/profiler/bird"
)

// loading is programs that the kernel is given while the probes are planned, which
// takes as long and needs none of it.
type loading struct {
	done     chan struct{}
	programs *bpf.Programs
	err      error
}

// load begins to load the programs.
func (p *Profiler) load(o Options) *loading {
	config := bpf.Config{
		PID: o.PID, MaxMemory: o.MaxMemory, MaxStacks: o.MaxStacks, LinpoolObjects: o.Plan.LinpoolObjects,
		Areas: p.unwinder.areas(), Attach: o.Attach,
	}
	if config.MaxMemory == 0 {
		config.MaxMemory = DefaultMaxMemory()
	}
	if only := o.Plan.Only; only != nil {
		config.Blocks, config.Objects = only.Blocks, only.Objects
	}
	if p.BIRD != nil {
		config.MblockHeader = p.BIRD.MblockHeader
		config.Slabs, config.Mslabs, config.Islabs = slabLayout(p.BIRD.Slab()), slabLayout(p.BIRD.Mslab()), slabLayout(p.BIRD.Islab())
	}
	l := &loading{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.programs, l.err = bpf.Load(config)
	}()
	return l
}

// take waits for the programs, which are the caller's from then on.
func (l *loading) take() (p *bpf.Programs, err error) {
	<-l.done
	p, l.programs = l.programs, nil
	return p, l.err
}

// drop closes the programs if nobody has taken them.
func (l *loading) drop() {
	if p, _ := l.take(); p != nil {
		p.Close()
	}
}

func slabLayout(l bird.ObjectLayout) bpf.SlabLayout {
	return bpf.SlabLayout{Class: l.Class, ClassAt: l.ClassAt, SizeAt: l.SizeAt, FirstAt: l.FirstAt, FirstBytes: l.FirstBytes}
}
