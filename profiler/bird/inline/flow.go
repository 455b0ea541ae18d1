// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

const (
	// maxSteps bounds the instructions of one function; BIRD's largest has 12000.
	maxSteps = 1 << 17
	// maxWork bounds the steps and entries looked at for a file; BIRD needs
	// some millions.
	maxWork = 1 << 28
)

// step is an instruction on a way through a function.
type step struct {
	pc     uint64
	next   []int32 // what it leads to
	leaves bool    // the function: a return, or a tail call of another file's
	acts   bool    // it calls, or writes memory that is not in the stack frame
	deed   deed    // what it calls or writes, if that is fixed
}

// deed is a call of a function, or an operation on memory at a fixed address.
// The zero value is none. Two instructions with the same one may be copies of
// one, made by unrolling.
type deed struct {
	op      x86asm.Op
	segment x86asm.Reg
	address uint64
}

// flow is every way through a function, from its entry.
type flow struct {
	code    *code
	ends    map[uint64]bool // return addresses of calls that do not return
	index   map[uint64]int32
	steps   []step
	entries []int32
	framed  bool // rbp points to the frame
	left    *int // of maxWork
}

var (
	errIndirect = errors.New("it jumps through a register")
	errDecode   = errors.New("its code cannot be decoded")
	errTooLong  = errors.New("it is too long")
	errTooMuch  = errors.New("the file has too many copies")
)

