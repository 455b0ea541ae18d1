// SPDX-License-Identifier: Apache-2.0

// Package profiler follows the memory of one running process: it plans the
// probes, attaches them, and takes snapshots of what is live.
package profiler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/bird"
	"leakprof/profiler/live"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
	"leakprof/profiler/walk"
)

// Options say what to follow and how.
type Options struct {
	PID int
	// MaxMemory bounds the kernel memory of the live set and what belongs to
	// it, in bytes; 0 takes DefaultMaxMemory.
	MaxMemory uint64
	// MaxStacks is how many distinct stacks are kept, 0 for bpf.Config's
	// default; blocks of further ones have no stack, which is counted.
	MaxStacks uint32
	Attach    bpf.AttachMode
	// Plan says which layers to follow.
	Plan plan.Options
	// Partial follows what can be followed where the plan is incomplete,
	// instead of refusing.
	Partial bool
	// FromStart says that the process has allocated nothing yet.
	FromStart bool
	// AnyProgram also follows a process that is no BIRD. Its blocks are not
	// told apart then.
	AnyProgram bool
	// Placed, if set, is called when the probes are in place, while what was there
	// before is yet to be taken in, which of a busy BIRD takes seconds. Close calls
	// what it returns before it does anything else.
	Placed func(*Profiler) (stop func(), err error)

	walks int // how often attaching reads the tree at most; 0 is adoptWalks
}

// Profiler is attached to a process. It changes nothing there but the
// breakpoints of its probes, which the kernel removes when it ends; with
// plan.Walk there are none, nor programs.
type Profiler struct {
	Process *target.Process
	Plan    *plan.Plan
	// BIRD is what is known of the process as a BIRD, nil if it is none.
	BIRD *bird.Bird
	// Before is what was there when the probes came.
	Before Before

	programs *bpf.Programs // nil where nothing is probed
	walker   *walk.Walker  // nil where what is live is told by probes
	unwinder *unwinder
	pageSize uint64
	stop     chan struct{}
	done     sync.WaitGroup
	unplaced func()  // nil if nobody has to know
	options  Options // of Attach, with plan.Auto for Follow

	retreats []retreat

	looking sync.Mutex // one at a time
	sources sources

	verifying sync.Mutex
	dropped   []Dropped
	trouble   error

	refreshing  sync.Mutex // held while unwinder's areas go to programs
	undelivered bool       // areas that the kernel has not taken yet
}

// Attach probes the process. Until it returns, events may be lost without a
// trace; from then on each is counted.
func Attach(ctx context.Context, o Options) (*Profiler, error) {
	process, err := target.Open(o.PID)
	if err != nil {
		return nil, err
	}
	p := &Profiler{Process: process, unwinder: newUnwinder(process), pageSize: uint64(os.Getpagesize()), stop: make(chan struct{})}
	if err := p.attach(ctx, o); err != nil {
		err = process.Explain(err)
		p.Close()
		return nil, err
	}
	if p.programs != nil {
		p.done.Go(p.followLibraries)
	}
	return p, nil
}

func (p *Profiler) attach(ctx context.Context, o Options) error {
	if _, err := p.unwinder.refresh(); err != nil {
		return err
	}
	modules := p.unwinder.Modules()
	if len(modules) == 0 {
		return fmt.Errorf("attach to process %d: it has no ELF file mapped", o.PID)
	}
	var err error
	if p.BIRD, err = bird.Find(p.Process, modules[0]); err != nil && !(o.AnyProgram && errors.Is(err, bird.ErrNotBIRD)) {
		return err
	}
	var load *loading
	if !o.Plan.Mode.Walks() {
		load = p.load(o)
		defer load.drop()
	}
	if p.Plan, err = plan.New(p.Process, modules, o.Plan); err != nil {
		return err
	}
	if err := p.Plan.Refusal(); err != nil && !o.Partial && p.BIRD != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if load == nil {
		p.options = o
		return p.tryWalk()
	}
	return p.probe(ctx, o, load)
}

