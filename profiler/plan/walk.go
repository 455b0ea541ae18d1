// SPDX-License-Identifier: Apache-2.0

package plan

const (
	walkCovered    = "without a probe, at the end of each phase: blocks of the C library's heap, by its chunks; pages, by BIRD's lists of free ones; objects of slabs, by the bitmaps in their pages; pools, by the resource tree"
	walkNotCovered = "call stacks, and what came and went between two looks (--mode exact or pages)"
	byWalk         = "a walk through BIRD's memory at the end of each phase"
)

// planWalk is the plan of Walk, which has no site.
func planWalk(o Options) *Plan {
	p := &Plan{Options: o, Covered: []string{walkCovered}, NotCovered: []string{walkNotCovered}}
	for _, e := range []Event{
		BlockAllocated, BlockResized, BlockFreed, PageTaken, PageReturned, SlabObjectAllocated, SlabObjectFreed,
		LinpoolChunkAdded, LinpoolFlushed, LinpoolRestored, LinpoolObjectAllocated, PoolCreated, PoolFreed,
	} {
		p.cover(Coverage{Event: e, CoveredBy: byWalk})
	}
	return p
}
