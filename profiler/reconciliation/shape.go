// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"encoding/binary"

	"leakprof/profiler/bird"
	"leakprof/profiler/live"
)

// netlinkBuffer is NL_RX_SIZE (sysdep/linux/netlink.c), bytes: for as long as
// BIRD runs, one for each of its netlink sockets.
const netlinkBuffer = 32768

// isDomain says whether the block is a struct domain_generic (lib/locking.h,
// BIRD 3): a mutex of 40 bytes, its order, addresses of two other locks, a name,
// the pool that it is for.
func (e *explainer) isDomain(i int, b live.Block) bool {
	const length, order, name, pool = 80, 40, 64, 72
	const orders = 256 // sizeof(struct lock_order) is less: an address for each of some 15 kinds
	if b.Size != length || len(e.heads[i]) < length || e.tree.Layout.Generation != bird.BIRD3 {
		return false
	}
	if at := e.word(i, order) & 0xffffffff; at >= orders || at%8 != 0 {
		return false
	}
	if e.word(i, name) == 0 { // until domain_setup
		return e.word(i, pool) == 0
	}
	text, ok := e.in.Process.String(e.word(i, name), 64)
	return ok && text != "" && e.word(i, pool)%8 == 0
}

// findLexer finds flex's struct yy_buffer_state (64 bytes, its text's address
// among the first two words), and its text.
func (e *explainer) findLexer() {
	const state, text = 64, 16386 // YY_BUF_SIZE and two zeros
	e.flex = make(map[uint64]bool)
	for i, b := range e.onlyLive {
		if b.Size != state {
			continue
		}
		for _, at := range []int{0, 8} {
			v := e.word(i, at)
			if k, ok := search(e.onlyLive, v); ok && e.onlyLive[k].Size == text {
				e.flex[b.Address], e.flex[v] = true, true
			}
		}
	}
}

// isLexer says whether the block is flex's: the state, the text, or the stack of
// states, which a variable points to.
func (e *explainer) isLexer(i int, b live.Block) bool {
	return e.flex[b.Address] || e.variables[b.Address] && e.flex[e.word(i, 0)]
}

// isPollArray says whether the block begins with entries of poll(2): a file's
// number, and events (16 bits each).
func (e *explainer) isPollArray(i int, b live.Block) bool {
	const most, events = 1 << 16, 0x1f // POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP
	if b.Size%8 != 0 || b.Size < 128 || len(e.heads[i]) < 16 {
		return false
	}
	for at := 0; at < 16; at += 8 {
		v := e.word(i, at)
		if fd := v & 0xffffffff; fd >= most || v>>32&0xffff&^events != 0 || v>>48&^uint64(events|0x20) != 0 || v == 0 {
			return false
		}
	}
	return true
}

// isJournal says whether the page is of a journal (struct lfjour_block,
// lib/lockfree.h, BIRD 3): it begins with a node of a typed list, whose
// neighbors point back.
func (e *explainer) isJournal(i int, page uint64) bool {
	next, prev, list := e.word(i, 0), e.word(i, 8), e.word(i, 16)
	if e.tree.Layout.Generation != bird.BIRD3 || list == 0 || list%8 != 0 || next%pageSize != 0 || prev%pageSize != 0 {
		return false
	}
	points := func(at, want uint64) bool {
		var b [8]byte
		_, err := e.in.Process.ReadAt(b[:], int64(at))
		return err == nil && binary.LittleEndian.Uint64(b[:]) == want
	}
	first, last := list, list+8
	if prev != 0 {
		first = prev // its next
	}
	if next != 0 {
		last = next + 8 // its prev
	}
	return points(first, page) && points(last, page)
}
