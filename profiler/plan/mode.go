// SPDX-License-Identifier: Apache-2.0

package plan

import "fmt"

// Mode is how closely slabs are followed.
type Mode int

const (
	// Exact: the stack of each slab object.
	Exact Mode = iota
	// Pages: the stack that took each page, no probe on objects.
	Pages
)

var modeNames = [...]string{Exact: "exact", Pages: "pages"}

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
	return Exact, fmt.Errorf("parse mode: %q is neither exact nor pages", name)
}

// Set reads the mode from a flag (pflag.Value).
func (m *Mode) Set(name string) (err error) {
	*m, err = ParseMode(name)
	return err
}

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
}

// Follows says whether an event is probed under these options, in a BIRD that
// allows it.
func (o Options) Follows(e Event) bool {
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
