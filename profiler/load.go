// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"leakprof/bpf"
	"leakprof/profiler/bird"
	"leakprof/profiler/plan"
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
		Areas: p.unwinder.areas(), Attach: o.Attach, Without: p.without(o.Plan),
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

// without has the functions that no plan for this process will have a site of.
func (p *Profiler) without(o plan.Options) map[string]bool {
	all := make(map[string]bool)
	if p.BIRD == nil || o.Mode == plan.Pages {
		all["sl_alloc"] = true
	}
	// BIRD has these since 3.3.
	if p.BIRD == nil || o.Mode == plan.Pages || p.BIRD.Generation != bird.BIRD3 {
		all["msl_alloc"], all["msl_alloc_from_page"], all["isl_alloc"] = true, true, true
	}
	if p.BIRD == nil || !o.LinpoolObjects {
		all["lp_alloc"], all["lp_allocu"], all["lp_allocz"] = true, true, true
	}
	return all
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
