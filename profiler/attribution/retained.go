// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"cmp"
	"slices"

	"leakprof/bpf"
	"leakprof/profiler/reachability"
)

// Retained is what one call stack holds more at the end of a cycle than at
// its begin.
type Retained struct {
	Stack *Stack
	// Allocator, Class and Pool are those of the most bytes that the stack
	// holds at the end.
	Allocator string
	Class     string
	Pool      string
	Objects   int64
	Bytes     int64
	// Empty is how much of Bytes is free room in arrays that do not shrink, Slack
	// in pages of slabs and linpools.
	Empty, Slack int64
	// Replaced is how much of Bytes is in the place of what other stacks held
	// before, if Replace has noted it.
	Replaced int64
	// Lost, Held and Unknown add up to Bytes. All is Unknown where nobody looked
	// for pointers.
	Lost, Held, Unknown int64
	// LostObjects is how many objects more are lost.
	LostObjects int64
	// Holders are who holds a few of the objects, or why that is not known, those
	// first that hold most.
	Holders []Holder
	// EveryBytes and EveryObjects are the least that came in any cycle after the
	// first; 0 where there was none, or where one brought nothing.
	EveryBytes, EveryObjects int64
}

// FreeRoom is how much of Bytes nothing is in.
func (r *Retained) FreeRoom() int64 { return r.Empty + r.Slack }

// More is how much of Bytes is not in the place of anything else.
func (r *Retained) More() int64 { return r.Bytes - r.Replaced }

// Content is how much of More is no free room.
func (r *Retained) Content() int64 {
	if r.Bytes <= 0 {
		return 0
	}
	return int64(float64(r.Bytes-r.FreeRoom()) * float64(r.More()) / float64(r.Bytes))
}

// Reach is what most of the bytes are.
func (r *Retained) Reach() reachability.Class {
	switch {
	case r.Lost > 0 && r.Lost >= r.Held && r.Lost >= r.Unknown:
		return reachability.Lost
	case r.Held > r.Unknown:
		return reachability.Held
	}
	return reachability.Unknown
}

// arrayBlocks is how many blocks of one stack can be arrays that BIRD keeps for
// the next flood: one for each table or channel. More of them are not kept but
// pile up, and that a lost buffer was mostly empty does not excuse it.
const arrayBlocks = 16

// retainedKey tells apart what is compared: stacks, and what was allocated
// before leakprof attached by pool, class and size.
type retainedKey struct {
	stack                  uint64
	allocator, class, pool string
	bucket                 uint64
}

func keyOf(s *Sample) retainedKey {
	if s.Stack.Key == uint64(bpf.StackBefore) {
		return retainedKey{s.Stack.Key, s.Allocator, s.Class, s.Pool, s.SizeBucket}
	}
	return retainedKey{stack: s.Stack.Key}
}

// growth is what is compared of one key.
type growth struct {
	Retained
	most     uint64 // bytes of the sample that names allocator, class and pool
	old      []Holder
	isBefore bool
}

// Grown compares two snapshots of one run per stack and returns what grew,
// largest first. The comparison is net: what was freed and built anew at the
// same place is not retained. What is lost at the end and was not at the begin
// is retained also where its stack holds less than before; of what was allocated
// before leakprof attached it is all that can be.
func Grown(from, to *Heap) []Retained {
	sums := make(map[retainedKey]*growth)
	last := lastMark(from)
	add := func(h *Heap, sign int64) {
		for i := range h.Samples {
			s := &h.Samples[i]
			k := keyOf(s)
			r := sums[k]
			if r == nil {
				r = &growth{Retained: Retained{Stack: s.Stack}, isBefore: s.Stack.Key == uint64(bpf.StackBefore)}
				sums[k] = r
			}
			r.add(s, sign, last)
		}
	}
	add(from, -1)
	add(to, 1)
	var grown []Retained
	for _, r := range sums {
		if r.settle(to.Reach != nil) {
			grown = append(grown, r.Retained)
		}
	}
	SortRetained(grown)
	return grown
}

// lastMark is the latest mark under which anything in a heap was allocated.
func lastMark(h *Heap) int {
	last := 0
	for i := range h.Samples {
		last = max(last, h.Samples[i].Mark)
	}
	return last
}

func (r *growth) add(s *Sample, sign int64, last int) {
	bytes := sign * int64(s.Bytes)
	r.Objects += sign * int64(s.Objects)
	r.Bytes += bytes
	r.Empty += sign * int64(s.Empty)
	r.Slack += sign * int64(s.Slack)
	switch s.Reach {
	case reachability.Lost:
		r.Lost += bytes
		r.LostObjects += sign * int64(s.Objects)
	case reachability.Unknown:
		r.Unknown += bytes
	}
	if sign < 0 {
		return
	}
	if s.Bytes > r.most {
		r.most, r.Allocator, r.Class, r.Pool = s.Bytes, s.Allocator, s.Class, s.Pool
	}
	// Of those that came since, if there are any.
	into := &r.Holders
	if s.Mark <= last {
		into = &r.old
	}
	for _, h := range s.Holders {
		*into = addHolder(*into, h)
	}
}

// settle makes of sums what is retained, and says whether anything is.
func (r *growth) settle(looked bool) bool {
	if r.isBefore {
		r.Bytes, r.Objects = 0, 0
	}
	r.Lost, r.LostObjects = max(r.Lost, 0), max(r.LostObjects, 0)
	if r.Lost > r.Bytes {
		r.Bytes, r.Objects = r.Lost, max(r.Objects, r.LostObjects)
	}
	if r.Bytes <= 0 {
		return false
	}
	if !looked {
		r.Unknown = r.Bytes
	}
	r.Unknown = min(max(r.Unknown, 0), r.Bytes-r.Lost)
	r.Held = r.Bytes - r.Lost - r.Unknown
	r.Empty = min(max(r.Empty, 0), r.Bytes)
	if r.Objects > arrayBlocks {
		r.Empty = 0
	}
	r.Slack = min(max(r.Slack, 0), r.Bytes-r.Empty)
	if len(r.Holders) == 0 {
		r.Holders = r.old
	}
	if r.Held == 0 && r.Unknown == 0 {
		r.Holders = nil
	}
	sortHolders(r.Holders)
	return true
}

// LostIn returns what is lost in a heap, by stack, largest first.
func LostIn(h *Heap) []Retained {
	sums := make(map[retainedKey]*growth)
	for i := range h.Samples {
		s := &h.Samples[i]
		if s.Reach != reachability.Lost {
			continue
		}
		k := keyOf(s)
		r := sums[k]
		if r == nil {
			r = &growth{Retained: Retained{Stack: s.Stack}}
			sums[k] = r
		}
		r.add(s, 1, 0)
	}
	var lost []Retained
	for _, r := range sums {
		r.settle(true)
		lost = append(lost, r.Retained)
	}
	SortRetained(lost)
	return lost
}

// SortRetained sorts by bytes, largest first, and by the stack's key where
// they are equal, so that the order is the same every time.
func SortRetained(all []Retained) {
	slices.SortFunc(all, func(a, b Retained) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Objects, a.Objects), cmp.Compare(a.Stack.Key, b.Stack.Key), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Allocator, b.Allocator))
	})
}
