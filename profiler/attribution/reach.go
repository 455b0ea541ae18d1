// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"cmp"
	"slices"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/reachability"
)

// Reach says how a search for pointers went.
type Reach struct {
	// Lost, Held and Unknown add up to the heap's samples.
	Lost, Held, Unknown Amount
	// Doubt says why nothing could be said to be lost, "" if it could.
	Doubt string
	// Looks is how often was looked; Running is how many threads ran, so that what
	// only their stacks hold is unknown.
	Looks, Running int
	// Read is how much was read, bytes, in Duration.
	Read     uint64
	Duration time.Duration
}

func newReach(r *reachability.Result, samples []Sample) *Reach {
	out := &Reach{Doubt: r.Doubt, Looks: r.Looks, Running: r.Running, Read: r.Read, Duration: r.Duration}
	for i := range samples {
		a := &out.Unknown
		switch samples[i].Reach {
		case reachability.Lost:
			a = &out.Lost
		case reachability.Held:
			a = &out.Held
		}
		a.Objects += samples[i].Objects
		a.Bytes += samples[i].Bytes
	}
	return out
}

// Holder is who holds memory from outside its own kind, or why that is not
// known.
type Holder struct {
	// Pool and Class are those of the holder's resource, "" for a root; Class is
	// "malloc" for a block that only the C library knows.
	Pool, Class string
	// Root is the variable or thread's stack that holds it, in words, "" if that is
	// none.
	Root string
	// Stack allocated the holder, nil if it has none.
	Stack *Stack
	// Why says why the class is unknown, "" if it is not.
	Why string
	// Objects is how many of those that were looked at it holds.
	Objects uint64
}

// String says who it is in words, without the stack.
func (h *Holder) String() string {
	return reachability.Holder{Pool: h.Pool, Class: h.Class, Root: h.Root, Why: h.Why}.String()
}

// holders asks who holds the objects at some addresses.
func (s *sums) holders(keepers *reachability.Keepers, addresses []uint64) []Holder {
	var all []Holder
	for _, address := range addresses {
		_, by := keepers.Of(address)
		h := Holder{Pool: by.Pool, Class: by.Class, Root: by.Root, Why: by.Why, Objects: 1}
		if by.Root == "" && by.Stack != bpf.StackNone {
			h.Stack = s.a.stackOf(by.Stack, s.snapshot)
		}
		all = addHolder(all, h)
	}
	return all
}

// addHolder adds one to those that are known.
func addHolder(all []Holder, h Holder) []Holder {
	i := slices.IndexFunc(all, func(o Holder) bool {
		return o.Pool == h.Pool && o.Class == h.Class && o.Root == h.Root && o.Stack == h.Stack && o.Why == h.Why
	})
	if i < 0 {
		return append(all, h)
	}
	all[i].Objects += h.Objects
	return all
}

// sortHolders puts those first that hold most.
func sortHolders(all []Holder) {
	slices.SortStableFunc(all, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.Objects, a.Objects), cmp.Compare(a.String(), b.String()))
	})
}
