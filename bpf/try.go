// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"leakprof/profiler/plan"
	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/scratch"
)

// trial is a site that is tried on a copy of its function.
type trial struct {
	site plan.Site
	code []byte // of the copy
	at   scratch.Function
	err  error // why the site is not to be used, nil if nothing speaks against it
}

// tryCalls is how often each copy is called.
const tryCalls = 3

// mostTrials is how many sites a cookie can tell apart.
const mostTrials = 256

// Try tries sites before they are armed in a process: in a program of our own it
// runs a copy of the beginning of each function whose probe is not on its entry,
// with that probe, and looks whether the probe is passed once a call, sees the
// arguments that the function was called with, and leaves the function's caller
// its registers. refused has an entry for each site, nil for one that passed. err is why nothing could be tried.
func Try(sites []plan.Site, mode AttachMode) (refused []error, err error) {
	refused = make([]error, len(sites))
	trials := make([]trial, 0, len(sites))
	var of []int // the site of each trial
	for i, s := range sites {
		// In a copy within another function nothing but flags may have changed.
		if s.Offset == 0 || s.Into != "" && !s.Return {
			continue
		}
		trials, of = append(trials, trial{site: s}), append(of, i)
	}
	if len(trials) == 0 {
		return refused, nil
	}
	if len(trials) > mostTrials {
		return nil, fmt.Errorf("try %d sites: at most %d", len(trials), mostTrials)
	}
	if err := try(trials, mode); err != nil {
		return nil, fmt.Errorf("try sites: %w", err)
	}
	for n, t := range trials {
		if t.err != nil {
			refused[of[n]] = fmt.Errorf("%s+%d: %w", t.site.Function, t.site.Offset, t.err)
		}
	}
	return refused, nil
}

// try runs the trials in a program of their own. One that crashes it is refused,
// and the rest are run in another one.
func try(trials []trial, mode AttachMode) error {
	if len(trials) == 0 {
		return nil
	}
	builder, err := scratch.NewBuilder()
	if err != nil {
		return err
	}
	for i := range trials {
		if err := trials[i].build(builder); err != nil {
			return err
		}
	}
	process, err := builder.Start()
	if err != nil {
		return err
	}
	a, err := arm(process, trials, mode)
	if err != nil {
		process.Close()
		return err
	}
	// The kernel takes its time to remove probes, which nobody has to wait for.
	defer func() {
		process.Close()
		go a.Close()
	}()
	for i := range trials {
		t := &trials[i]
		if t.err != nil {
			continue
		}
		result, err := process.Call(t.at, tryCalls, tryArguments())
		if err != nil {
			t.err = err
			return try(trials[i+1:], mode)
		}
		var seen trySeen
		if err := a.objects.Trials.Lookup(uint32(i), &seen); err != nil {
			return fmt.Errorf("read trial %d: %w", i, err)
		}
		t.err = judge(t.site, seen, result.Broken, builder.ReturnAddress())
	}
	return nil
}

// build makes the copy of a trial's function. Where none can be made the trial
// has failed.
func (t *trial) build(b *scratch.Builder) error {
	code, err := t.site.Code()
	if err != nil {
		return err
	}
	place, ok := prologue.At(code, t.site.Offset)
	if !ok {
		t.err = errors.New("no instruction begins there")
		return nil
	}
	next := b.Next()
	if t.code, t.err = prologue.Copy(code, place, next.Address, scratch.Data); t.err != nil {
		return nil
	}
	t.at, err = b.Add(t.code)
	return err
}

// tryArguments are addresses in the data of the program, each another one and
// none of 32 bits.
func tryArguments() (args [6]uint64) {
	const apart = 0x1000
	for i := range args {
		args[i] = scratch.Data + uint64(i+1)*apart
	}
	return args
}

// judge says what speaks against a site.
func judge(s plan.Site, seen trySeen, broken, returnAddress uint64) error {
	if seen.Entered != tryCalls {
		return fmt.Errorf("%d of %d calls were seen", seen.Entered, tryCalls)
	}
	if s.Return && seen.Returned != tryCalls {
		return fmt.Errorf("%d of %d returns were seen", seen.Returned, tryCalls)
	}
	if broken > 0 {
		return errors.New("the caller's registers were not preserved")
	}
	if seen.Unreadable > 0 || seen.Top != returnAddress {
		return fmt.Errorf("rsp was not %d bytes higher at the entry", s.Depth)
	}
	for i, a := range s.Arguments {
		want, got := tryArguments()[a.Number], seen.Argument[i]
		if a.Bits == 32 {
			want, got = uint64(uint32(want)), uint64(uint32(got))
		}
		if got != want {
			return fmt.Errorf("argument %d was seen as 0x%x, not 0x%x", a.Number+1, got, want)
		}
	}
	return nil
}

// armed are probes on a scratch program.
type armed struct {
	objects tryObjects
	links   []link.Link
}

func arm(process *scratch.Process, trials []trial, mode AttachMode) (_ *armed, err error) {
	spec, err := loadTry()
	if err != nil {
		return nil, fmt.Errorf("read BPF object: %w", err)
	}
	multi := PlacesMulti(mode)
	if !multi {
		for _, p := range spec.Programs {
			p.AttachType = ebpf.AttachNone
		}
	}
	a := &armed{}
	if err := spec.LoadAndAssign(&a.objects, nil); err != nil {
		return nil, fmt.Errorf("load BPF programs that try sites: %w", explain(err, false))
	}
	entries := &group{path: process.Path(), program: a.objects.SeeEntry}
	returns := &group{path: process.Path(), program: a.objects.SeeReturn, ret: true}
	for i, t := range trials {
		if t.err != nil {
			continue
		}
		cookie, err := tryCookie(i, t.site)
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
		at := t.at.Offset + t.site.Offset
		entries.offsets, entries.cookies = append(entries.offsets, at), append(entries.cookies, cookie)
		if t.site.Return {
			returns.offsets, returns.cookies = append(returns.offsets, at), append(returns.cookies, cookie)
		}
	}
	for _, g := range []*group{entries, returns} {
		if len(g.offsets) == 0 {
			continue
		}
		links, err := placeGroup(process.PID(), g, multi)
		a.links = append(a.links, links...)
		if err != nil {
			return nil, errors.Join(explain(err, !multi), a.Close())
		}
	}
	return a, nil
}

// tryCookie is entryCookie for a trial, in which each argument is given.
func tryCookie(trial int, s plan.Site) (uint64, error) {
	cookie, err := entryCookie(Function(trial), s)
	if err != nil {
		return 0, err
	}
	for i, a := range s.Arguments {
		place, err := argumentPlace(a.Value)
		if err != nil {
			return 0, err
		}
		cookie |= place << argumentShift(i)
	}
	return cookie, nil
}

// Close takes the probes off.
func (a *armed) Close() error { return errors.Join(closeAll(a.links), a.objects.Close()) }
