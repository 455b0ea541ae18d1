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
	unpooled     = "resources made for no pool"
	outsideTree  = "resources in no pool of the tree"
	outsidePage  = "pages of no resource"
	variable     = "blocks that a variable of BIRD's points to"
	outsideBIRD  = "blocks that are no resources"
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
	flex      map[uint64]bool // the lexer's state and text
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
	}
	heads, ok, err := e.in.Process.ReadBatch(addresses, headLength)
	if err != nil {
		return err
	}
	for i, b := range e.onlyLive {
		if length := min(b.Size, headLength); ok[i] {
			e.heads[i] = heads[i*headLength:][:length]
		} else { // it ends where memory does
			head := make([]byte, length)
			n, _ := e.in.Process.ReadAt(head, int64(b.Address))
			e.heads[i] = head[:max(n, 0)]
		}
	}
	if e.classes, err = e.in.BIRD.Classify(e.in.Process, addresses, sizes); err != nil {
		return err
	}
	e.findLexer()
	for b := range e.tree.Blocks() {
		e.readHolder(b.Class, b.Address, b.Bytes, b.Pool)
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

// readOutside looks at resources that are in no list, as they are if made for no
// pool: pools that BIRD 2 makes for threads of BFD's, with what is in them, and
// the socket of the first BMP.
func (e *explainer) readOutside() error {
	for i, b := range e.onlyLive {
		class := e.classes[i].Class
		if class == "" || e.word(i, 0) != 0 || e.word(i, 8) != 0 {
			continue
		}
		if class != bird.PoolClass {
			e.outside[b.Address] = unpooled
			e.readHolder(class, b.Address, b.Size, nil)
			continue
		}
		if e.in.Tree == nil {
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
			e.readHolder(b.Class, b.Address, b.Bytes, b.Pool)
		}
		for p := range t.Pages() {
			e.outside[p.Address] = why
		}
	}
	return nil
}

// readHolder reads a resource that may point to what is not in the tree.
func (e *explainer) readHolder(class string, address, bytes uint64, pool *tree.Node) {
	why, from, to := "", uint64(0), uint64(0)
	switch {
	case class == "Socket":
		why, to = socketBuffer, min(bytes, pageSize)
	case class == bird.PoolClass && e.tree.Layout.Generation == bird.BIRD3:
		why, from, to = lockDomain, poolDomain, poolDomain+8
	default:
		return
	}
	data := make([]byte, to-from)
	if n, _ := e.in.Process.ReadAt(data, int64(address+from)); n < len(data) {
		return // gone since the snapshot
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
		if e.isControl(pool) {
			e.ofControl[v] = true
		}
	}
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
