// SPDX-License-Identifier: Apache-2.0

package plan

// Event is what a probe tells.
type Event string

// The events of BIRD's memory, in the order of Plan.Events.
const (
	BlockAllocated         Event = "block allocated"
	BlockResized           Event = "block resized"
	BlockFreed             Event = "block freed"
	PageTaken              Event = "page taken"
	PageReturned           Event = "page returned"
	SlabObjectAllocated    Event = "slab object allocated"
	SlabObjectFreed        Event = "slab object freed"
	LinpoolChunkAdded      Event = "linpool chunk added"
	LinpoolFlushed         Event = "linpool flushed"
	LinpoolRestored        Event = "linpool restored"
	LinpoolObjectAllocated Event = "linpool object allocated"
	PoolCreated            Event = "pool created"
	PoolFreed              Event = "pool freed"
)

// Coverage is how one event is followed.
type Coverage struct {
	Event Event
	Sites []Site // the places probed for it; none if something else tells it
	// CoveredBy says in words what tells the event instead of a probe, or what
	// tells the rest of it; "" if the probes tell all.
	CoveredBy string
	// Missing says in words what is not seen, and why; "" if nothing.
	Missing string
}

// Incomplete is a layer of BIRD's memory of which some events would be missed,
// so that what is live in it would be told wrong.
type Incomplete struct {
	Layer  string // "pages", "slab objects", "linpool objects"
	Why    string
	Remedy string // what to run instead, e.g. "--mode pages"
}

// Layers in Incomplete.
const (
	layerPages          = "pages"
	layerSlabObjects    = "slab objects"
	layerLinpoolObjects = "linpool objects"
)