// probe places the probes of the plan, once the programs are loaded.
func (p *Profiler) probe(ctx context.Context, o Options, load *loading) (err error) {
	if p.retreats, err = prove(p.Process, p.Plan, o.Attach); err != nil {
		return err
	}
	if p.programs, err = load.take(); err != nil {
		return err
	}
	late := !o.FromStart && p.BIRD != nil
	if late {
		// What is freed while we look is to be remembered, so this begins first.
		if err := p.programs.Adopting(); err != nil {
			return err
		}
	}
	if err := p.programs.Attach(o.PID, p.Plan.Sites); err != nil {
		return err
	}
	// Now already: a BIRD that is being flooded fills a step while its tree is read.
	p.done.Go(p.followMemory)
	if o.Placed != nil {
		if p.unplaced, err = o.Placed(p); err != nil {
			return err
		}
	}
	if !late {
		return nil
	}
	return p.adopt(ctx, o.walks)
}

// followLibraries gives the unwinder the rows of libraries that the process
// maps later, such as the name service modules of libc.
func (p *Profiler) followLibraries() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			// A process that is just ending has no mappings: nothing to do.
			_ = p.refresh()
		}
	}
}

const (
	// growInterval is how often it is looked whether the live set has to grow, though
	// the programs do not say so.
	growInterval = 200 * time.Millisecond
	// memoryInterval is how often the machine's memory is looked at.
	memoryInterval = 500 * time.Millisecond
)

// followMemory lets the live set grow where that is needed, stops it where the
// machine has too little memory left, and watches the tests of the sites.
func (p *Profiler) followMemory() {
	isShort := false
	var memoryDue, verifyDue time.Time
	for {
		if !p.programs.AwaitMove(time.Now().Add(growInterval)) {
			return
		}
		now := time.Now()
		if !isShort {
			p.noteTrouble(p.programs.Grow())
		}
		if !now.Before(memoryDue) {
			memoryDue = now.Add(memoryInterval)
			short := shortOfMemory(machineMemory(), isShort) || shortOfMemory(groupMemory(), isShort)
			if short != isShort {
				isShort = short
				p.noteTrouble(p.programs.SetAccepting(!isShort))
			}
		}
		if !now.Before(verifyDue) {
			verifyDue = now.Add(verifyInterval)
			p.noteTrouble(p.verify())
		}
	}
}

// noteTrouble keeps the first thing that went wrong behind the scenes.
func (p *Profiler) noteTrouble(err error) {
	if err == nil {
		return
	}
	p.verifying.Lock()
	defer p.verifying.Unlock()
	if p.trouble == nil {
		p.trouble = err
	}
}

// Trouble is the first thing that went wrong while the process was followed,
// such as no memory for the live set to grow; nil if nothing did.
func (p *Profiler) Trouble() error {
	p.verifying.Lock()
	defer p.verifying.Unlock()
	return p.trouble
}

// refresh gives the programs the rows of what is mapped. When it returns they
// have them, whoever found the change.
func (p *Profiler) refresh() error {
	p.refreshing.Lock()
	defer p.refreshing.Unlock()
	changed, err := p.unwinder.refresh()
	if err != nil || !changed && !p.undelivered {
		return err
	}
	if p.programs == nil {
		return nil
	}
	// What the kernel has not taken is tried again the next time.
	err = p.programs.SetAreas(p.unwinder.areas())
	p.undelivered = err != nil
	return err
}

// Snapshot reads the live set while the process runs on.
func (p *Profiler) Snapshot() (*live.Snapshot, error) {
	if err := p.refresh(); err != nil && p.Process.Alive() {
		// Stacks through a new library are cut, and counted; the live set is
		// as good as before.
		p.unwinder.note(err)
	}
	if p.Walks() {
		return p.walk()
	}
	s, err := live.Read(p.programs)
	if err == nil && !p.followsPages() {
		s.Blocks = slices.DeleteFunc(s.Blocks, func(b live.Block) bool { return b.IsPage() })
	}
	return s, err
}