// newFlow follows the code from the entries. Jumps into other functions are
// followed, too: a way more than there is can only make once say no.
func newFlow(c *code, entries []uint64, ends map[uint64]bool, left *int) (*flow, error) {
	f := &flow{code: c, ends: ends, index: make(map[uint64]int32), left: left}
	for _, pc := range entries {
		f.entries = append(f.entries, f.at(pc))
	}
	for i := 0; i < len(f.steps); i++ {
		if i >= maxSteps {
			return nil, errTooLong
		}
		if !f.spend(1) {
			return nil, errTooMuch
		}
		if err := f.decode(i); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// spend is false if no work is left.
func (f *flow) spend(steps int) bool {
	*f.left = max(*f.left-steps, -1)
	return *f.left >= 0
}

// at returns the index of the step at pc.
func (f *flow) at(pc uint64) int32 {
	i, ok := f.index[pc]
	if !ok {
		i = int32(len(f.steps))
		f.index[pc] = i
		f.steps = append(f.steps, step{pc: pc})
	}
	return i
}

func (f *flow) decode(i int) error {
	pc := f.steps[i].pc
	text := f.code.text(pc)
	if bytes.HasPrefix(text, endbr64) {
		f.steps[i].next = []int32{f.at(pc + uint64(len(endbr64)))}
		return nil
	}
	in, err := x86asm.Decode(text, 64)
	if err != nil || in.Op == 0 || in.Len == 0 {
		return errDecode
	}
	behind := pc + uint64(in.Len)
	s := step{pc: pc, acts: f.acts(&in)}
	if s.acts {
		s.deed = fixedDeed(&in, behind)
	}
	rel, direct := in.Args[0].(x86asm.Rel)
	switch target := behind + uint64(int64(rel)); {
	case in.Op == x86asm.RET:
		s.leaves = true
	case in.Op == x86asm.UD2 || in.Op == x86asm.UD1 || in.Op == x86asm.HLT:
	case in.Op == x86asm.CALL:
		if !f.ends[behind] {
			s.next = []int32{f.at(behind)}
		}
	case in.Op == x86asm.JMP && direct:
		s.next = []int32{f.at(target)}
	case in.Op == x86asm.JMP:
		if m, ok := in.Args[0].(x86asm.Mem); !ok || m.Base != x86asm.RIP {
			return errIndirect // a switch, for what can be seen here
		}
		s.leaves = true // through the linkage table
	case direct:
		s.next = []int32{f.at(behind), f.at(target)}
	default:
		s.next = []int32{f.at(behind)}
	}
	f.steps[i] = s
	return nil
}

// acts says whether an instruction calls, or writes memory that others see.
// Instructions write their first operand, but for those that only read it.
func (f *flow) acts(in *x86asm.Inst) bool {
	switch in.Op {
	case x86asm.CALL:
		return true
	case x86asm.MOV, x86asm.LEA:
		if in.Args[0] == x86asm.RBP && (in.Args[1] == x86asm.RSP || in.Op == x86asm.LEA && base(in.Args[1]) == x86asm.RSP) {
			f.framed = true
		}
	case x86asm.CMP, x86asm.TEST, x86asm.BT, x86asm.NOP, x86asm.JMP, x86asm.PUSH,
		x86asm.MUL, x86asm.IMUL, x86asm.DIV, x86asm.IDIV,
		x86asm.PREFETCHT0, x86asm.PREFETCHT1, x86asm.PREFETCHT2, x86asm.PREFETCHNTA, x86asm.PREFETCHW:
		return false
	}
	m, ok := in.Args[0].(x86asm.Mem)
	onStack := m.Segment == 0 && (m.Base == x86asm.RSP || f.framed && m.Base == x86asm.RBP && m.Disp < 0)
	return ok && !onStack
}

// fixedDeed returns the deed of an instruction that acts; behind is the address
// of the next one.
func fixedDeed(in *x86asm.Inst, behind uint64) deed {
	switch a := in.Args[0].(type) {
	case x86asm.Rel:
		return deed{op: in.Op, address: behind + uint64(int64(a))}
	case x86asm.Mem:
		switch {
		case a.Index != 0:
		case a.Base == x86asm.RIP:
			return deed{op: in.Op, segment: a.Segment, address: behind + uint64(int64(int32(a.Disp)))}
		case a.Base == 0:
			return deed{op: in.Op, segment: a.Segment, address: uint64(a.Disp)}
		}
	}
	return deed{}
}

func base(a x86asm.Arg) x86asm.Reg {
	m, _ := a.(x86asm.Mem)
	return m.Base
}

// once shows that each run of a copy with the ranges passes entry once, before
// it acts. The error says which way through the function may be otherwise:
//
//   - one from the function's entry to where the copy acts that avoids entry;
//   - one from where the copy acts, out of it, and to where it acts again, but
//     not past entry. Compilers copy code once more to unroll a loop, or to test
//     a loop's condition at its end: those runs would be missed;
//   - one within the copy from one deed to the same elsewhere: an unrolled loop
//     may be nothing but copies, one behind another;
//   - one from entry that ends, or comes to entry again, before the copy does a
//     deed: that would be a pass without a call.
func (f *flow) once(entry uint64, ranges [][2]uint64) error {
	p, ok := f.index[entry]
	if !ok {
		return errors.New("no way to its entry is known")
	}
	if !f.spend((4 + len(ranges)) * len(f.steps)) {
		return errTooMuch
	}
	inside, acts := make([]bool, len(f.steps)), make([]bool, len(f.steps))
	var behind []int32 // what follows where the copy acts
	for i, s := range f.steps {
		inside[i] = contains(ranges, s.pc)
		if acts[i] = inside[i] && s.acts; acts[i] {
			behind = append(behind, s.next...)
		}
	}
	avoiding := f.reach(f.entries, func(i int32) bool { return i != p })
	if at, ok := f.first(avoiding, func(i int32) bool { return acts[i] && i != p }); ok {
		return fmt.Errorf("a way to %#x avoids its entry %#x", at, entry)
	}

	within := f.reach(behind, func(i int32) bool { return inside[i] && i != p })
	var out []int32
	for i, seen := range within {
		if seen && !inside[i] {
			out = append(out, int32(i))
		}
	}
	again := f.reach(out, func(i int32) bool { return i != p })
	if at, ok := f.first(again, func(i int32) bool { return acts[i] && i != p }); ok {
		return fmt.Errorf("a way out of it and back to %#x avoids its entry %#x", at, entry)
	}

	if err := f.repeated(inside, p); err != nil {
		return err
	}

	deeds := func(i int32) bool { return inside[i] && f.steps[i].deed != deed{} }
	if deeds(p) {
		return nil
	}
	idle := f.reach(f.steps[p].next, func(i int32) bool { return i != p && !deeds(i) })
	if at, ok := f.first(idle, func(i int32) bool { return i == p || f.steps[i].leaves }); ok {
		return fmt.Errorf("a way from its entry %#x leads to %#x, and to nothing it does", entry, at)
	}
	return nil
}

// repeated returns an error if a way within a copy leads from a deed to the same
// at another address, without passing p.
func (f *flow) repeated(inside []bool, p int32) error {
	same := make(map[deed][]int32)
	for i, s := range f.steps {
		if inside[i] && s.deed != (deed{}) {
			same[s.deed] = append(same[s.deed], int32(i))
		}
	}
	for _, list := range same {
		if len(list) < 2 {
			continue
		}
		if !f.spend(len(list) * (len(f.steps) + len(list))) {
			return errTooMuch
		}
		for _, one := range list {
			seen := f.reach(f.steps[one].next, func(i int32) bool { return inside[i] && i != p })
			for _, other := range list {
				if other != one && seen[other] {
					return fmt.Errorf("a way within it leads to %#x, and before to the same", f.steps[other].pc)
				}
			}
		}
	}
	return nil
}

func contains(ranges [][2]uint64, pc uint64) bool {
	return slices.ContainsFunc(ranges, func(r [2]uint64) bool { return r[0] <= pc && pc < r[1] })
}

// reach returns the steps on the ways from some, these included, as far as ways
// lead through steps that they may.
func (f *flow) reach(from []int32, may func(int32) bool) []bool {
	seen := make([]bool, len(f.steps))
	todo := slices.Clone(from)
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[i] {
			continue
		}
		seen[i] = true
		if may(i) {
			todo = append(todo, f.steps[i].next...)
		}
	}
	return seen
}

// first returns the address of one of the steps for which holds is true.
func (f *flow) first(steps []bool, holds func(int32) bool) (uint64, bool) {
	for i, in := range steps {
		if in && holds(int32(i)) {
			return f.steps[i].pc, true
		}
	}
	return 0, false
}
