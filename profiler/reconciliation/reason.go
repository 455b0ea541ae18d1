// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
)

// Comparison is what the live set and the tree have, and what only one has.
type Comparison struct {
	// Equal says that they are the same to the byte, at one moment: every resource, large chunk
	// and page of the tree is in the live set with its size, and every page and
	// every block that looks like a resource in the live set is in the tree, or
	// its reason is known.
	Equal    bool     `json:"equal"`
	Both     Sum      `json:"both"`
	OnlyLive Sum      `json:"only_live"`
	OnlyTree Sum      `json:"only_tree"`
	Reasons  []Reason `json:"reasons,omitempty"` // the greatest first
}

// Reason is why some blocks or pages are in one only.
type Reason struct {
	// Where is OnlyLive, OnlyTree or WrongSize.
	Where  string `json:"where"`
	Reason string `json:"reason"`
	// Known says that BIRD does not count such memory; what is not known may be a
	// leak that BIRD does not see.
	Known bool `json:"known"`
	Sum
}

// Values of Reason.Where.
const (
	OnlyLive  = "only live"
	OnlyTree  = "only in the tree"
	WrongSize = "size differs"
)

// key is a reason while it is summed up.
type key struct {
	where, reason string
	known         bool
}

func (j *join) give(where, reason string, known bool, bytes uint64) {
	k := key{where, reason, known}
	if j.reasons[k] == nil {
		j.reasons[k] = &Sum{}
	}
	j.reasons[k].add(bytes)
}

// comparison sums up.
func (j *join) comparison() Comparison {
	c := Comparison{Both: j.both, Equal: len(j.onlyTree) == 0 && len(j.wrongSize) == 0}
	for k, s := range j.reasons {
		c.Reasons = append(c.Reasons, Reason{k.where, k.reason, k.known, *s})
		switch k.where {
		case OnlyLive:
			c.OnlyLive.Objects += s.Objects
			c.OnlyLive.Bytes += s.Bytes
			c.Equal = c.Equal && k.reason != outsideTree && k.reason != outsidePage
		case OnlyTree:
			c.OnlyTree.Objects += s.Objects
			c.OnlyTree.Bytes += s.Bytes
		}
	}
	slices.SortFunc(c.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Where+a.Reason, b.Where+b.Reason))
	})
	return c
}

// Reasons for blocks and pages that BIRD does not count (facts of
// lib/resource.c, sysdep/unix/io.c, sysdep/linux/netlink.c, lib/locking.c,
// conf/cf-lex.l, lib/lockfree.h).
const (
	socketBuffer = "buffers of sockets"
	socketPage   = "pages in sockets, being sent"
	netlink      = "netlink buffers"
	pollArray    = "poll array"
	lockDomain   = "lock domains"
	lexer        = "buffers of the configuration's lexer"
	journalPage  = "journals that BIRD does not count"
	outsideTree  = "resources in no pool of the tree"
	outsidePage  = "pages of no resource"
	variable     = "blocks that a variable of BIRD's points to"
	outsideBIRD  = "blocks that are no resources"
	before       = "memory that the live set does not have"
)

// explain finds a reason for each block and page that only one has.
func (j *join) explain(in Input) error {
	for _, m := range j.onlyTree {
		j.give(OnlyTree, fmt.Sprintf("%s in %s", m.class, m.pool.Path()), false, m.bytes)
	}
	for _, m := range j.wrongSize {
		j.give(WrongSize, fmt.Sprintf("%s in %s: %d bytes, live %d", m.class, m.pool.Path(), m.bytes, m.live), false, m.live)
	}
	e := &explainer{
		join: j, in: in,
		held: make(map[uint64]string), outside: make(map[uint64]string),
		ofControl: make(map[uint64]bool), variables: make(map[uint64]bool),
	}
	if err := e.read(); err != nil {
		return err
	}
	for i, b := range j.onlyLive {
		why, known := e.reason(i, b)
		if e.ofControl[b.Address] {
			j.control.add(b.Size)
		} else {
			j.live.add(b.Size)
		}
		j.give(OnlyLive, why, known, b.Size)
	}
	return nil
}

// explainer knows who points to what is only in the live set.
type explainer struct {
	*join
	in   Input
	held map[uint64]string // reason, by address
	// outside are the blocks and pages of pools that are not below Root.
	outside map[uint64]string
	// ofControl are the buffers of control connections.
	ofControl map[uint64]bool
	variables map[uint64]bool // what a variable of the program's points to
	heads     [][]byte        // the first bytes of each
	classes   []bird.Block
}

// poolDomain is where struct pool of BIRD 3 (lib/resource.h) has its domain's
// address, bytes.
const poolDomain = 48

// headLength is how much of each block is read: a lock domain whole.
const headLength = 80

// read reads what may point to the blocks, and their first bytes.
func (e *explainer) read() error {
	addresses, sizes := make([]uint64, len(e.onlyLive)), make([]uint64, len(e.onlyLive))
	e.heads = make([][]byte, len(e.onlyLive))
	for i, b := range e.onlyLive {
		addresses[i], sizes[i] = b.Address, b.Size
		head := make([]byte, min(b.Size, headLength))
		n, _ := e.in.Process.ReadAt(head, int64(b.Address))
		e.heads[i] = head[:max(n, 0)]
	}
	var err error
	if e.classes, err = e.in.BIRD.Classify(e.in.Process, addresses, sizes); err != nil {
		return err
	}
	if err := e.readHolders(e.tree); err != nil {
		return err
	}
	if err := e.readOutside(); err != nil {
		return err
	}
	return e.in.BIRD.Variables(e.in.Process, func(_ uint64, data []byte) {
		for i := 0; i+8 <= len(data); i += 8 {
			if v := binary.LittleEndian.Uint64(data[i:]); e.isOnlyLive(v) {
				e.variables[v] = true
			}
		}
	})
}

