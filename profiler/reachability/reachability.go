// SPDX-License-Identifier: Apache-2.0

// Package reachability tells memory that BIRD has lost from memory that it
// holds, by following pointers from BIRD's variables, stacks and thread-local
// storage through live memory.
//
// Every resource of BIRD's hangs on the list of its pool, so that to a common
// leak detector nothing is ever lost. Here the links that every resource has by
// its construction hold nothing: its list node, the list in a pool, the lists
// of a slab's pages, those of a linpool's chunks. What counts is whether
// anything else points at it, into it or behind its header.
//
// What is dead is not read: chunks of malloc's that are free, pages on BIRD's
// lists of free pages, slots of slabs that nothing is in, room of linpools
// beyond their fill marks, and stacks below the stack pointer. Nor are pages that
// a slab, a linpool or BMP's queue has let go of and nobody has freed: they are
// linked to one another as before, and one old address would hold them all.
//
// # Rules
//
//   - A pool is held if something other than its parent points at it, or if
//     anything in it is held, because who frees the pool frees that. It does not
//     hold what is in it. A pool that nothing is in is never lost: it waits.
//   - A slab, mslab or islab is held if anything points at it, or at an object
//     of it; it holds none of its objects.
//   - Of a linpool nothing is freed one by one: it is one thing with all its
//     chunks. Any pointer into one of them holds all. Its own fields hold nothing
//     else: the end of a chunk may be where another's page begins.
//   - Timers, events, sockets, files and locks are held as memory is. An active
//     timer is in the heap of its loop, a scheduled event in a list, a socket
//     and a lock in a list of their kind (lib/timer.c, lib/event.c,
//     sysdep/unix/io.c, nest/locks.c), and what is not is held by who made it.
//     A socket's places in its buffer hold nothing.
//   - Resources of other classes are there to be freed with their pool, as "BMP
//     TX buffers" (proto/bmp/bmp.c, since 2.16) or "Attribute class reference"
//     (nest/rt-attr.c, BIRD 3), and often nobody keeps their address: a held
//     pool holds them.
//   - Objects of an islab (lib/islab.c, since 3.3) are addressed by number. One
//     that no pointer holds is unknown, and so is what only such ones hold.
//
// # What is not known
//
// BIRD is not stopped. Of a thread that waits in the kernel the stack pointer
// and the arguments of its system call are known, but not the six registers
// that a called function preserves. Of a thread that runs not even the stack
// pointer is: what only its stack holds is unknown.
//
// Memory that was taken and not written yet may have old addresses in it, and so
// may variables on a stack that are not used any more: what is there now counts
// as held. So some of what is lost may not be said to be; what is said to be lost
// is, unless one of those registers alone has its address.
//
// BIRD 2 has pools that no pool is a parent of, for the threads of BFD. What is
// in them is taken as memory of the C library's, where all links count.
package reachability

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

// Class says whether memory can be reached.
type Class uint8

const (
	// NotLive is what an address has that is in no live memory.
	NotLive Class = iota
	// Lost memory is live and nothing points at it, but other lost memory may.
	Lost
	// Held memory can be reached.
	Held
	// Unknown memory may be lost or held; Holder.Why says why.
	Unknown
)

var classNames = [...]string{NotLive: "not live", Lost: "lost", Held: "held", Unknown: "unknown"}

// String returns "lost", "held", "unknown" or "not live".
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Options say how to look.
type Options struct {
	// Timeout ends the search with an error; 0 is 60 s.
	Timeout time.Duration
}

// Result says of all live memory whether it can be reached. It can be used by
// several goroutines at once.
type Result struct {
	// Bytes of live memory by Class: of blocks, of objects in slabs, of linpools'
	// chunks up to their fill marks, and of other pages.
	Bytes [Unknown + 1]uint64
	// Doubt says why what was not reached is unknown and not lost, "" if it is
	// lost.
	Doubt string
	// Looks is how often was looked: a second time if the first did not reach
	// everything.
	Looks int
	// Running is how many threads ran at each look, so that their stacks are not
	// known; Waiting those that waited, of which some registers are not.
	Running, Waiting int
	// Unread is how many bytes of live memory could not be read.
	Unread uint64
	// Read is how many bytes were read in all, and Duration how long it took.
	Read     uint64
	Duration time.Duration

	table  *table
	reach  reach
	again  []uint64 // bitmap: units that the second look reached
	names  *names
	tree   *tree.Tree
	live   *live.Snapshot
	layout headers
}

