// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"
)

// Mode is how closely BIRD's memory is followed.
type Mode int

const (
	// Exact: the stack of each block and slab object.
	Exact Mode = iota
	// Pages: the stack of each block, and of who took each page; no probe on
	// objects.
	Pages
	// Walk: no probe at all. What is live is told by walking BIRD's memory.
	Walk
	// Auto: as Walk, but that from some moment on what Options.Only names is probed
	// as well.
	Auto
)

var modeNames = [...]string{Exact: "exact", Pages: "pages", Walk: "walk", Auto: "auto"}

// Guarantees is what each mode promises, a sentence each, for help.
const Guarantees = "exact: every byte that BIRD holds, and the call stack of every block and slab object; " +
	"pages: exact bytes per pool, allocator and page, stacks of blocks and of whoever took a page, and no hit per slab object; " +
	"walk: no probe at all, what is retained by pool, class and size, lost or held, at the end of each phase, without stacks; " +
	"auto: as walk until a cycle has retained something, and then the call stacks of that alone, by probes on nothing else"

// String is the mode's name on the command line.
func (m Mode) String() string {
	if m < 0 || int(m) >= len(modeNames) {
		return fmt.Sprintf("mode %d", int(m))
	}
	return modeNames[m]
}

// ParseMode reads the name of a mode.
func ParseMode(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return Exact, fmt.Errorf("parse mode: %q is none of %s", name, strings.Join(modeNames[:], ", "))
}

// Set reads the mode from a flag (pflag.Value).
func (m *Mode) Set(name string) (err error) {
	*m, err = ParseMode(name)
	return err
}

// Walks says whether what is live is told by walking BIRD's memory.
func (m Mode) Walks() bool { return m == Walk || m == Auto }

// Type is what help calls the value of a flag (pflag.Value).
func (m *Mode) Type() string { return "MODE" }

// Options are what is to be followed.
type Options struct {
	Mode Mode
	// LinpoolObjects asks for the stack of each object in a linpool, and not
	// of its chunks alone.
	LinpoolObjects bool
	// Costs is what probes cost here, nil if that was not measured.
	Costs *Costs
	// Only, in mode Auto, is what is probed; nil: nothing yet.
	Only *Only
}

// Follows says whether an event is probed under these options, in a BIRD that
// allows it.
func (o Options) Follows(e Event) bool {
	switch {
	case o.Mode == Walk:
		return false
	case o.Mode == Auto:
		return o.Only.follows(e)
	}
	switch e {
	case SlabObjectAllocated:
		return o.Mode == Exact
	case LinpoolObjectAllocated:
		return o.LinpoolObjects
	}
	return true
}

// Cheaper returns what to follow next if these cost too much; ok is false if
// there is nothing cheaper. What it follows is always a part of these.
func (o Options) Cheaper() (_ Options, ok bool) {
	switch {
	case o.LinpoolObjects:
		o.LinpoolObjects = false
	case o.Mode == Exact:
		o.Mode = Pages
	default:
		return o, false
	}
	return o, true
}

// String names the options in words, e.g. "exact" or "pages with linpool
// objects".
func (o Options) String() string {
	if o.LinpoolObjects {
		return o.Mode.String() + " with linpool objects"
	}
	return o.Mode.String()
}