func (e *explainer) isOnlyLive(address uint64) bool {
	_, ok := search(e.onlyLive, address)
	return ok
}

// readOutside walks through the pools that are in no list: those that BIRD 2
// makes for threads of BFD's.
func (e *explainer) readOutside() error {
	for i, b := range e.onlyLive {
		if e.in.Tree == nil || e.classes[i].Class != bird.PoolClass || e.word(i, 0) != 0 || e.word(i, 8) != 0 {
			continue
		}
		t, err := e.in.Tree.WalkPool(b.Address)
		if errors.Is(err, tree.ErrTorn) {
			continue // none after all, or it changes: not explained
		} else if err != nil {
			return err
		}
		why := fmt.Sprintf("pool %q, which is not below Root", t.Root.PoolName)
		e.outside[b.Address] = why
		for b := range t.Blocks() {
			e.outside[b.Address] = why
		}
		for p := range t.Pages() {
			e.outside[p.Address] = why
		}
		if err := e.readHolders(t); err != nil {
			return err
		}
	}
	return nil
}

// readHolders reads the resources that point to what is not in the tree.
func (e *explainer) readHolders(t *tree.Tree) error {
	for b := range t.Blocks() {
		why, from, to := "", uint64(0), uint64(0)
		switch {
		case b.Class == "Socket":
			why, to = socketBuffer, min(b.Bytes, 4096)
		case b.Class == bird.PoolClass && e.tree.Layout.Generation == bird.BIRD3:
			why, from, to = lockDomain, poolDomain, poolDomain+8
		default:
			continue
		}
		data := make([]byte, to-from)
		if n, err := e.in.Process.ReadAt(data, int64(b.Address+from)); n < len(data) {
			return fmt.Errorf("read %s at 0x%x: %w", b.Class, b.Address, err)
		}
		for i := 0; i+8 <= len(data); i += 8 {
			v := binary.LittleEndian.Uint64(data[i:])
			if !e.isOnlyLive(v) {
				// A page that is being sent has a head, behind which the data is.
				if v &^= pageSize - 1; !e.isPageAt(v) {
					continue
				}
			}
			e.held[v] = why
			if e.isControl(b.Pool) {
				e.ofControl[v] = true
			}
		}
	}
	return nil
}

// isPageAt says whether a page that is only in the live set begins there.
func (e *explainer) isPageAt(address uint64) bool {
	i, ok := search(e.onlyLive, address)
	return ok && e.onlyLive[i].IsPage()
}

func (e *explainer) word(i, at int) uint64 {
	if at+8 > len(e.heads[i]) {
		return 0
	}
	return binary.LittleEndian.Uint64(e.heads[i][at:])
}

// reason says why the block or page is not in the tree, and whether that is
// known to be so in any BIRD.
func (e *explainer) reason(i int, b live.Block) (why string, known bool) {
	held := e.held[b.Address]
	switch {
	case b.IsPage() && e.outside[b.Address] != "":
		return e.outside[b.Address], true
	case b.IsPage() && held == socketBuffer:
		return socketPage, true
	case b.IsPage() && e.isJournal(i, b.Address):
		return journalPage, true
	case b.IsPage():
		return outsidePage, false
	case held != "":
		return held, true
	case e.outside[b.Address] != "":
		return e.outside[b.Address], true
	case e.classes[i].Class != "":
		return outsideTree, false
	case e.isDomain(i, b):
		return lockDomain, true
	}
	// Who called the allocation function: BIRD or a library?
	if module := e.caller(b); module != "" {
		return "memory of " + module, true
	}
	switch {
	case b.Size == netlinkBuffer && e.variables[b.Address]:
		return netlink, true
	case e.isLexer(i, b):
		return lexer, true
	case e.isPollArray(i, b):
		return pollArray, true
	case e.variables[b.Address]:
		return variable, false
	}
	return outsideBIRD, false
}

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

// isLexer says whether the block is of flex's: the stack of buffers, a struct
// yy_buffer_state (64 bytes, its text's address second), or its text.
func (e *explainer) isLexer(i int, b live.Block) bool {
	const state, text = 64, 16386 // YY_BUF_SIZE and two zeros
	points := func(i int, size uint64) (int, bool) {
		for _, at := range []int{0, 8} {
			if k, ok := search(e.onlyLive, e.word(i, at)); ok && e.onlyLive[k].Size == size {
				return k, true
			}
		}
		return 0, false
	}
	switch b.Size {
	case state:
		_, ok := points(i, text)
		return ok
	case text:
		return slices.ContainsFunc(e.onlyLive, func(o live.Block) bool {
			k, _ := search(e.onlyLive, o.Address)
			at, ok := points(k, text)
			return o.Size == state && ok && e.onlyLive[at].Address == b.Address
		})
	}
	k, ok := points(i, state)
	if !ok || !e.variables[b.Address] {
		return false
	}
	_, ok = points(k, text)
	return ok
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

// caller is the library that called the allocation function, "" if that was the
// program, or if it is not known.
func (e *explainer) caller(b live.Block) string {
	stack, ok := e.in.Snapshot.Live.Stacks[b.Stack]
	if !ok || len(stack.PC) < 2 {
		return ""
	}
	for i, m := range e.in.Modules {
		if m.Contains(stack.PC[1] - 1) {
			if i == 0 {
				return ""
			}
			return filepath.Base(m.Path)
		}
	}
	return ""
}
