// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"leakprof/bpf"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/plan"
)

// Memory and ShortOfMemory are what decides whether the live set may grow.
type Memory = memory

var ShortOfMemory = shortOfMemory

// MemoryOf makes a Memory.
func MemoryOf(total, available uint64) Memory { return memory{total, available} }

// ProfilerOf returns a profiler with nothing but programs and their plan.
func ProfilerOf(programs *bpf.Programs, p *plan.Plan) *Profiler {
	return &Profiler{programs: programs, Plan: p}
}

// Verify looks at the tests of the sites once.
func (p *Profiler) Verify() error { return p.verify() }

// SetAccepting says whether blocks are taken in, as if memory were short or not.
func (p *Profiler) SetAccepting(yes bool) error { return p.programs.SetAccepting(yes) }

// WithWalks bounds how often attaching reads the tree.
func (o Options) WithWalks(n int) Options {
	o.walks = n
	return o
}

// AdoptBoth takes in what is in both of two trees.
func (p *Profiler) AdoptBoth(before, last *tree.Tree) error { return p.adoptBoth(before, last) }

// IsWrong says whether the tests of a function show that it is another one.
var IsWrong = isWrong
