// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"

	"leakprof/bpf"
	"leakprof/profiler/live"
	"leakprof/profiler/target"
)

// Holder is what points at memory that is held, or why its class is unknown.
type Holder struct {
	// Address is that of the block, object or chunk that points at it, or of the
	// word in a variable or on a stack; 0 where that is not kept.
	Address uint64
	// Pool is the path of the pool that the holder is in, Class the class of its
	// resource: "" for a root, "malloc" for a block that no resource is.
	Pool, Class string
	// Stack is the number of the holder's allocation stack in
	// live.Snapshot.Stacks, bpf.StackNone where it has none.
	Stack uint32
	// Root says in words which root it is, "" if it is none: "root_pool+0x20 of
	// bird", "stack of thread 12".
	Root string
	// Part says that the class is that of the whole linpool whose chunk it is:
	// objects in it cannot be decided one by one.
	Part bool
	// Why says why the class is unknown, "" if it is not.
	Why string
}

// String says the holder in words.
func (h Holder) String() string {
	switch {
	case h.Why != "":
		return h.Why
	case h.Root != "":
		return h.Root
	case h.Pool != "":
		return h.Class + " in " + h.Pool
	}
	return h.Class
}

// holder returns what holds a unit of class c.
func (r *Result) holder(i uint32, c Class) Holder {
	h := Holder{Stack: bpf.StackNone, Part: r.table.shape(i).kind == chunkUnit}
	by := r.reach.holder[i]
	switch {
	case c == Lost:
		return h
	case by == unreached && c == Unknown && r.again[i/64]>>(i%64)&1 == 0:
		h.Why = r.Doubt
		return h
	case by == unreached && c == Held: // a pool in which nothing is
		if o := r.table.ownerOf(i); o != noUnit {
			r.describe(&h, o)
		}
		return h
	case by == unreached || c == Unknown && by&doubtful == 0:
		h.Why = "two looks in a row disagree"
		if by == unreached {
			return h
		}
	}
	index := by&^(fromRoot|doubtful) - 1
	if by&doubtful != 0 {
		h.Why = r.why(by)
	}
	if by&fromRoot == 0 {
		r.describe(&h, index)
		return h
	}
	hit := r.reach.hits[index]
	if h.Address = hit.address; hit.root != byNumber {
		h.Root = r.names.of(r.reach.roots[hit.root], hit.address)
	}
	return h
}

// why says from where a unit was reached that may be dead.
func (r *Result) why(by uint32) string {
	for by&fromRoot == 0 {
		by = r.reach.holder[by&^doubtful-1]
	}
	hit := r.reach.hits[by&^(fromRoot|doubtful)-1]
	if hit.root == byNumber {
		return "BIRD addresses it by number, or what holds it"
	}
	return fmt.Sprintf("thread %d runs: what is alive of its stack is not known", r.reach.roots[hit.root].thread)
}

// describe says what a unit is.
func (r *Result) describe(h *Holder, i uint32) {
	h.Address = r.table.address(i)
	h.Pool, h.Class = r.place(i)
	h.Stack = r.stack(i)
}

// place returns the pool of a unit and its class.
func (r *Result) place(i uint32) (pool, class string) {
	address := r.table.address(i)
	if r.tree != nil {
		if path, class, ok := r.tree.PoolOf(address); ok {
			return path, class
		}
	}
	if r.table.shape(i).kind == pageUnit {
		return "", "page"
	}
	return "", "malloc"
}

// stack returns the stack that allocated a unit.
func (r *Result) stack(i uint32) uint32 {
	if r.live == nil {
		return bpf.StackNone
	}
	address := r.table.address(i)
	switch r.table.shape(i).kind {
	case objectUnit, numberedUnit:
		page := address &^ (pageSize - 1)
		stack, _ := r.live.Slots.Of(page).At(address - page)
		return stack
	}
	k, ok := slices.BinarySearchFunc(r.live.Blocks, address, func(b live.Block, a uint64) int { return cmp.Compare(b.Address, a) })
	if !ok {
		return bpf.StackNone
	}
	return r.live.Blocks[k].Stack
}

// names finds the names of variables.
type names struct {
	byModule map[*target.Module]variables
}

// variables are those of a module, in the order of their addresses in the file.
type variables struct {
	symbols  []elf.Symbol
	sections []*elf.Section
}

// newNames reads the modules' symbols; that there are none is no error.
func newNames(modules []*target.Module) *names {
	n := &names{byModule: make(map[*target.Module]variables)}
	for _, m := range modules {
		v := variables{sections: m.ELF.Sections}
		symbols, _ := m.ELF.Symbols()
		dynamic, _ := m.ELF.DynamicSymbols()
		for _, s := range append(symbols, dynamic...) {
			if elf.ST_TYPE(s.Info) == elf.STT_OBJECT && s.Section != elf.SHN_UNDEF {
				v.symbols = append(v.symbols, s)
			}
		}
		slices.SortFunc(v.symbols, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
		n.byModule[m] = v
	}
	return n
}

// of names the word at an address in a root: by the variable, or by the section
// of a program without symbols.
func (n *names) of(r root, address uint64) string {
	switch {
	case r.ended:
		return "the kept stack of a thread that has ended"
	case r.local:
		return fmt.Sprintf("thread-local storage of thread %d", r.thread)
	case r.module == nil && address == 0:
		return fmt.Sprintf("system call of thread %d", r.thread)
	case r.module == nil:
		return fmt.Sprintf("stack of thread %d", r.thread)
	}
	at := address - r.module.Bias
	offset := func(name string, start uint64) string {
		if at == start {
			return name + " of " + r.module.Name
		}
		return fmt.Sprintf("%s+0x%x of %s", name, at-start, r.module.Name)
	}
	v := n.byModule[r.module]
	i, _ := slices.BinarySearchFunc(v.symbols, at+1, func(s elf.Symbol, a uint64) int { return cmp.Compare(s.Value, a) })
	for i--; i >= 0 && v.symbols[i].Value+maxVariable > at; i-- {
		if s := v.symbols[i]; at-s.Value < s.Size {
			return offset(s.Name, s.Value)
		}
	}
	for _, s := range v.sections {
		// That of thread-local storage without contents has addresses, and no place
		// there: others lie at them.
		if s.Flags&elf.SHF_TLS != 0 && s.Type == elf.SHT_NOBITS {
			continue
		}
		if s.Flags&elf.SHF_ALLOC != 0 && s.Addr != 0 && at >= s.Addr && at-s.Addr < s.Size {
			return offset(s.Name, s.Addr)
		}
	}
	return offset("data", 0)
}

// maxVariable is how far before a word its variable is looked for, bytes.
const maxVariable = 1 << 20
