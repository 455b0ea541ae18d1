// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"fmt"
	"slices"
	"time"

	"leakprof/bpf"
)

// Dropped is a function that was not what it was taken for, so that its probes
// were taken off.
type Dropped struct {
	Function string
	// Layer is what is not followed any more.
	Layer          string
	Passed, Failed uint64 // tests of what it was given or returned
}

// String says it in one line.
func (d Dropped) String() string {
	return fmt.Sprintf("%s is not what it was taken for (%d of %d tests failed): %s are not followed", d.Function, d.Failed, d.Passed+d.Failed, d.Layer)
}

const (
	layerPages   = "pages"
	layerObjects = "slab objects"
)

// layerOf says to which layer a tested function belongs.
var layerOf = map[string]string{
	"alloc_page": layerPages, "free_page": layerPages,
	"sl_alloc": layerObjects, "msl_alloc": layerObjects, "msl_alloc_from_page": layerObjects, "isl_alloc": layerObjects,
}

// verifyInterval is how often the tests are looked at: a wrong site does harm
// only to our own figures, and only until then.
const verifyInterval = 200 * time.Millisecond

// rareFailure is how many tests have to pass for each that fails, if the function
// is to be what it was taken for all the same: where events were lost, an object
// may be tested against the page that was there before.
const rareFailure = 1000

// isWrong says whether a function is not what it was taken for. A wrong one
// fails from its first hit on.
func isWrong(t bpf.Tests) bool { return t.Failed > 0 && t.Passed < rareFailure*t.Failed }

// verify takes the probes off functions whose tests fail. Objects are nothing
// without their pages.
func (p *Profiler) verify() error {
	tests, err := p.programs.Tests()
	if err != nil {
		return err
	}
	p.verifying.Lock()
	defer p.verifying.Unlock()
	for function, layer := range layerOf {
		t := tests[function]
		if !isWrong(t) || slices.ContainsFunc(p.dropped, func(d Dropped) bool { return d.Function == function }) {
			continue
		}
		p.dropped = append(p.dropped, Dropped{function, layer, t.Passed, t.Failed})
		off := []string{function}
		for f, l := range layerOf {
			if layer == layerPages || l == layer && f == function {
				off = append(off, f)
			}
		}
		if err := p.programs.Drop(off...); err != nil {
			return fmt.Errorf("take probes off %s: %w", function, err)
		}
	}
	return nil
}

// Dropped are the functions whose probes were taken off, because they were not
// what they were taken for.
func (p *Profiler) Dropped() []Dropped {
	p.verifying.Lock()
	defer p.verifying.Unlock()
	return slices.Clone(p.dropped)
}

// RareFailures are the tests that failed of functions that are what they were
// taken for, by function.
func (p *Profiler) RareFailures() (map[string]uint64, error) {
	if p.programs == nil {
		return nil, nil
	}
	tests, err := p.programs.Tests()
	if err != nil {
		return nil, err
	}
	rare := make(map[string]uint64)
	for function := range layerOf {
		if t := tests[function]; t.Failed > 0 && !isWrong(t) {
			rare[function] = t.Failed
		}
	}
	return rare, nil
}

// followsPages says whether the pages in the live set can be believed.
func (p *Profiler) followsPages() bool {
	return p.follows(bpf.FunctionAllocPage) && !slices.ContainsFunc(p.Dropped(), func(d Dropped) bool { return d.Layer == layerPages })
}

// objectFunctions are those that hand out the objects of a resource class.
var objectFunctions = map[string][]bpf.Function{
	"Slab":  {bpf.FunctionSLAlloc},
	"mslab": {bpf.FunctionMSLAlloc, bpf.FunctionMSLAllocFromPage},
	"Islab": {bpf.FunctionISLAlloc},
}

// ObjectClasses are the resource classes of which every allocation of an object
// is followed, or all of which count without a stack.
func (p *Profiler) ObjectClasses() map[string]bool {
	classes := make(map[string]bool)
	if p.Walks() {
		for class := range objectFunctions {
			classes[class] = true
		}
		return classes
	}
	if !p.followsPages() {
		return classes
	}
	dropped := p.Dropped()
	for class, functions := range objectFunctions {
		for _, f := range functions {
			off := slices.ContainsFunc(dropped, func(d Dropped) bool { return d.Function == f.String() })
			classes[class] = classes[class] || p.follows(f) && !off
		}
	}
	return classes
}

// FollowsLinpoolObjects says whether the allocations from linpools are followed.
func (p *Profiler) FollowsLinpoolObjects() bool { return p.follows(bpf.FunctionLPAlloc) }