// Classify looks for what can be reached of the memory in a snapshot, and once
// more if that is not all of it. What only one of the looks reached is unknown. If the snapshot is not quiet,
// or if the C library's heap cannot be walked, nothing is said to be lost.
//
// s.Live and s.Tree may be nil: without the live set, of the pages that no
// resource has nothing is known, and b may be nil where the process is no BIRD.
func Classify(p *target.Process, b *bird.Bird, s *snapshot.Snapshot, o Options) (*Result, error) {
	r, err := classify(p, b, s, o)
	if err != nil {
		if !p.Alive() {
			err = target.ErrGone
		}
		return nil, fmt.Errorf("look for pointers: %w", err)
	}
	return r, nil
}

var errTimeout = errors.New("it took too long")

func classify(p *target.Process, b *bird.Bird, s *snapshot.Snapshot, o Options) (*Result, error) {
	start := time.Now()
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	r := &Result{Looks: 1, tree: s.Tree, live: s.Live}
	if b != nil {
		r.layout = headersOf(b.Generation)
	}
	var err error
	if r.table, r.Doubt, err = tableOf(p, s, r.layout); err != nil {
		return nil, err
	}
	modules, err := p.Modules()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, m := range modules {
			m.Close()
		}
	}()
	r.names = newNames(modules)
	l := look{process: p, table: r.table, modules: modules, skip: r.layout.rootSkip(b, p), deadline: start.Add(o.Timeout)}
	if r.reach, err = l.run(); err != nil {
		return nil, err
	}
	second := r.reach
	if slices.Contains(r.reach.holder, unreached) {
		if second, err = l.run(); err != nil {
			return nil, err
		}
		r.Looks = 2
	}
	r.again = second.reached()
	r.Running = max(len(r.reach.running), len(second.running))
	r.Waiting, r.Unread = r.reach.waiting, max(r.reach.unread, second.unread)
	r.Read = r.reach.read
	if r.Looks > 1 {
		r.Read += second.read
	}
	switch missing := append(r.reach.missing, second.missing...); {
	case !s.Quiet:
		r.Doubt = "the snapshot is not quiet: " + s.Why
	case r.Doubt != "":
	case len(missing) > 0:
		r.Doubt = fmt.Sprintf("the thread-local storage of thread %d was not found", missing[0])
	case r.Unread > 0:
		r.Doubt = fmt.Sprintf("%d bytes of live memory could not be read", r.Unread)
	}
	r.Duration = time.Since(start)
	r.sum()
	return r, nil
}

// Distrust says why what was not reached is not known to be lost after all, as
// when BIRD turns out to have changed its memory meanwhile. It must not be called
// while others use the result.
func (r *Result) Distrust(why string) {
	r.Doubt = why
	r.sum()
}

// sum adds up the bytes by class.
func (r *Result) sum() {
	clear(r.Bytes[:])
	for i := range r.table.keys {
		s := r.table.shape(uint32(i))
		if s.counts() {
			r.Bytes[r.class(uint32(i))] += s.bytes
		}
	}
}

// class returns a unit's class.
func (r *Result) class(i uint32) Class {
	h, again := r.reach.holder[i], r.again[i/64]>>(i%64)&1 != 0
	switch {
	case h == unreached && !again:
		if k := r.table.shape(i).kind; k == poolUnit && !r.table.full[i] {
			return Held
		}
		if r.Doubt != "" {
			return Unknown
		}
		return Lost
	case h == unreached || !again, h&doubtful != 0:
		return Unknown
	}
	return Held
}

// Of returns the class of the live memory at an address, and who holds it. Of a
// page of objects, at its start, it is that of the objects on it: held if one is.
func (r *Result) Of(address uint64) (Class, Holder) {
	i, ok := r.table.find(address)
	if !ok {
		return r.ofPage(address)
	}
	c := r.class(i)
	return c, r.holder(i, c)
}

// ofPage returns the class of a page by its objects.
func (r *Result) ofPage(address uint64) (Class, Holder) {
	if r.tree == nil || address%pageSize != 0 {
		return NotLive, Holder{}
	}
	p, ok := r.tree.Page(address)
	if !ok || p.Capacity == 0 {
		return NotLive, Holder{}
	}
	best := Lost
	var by Holder
	for object := range p.Objects() {
		c, h := r.Of(object)
		if c > best && best != Held || c == Held {
			best, by = c, h
		}
		if best == Held {
			return best, by
		}
	}
	if best == Lost && p.Used == 0 {
		return r.Of(p.Owner)
	}
	return best, by
}
