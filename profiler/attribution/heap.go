// SPDX-License-Identifier: Apache-2.0

// Package attribution turns snapshots into answers: which call stack, in
// source terms, holds how much of what.
package attribution

import (
	"time"

	"leakprof/profiler/reachability"
	"leakprof/profiler/symbol"
)

// Allocators as they appear in profiles (label "allocator").
const (
	// AllocatorMB: a block of BIRD's mb_alloc, mb_allocz or mb_realloc.
	AllocatorMB = "mb"
	// AllocatorResource: the header of another resource (ralloc).
	AllocatorResource = "resource"
	// AllocatorSlab and AllocatorLinpool: an object of a slab or a linpool, with
	// its share of the page; or such a page as a whole, where its objects are not
	// followed; also a linpool's large chunk.
	AllocatorSlab    = "slab"
	AllocatorLinpool = "linpool"
	// AllocatorPage: any other page, such as those of BMP's queue.
	AllocatorPage = "page"
	// AllocatorMalloc: any other block of the C library's heap.
	AllocatorMalloc = "malloc"
)

// Location is one physical frame of a stack.
type Location struct {
	Module  int    // index in Heap.Modules, -1 if the address is in none
	Address uint64 // ELF vaddr, or the plain address without a module
	// Lines are the functions there: innermost inlined one first, the
	// function that owns the code last. Never empty.
	Lines []symbol.Frame
}

// Stack is a distinct call stack.
type Stack struct {
	// Key identifies the stack within one run: its number in the live set.
	Key       uint64
	Locations []Location // innermost first; the first is the allocation function itself
	// Kind says of memory that nobody saw allocated what it is, such as "blocks of
	// 4096 B"; "" for a call stack.
	Kind string
	// Size is how long each piece of a Kind is, bytes.
	Size     uint64
	Complete bool   // reaches the entry of the process or thread
	End      string // in words why it ends where it does
	// Everything allocated here since the start, freed or not.
	AllocatedObjects, AllocatedBytes uint64
}

// Frames are all functions of the stack, innermost first, inlined ones too.
func (s *Stack) Frames() []symbol.Frame {
	var all []symbol.Frame
	for _, l := range s.Locations {
		all = append(all, l.Lines...)
	}
	return all
}

// NoMark is the mark of what nobody saw allocated.
const NoMark = -1

// Sample is a number of live blocks that are alike.
type Sample struct {
	Stack     *Stack
	Mark      int    // index of the mark current when they were allocated, or NoMark
	Allocator string // AllocatorMB, ...
	Class     string // BIRD's resource class, e.g. "Memory"; "" if it is no resource
	Pool      string // path of BIRD's pool from the root, "" if it is not known
	// SizeBucket is the size of a block or object rounded up to a power of two,
	// bytes.
	SizeBucket uint64
	Objects    uint64
	// Bytes is what the objects keep from others: a block its size, an object on a
	// page its share of the whole page. So the samples add up to what BIRD holds.
	Bytes uint64
	// Empty is how much of Bytes is long runs of zeros in arrays, Slack how much
	// is free room in the pages of slabs and linpools.
	Empty, Slack uint64
	// Reach is what they all are: Lost, Held or Unknown; NotLive if nobody looked.
	Reach reachability.Class
	// Holders are who holds a few of them, or why it is not known; nil of what is
	// lost.
	Holders []Holder
}

// Module is an ELF file of the target.
type Module struct {
	Path    string
	BuildID string // hex, or ""
	// DebugFile is the path of the separate debug file that names are from, ""
	// if there is none.
	DebugFile string
	// Start and End are where its executable part was mapped, Offset what of
	// the file is at Start.
	Start, End, Offset uint64
	HasSymbols         bool // .symtab
	HasLines           bool // DWARF line numbers
	ToldFiles          bool // without HasLines: structure tells most source files
	HasInlines         bool // DWARF inlined calls
	// Mixed says by what code of several source files was seen to be mixed, as by
	// link-time optimisation, so that structure tells hooks and no files; "" if it
	// was not.
	Mixed string
	// Unread says which debug information is there and was not read, such as split
	// DWARF; "" if none.
	Unread string
}

// Amount is a number of objects and their bytes.
type Amount struct{ Objects, Bytes uint64 }

// Heap is a snapshot in source terms.
type Heap struct {
	Time    time.Time
	Modules []Module // the program first
	Samples []Sample // sorted by bytes, largest first
	// Stacks are all stacks seen so far, also those with nothing live.
	Stacks []*Stack
	// Control is what connections to BIRD's control socket hold, ours among them
	// (pools in Root/CLI); the samples are without it.
	Control Amount
	// Unseen is how many live objects of slabs are on pages that were taken since
	// the probes came, and nobody saw them allocated.
	Unseen uint64
	// Unrecorded is how much of the linpools' memory in use is of no object that
	// was followed, bytes; 0 where linpool objects are not followed. From the start
	// on it is the ends of chunks in which the next object had no room: a linpool
	// does not know how far it filled a chunk that it has gone past.
	Unrecorded uint64
	// Moved is how many blocks came or went while the snapshot was read,
	// MovedBytes how much they are.
	Moved, MovedBytes uint64
	// Reach says how the search for pointers went; nil if there was none.
	Reach *Reach
}

// Totals returns the live bytes and objects.
func (h *Heap) Totals() (bytes, objects uint64) {
	for i := range h.Samples {
		bytes += h.Samples[i].Bytes
		objects += h.Samples[i].Objects
	}
	return bytes, objects
}