// Mark makes n the mark of everything allocated from now on, or bpf.MaxMark if
// that is less.
func (p *Profiler) Mark(n uint32) error {
	if p.programs == nil {
		return nil
	}
	return p.programs.SetMark(n)
}

// Probes says whether anything is probed. Without probes counters and hits are
// all 0.
func (p *Profiler) Probes() bool { return p.programs != nil }

// Counters reads the programs' counters.
func (p *Profiler) Counters() (bpf.Counters, error) {
	if p.programs == nil {
		return bpf.Counters{}, nil
	}
	return p.programs.Counters()
}

// Hits reads the hits of every probed function.
func (p *Profiler) Hits() (map[string]bpf.Hits, error) {
	if p.programs == nil {
		return nil, nil
	}
	return p.programs.Hits()
}

// Missed is how many hits the kernel did not hand to a program.
func (p *Profiler) Missed() (uint64, error) {
	if p.programs == nil {
		return 0, nil
	}
	return p.programs.Missed()
}

// Runtime is how long the programs at the probes ran while bpf.MeasureRuntime
// had that measured.
func (p *Profiler) Runtime() (bpf.Runtime, error) {
	if p.programs == nil {
		return bpf.Runtime{}, nil
	}
	return p.programs.Runtime()
}

// LeftOut is how many executable areas have no unwind rows in the kernel.
func (p *Profiler) LeftOut() int {
	p.refreshing.Lock()
	defer p.refreshing.Unlock()
	if p.programs == nil {
		return 0
	}
	return p.programs.LeftOut()
}

// Modules are the ELF files that the process has or had mapped executable,
// the program itself first.
func (p *Profiler) Modules() []*target.Module { return p.unwinder.Modules() }

// Unreadable says which of them have no unwind rows, and why: stacks through
// them are cut.
func (p *Profiler) Unreadable() []error { return p.unwinder.Unreadable() }

// Detach removes the probes; snapshots can still be taken.
func (p *Profiler) Detach() error {
	if p.programs == nil {
		return nil
	}
	p.verifying.Lock() // it takes probes off, too
	defer p.verifying.Unlock()
	return p.programs.Detach()
}

// TakeOff removes the probes of functions. What they told so far stays; Plan
// still has them, until Replan.
func (p *Profiler) TakeOff(functions ...string) error {
	if p.programs == nil {
		return nil
	}
	p.verifying.Lock()
	defer p.verifying.Unlock()
	return p.programs.Drop(functions...)
}

// Replan makes the plan that of cheaper options, whose probes are a part of those
// that there are, and takes off the others. It must not run beside what reads
// Plan.
func (p *Profiler) Replan(o plan.Options) error {
	cheaper, err := plan.New(p.Process, p.Modules(), o)
	if err != nil {
		return err
	}
	var off []string
	for _, s := range p.Plan.Sites {
		if !slices.ContainsFunc(cheaper.Sites, func(c plan.Site) bool { return c.Function == s.Function }) {
			off = append(off, s.Function)
		}
	}
	for _, r := range p.retreats {
		r.from(cheaper)
	}
	p.Plan = cheaper
	return p.TakeOff(off...)
}

// Close detaches and releases everything.
func (p *Profiler) Close() error {
	if p.unplaced != nil {
		p.unplaced()
	}
	close(p.stop)
	var errs []error
	if p.programs != nil {
		errs = append(errs, p.programs.StopWaiting()) // followMemory ends
	}
	p.done.Wait()
	if p.programs != nil {
		errs = append(errs, p.programs.Close())
	}
	errs = append(errs, p.unwinder.close(), p.Process.Close())
	return errors.Join(errs...)
}

// follows says whether the plan has a probe on a function.
func (p *Profiler) follows(f bpf.Function) bool {
	return slices.ContainsFunc(p.Plan.Sites, func(s plan.Site) bool { return s.Function == f.String() })
}
