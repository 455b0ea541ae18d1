// SPDX-License-Identifier: Apache-2.0

package attribution

import "leakprof/bpf"

// Replacement is what a call stack holds more only because another holds as much
// less of the same kind: a route that is announced again, or whose filters run
// again, is stored anew, maybe by another function. What was allocated before
// leakprof attached has no stack at all, and whatever comes in its place has one.
type Replacement struct {
	Stack     *Stack
	Allocator string
	// Bytes and Objects are not more than the stack holds more, without what is lost.
	Bytes, Objects int64
}

// kindKey is what can stand for one another: memory of one pool and class. Of
// what no pool is known of, nothing is known to.
type kindKey struct{ pool, allocator, class string }

// change is how much more there is of something, and how much less.
type change struct{ more, less int64 }

func (c *change) add(n int64) {
	c.more += max(n, 0)
	c.less += max(-n, 0)
}

// replaced is the share of n in what is more that is less elsewhere, but for what
// of n is lost.
func (c change) replaced(n, lost int64) int64 {
	switch lost = max(lost, 0); {
	case n <= lost:
		return 0
	case c.less >= c.more:
		return n - lost
	}
	return min(int64(float64(n)*float64(c.less)/float64(c.more)), n-lost)
}

// Replacements compares two snapshots of one run, and returns for each stack and
// allocator that holds more of a pool's memory how much of it is in the place of
// what others held there: any others if byStack, or else only what was allocated
// before leakprof attached.
func Replacements(from, to *Heap, byStack bool) []Replacement {
	type member struct {
		kindKey
		stack uint64
	}
	members := make(map[member]*growth)
	sum := func(h *Heap, sign int64) {
		for i := range h.Samples {
			s := &h.Samples[i]
			if s.Pool == "" {
				continue
			}
			k := member{kindKey{s.Pool, s.Allocator, s.Class}, s.Stack.Key}
			g := members[k]
			if g == nil {
				g = &growth{Retained: Retained{Stack: s.Stack}}
				members[k] = g
			}
			g.add(s, sign, 0)
		}
	}
	sum(from, -1)
	sum(to, 1)
	type changes struct{ bytes, objects change }
	kinds := make(map[kindKey]*changes)
	for k, g := range members {
		c := kinds[k.kindKey]
		if c == nil {
			c = new(changes)
			kinds[k.kindKey] = c
		}
		if byStack || g.Bytes > 0 || k.stack == uint64(bpf.StackBefore) {
			c.bytes.add(g.Bytes)
		}
		if byStack || g.Objects > 0 || k.stack == uint64(bpf.StackBefore) {
			c.objects.add(g.Objects)
		}
	}
	var all []Replacement
	for k, g := range members {
		c := kinds[k.kindKey]
		r := Replacement{g.Stack, k.allocator, c.bytes.replaced(g.Bytes, g.Lost), c.objects.replaced(g.Objects, g.LostObjects)}
		if r.Bytes > 0 || r.Objects > 0 {
			all = append(all, r)
		}
	}
	return all
}

// Replace notes in what Grown returned of the same snapshots how much is in the
// place of what others held.
func Replace(grown []Retained, by []Replacement) {
	bytes := make(map[uint64]int64)
	for _, r := range by {
		bytes[r.Stack.Key] += r.Bytes
	}
	for i := range grown {
		if g := &grown[i]; g.Stack.Key != uint64(bpf.StackBefore) {
			g.Replaced = min(bytes[g.Stack.Key], g.Bytes-g.Lost)
		}
	}
}
