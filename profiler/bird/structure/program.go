// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"errors"
	"sort"

	"golang.org/x/arch/x86/x86asm"

	"leakprof/profiler/unwind"
)

// maxCode bounds the bytes of code that are decoded; BIRD has 1 to 2 MB.
const maxCode = 12 << 20

// transferKind is how an instruction leads elsewhere than to the next one.
type transferKind uint8

const (
	transferCall transferKind = iota
	transferJump
	transferBranch
	transferReturn
	transferIndirectCall
	transferIndirectJump
	transferStop // ud2, hlt, or bytes that are no instruction
)

// transfer is an instruction that may lead elsewhere.
type transfer struct {
	pc, next uint64
	target   uint64 // of a direct call, jump or branch
	kind     transferKind
}

// reference is an instruction that names an address of data or code.
type reference struct{ pc, target uint64 }

// program is the code of the file.
type program struct {
	*image
	extents []unwind.Extent
	// owner is the function to which an extent that is none belongs, by the
	// extent's start; starts are the functions.
	owner  map[uint64]uint64
	starts map[uint64]bool
	length map[uint64]uint64 // of functions, without parts elsewhere, bytes

	transfers  []transfer // sorted by pc
	references []reference
	jumpTarget map[uint64]bool
	callers    map[uint64][]uint64 // call and tail call sites by direct target
	pointedAt  map[uint64]int      // how many words hold a function's address
	noReturn   map[uint64]bool     // functions
	clobbers   map[uint64]registerSet
	written    map[uint64]registerSet // by the extent's own code
	// fields are the offsets from a register that an extent uses, a bit for each
	// 8 bytes up to 512.
	fields map[uint64]uint64
	// aligns are functions that round up to 8 or 16, as linpools do; divides those
	// that divide, as slabs do.
	aligns  map[uint64]bool
	divides map[uint64]bool
	// hookCalls are the calls through a pointer at offset 16, where a class has
	// its free hook.
	hookCalls []uint64

	decoded map[uint64]*x86asm.Inst
	stubs   map[uint64]string
}

func newProgram(im *image) (*program, error) {
	extents, err := unwind.Extents(im.file)
	if err != nil {
		return nil, err
	}
	p := &program{
		image: im, extents: extents,
		owner: make(map[uint64]uint64), starts: make(map[uint64]bool), length: make(map[uint64]uint64),
		jumpTarget: make(map[uint64]bool), callers: make(map[uint64][]uint64), pointedAt: make(map[uint64]int),
		noReturn: make(map[uint64]bool), clobbers: make(map[uint64]registerSet), written: make(map[uint64]registerSet), fields: make(map[uint64]uint64), aligns: make(map[uint64]bool), divides: make(map[uint64]bool),
		decoded: make(map[uint64]*x86asm.Inst), stubs: make(map[uint64]string),
	}
	left := uint64(maxCode)
	for _, e := range extents {
		if e.End-e.Start > left {
			return nil, errors.New("code is too large")
		}
		left -= e.End - e.Start
		if e.Called {
			p.starts[e.Start] = true
			p.length[e.Start] = e.End - e.Start
		}
		p.decodeExtent(e)
	}
	p.assignParts()
	for _, t := range p.transfers {
		if t.kind == transferCall || t.kind != transferReturn && t.target != 0 && p.functionOf(t.pc) != p.functionOf(t.target) {
			p.callers[t.target] = append(p.callers[t.target], t.pc)
		}
	}
	for _, to := range im.pointers {
		if p.starts[to] {
			p.pointedAt[to]++
		}
	}
	if im.fixed {
		p.scanFixedPointers()
	}
	sort.Slice(p.references, func(i, j int) bool {
		if p.references[i].target != p.references[j].target {
			return p.references[i].target < p.references[j].target
		}
		return p.references[i].pc < p.references[j].pc
	})
	p.findNoReturn()
	p.findClobbers()
	return p, nil
}

// scanFixedPointers counts function addresses in the data of a file that has
// no relocations for them.
func (p *program) scanFixedPointers() {
	for i := range p.segments {
		s := &p.segments[i]
		if s.exec {
			continue
		}
		for at := (s.start + 7) &^ 7; at+8 <= s.start+uint64(len(s.data)); at += 8 {
			if w, _ := p.word(at); p.starts[w] {
				p.pointedAt[w]++
			}
		}
	}
}

// decode returns the instruction at pc, nil if there is none.
func (p *program) decode(pc uint64) *x86asm.Inst {
	if in, ok := p.decoded[pc]; ok {
		return in
	}
	in := p.decodeBytes(p.bytes(pc, 16))
	p.decoded[pc] = in
	return in
}

func (p *program) decodeBytes(b []byte) *x86asm.Inst {
	if bytes.HasPrefix(b, endbr64) { // x86asm does not know it
		return &x86asm.Inst{Op: x86asm.NOP, Len: len(endbr64)}
	}
	in, err := x86asm.Decode(b, 64)
	if err != nil || in.Op == 0 || in.Len == 0 {
		return nil
	}
	return &in
}

// decodeExtent goes through an extent once, for its transfers and references.
func (p *program) decodeExtent(e unwind.Extent) {
	code := p.bytes(e.Start, e.End-e.Start)
	for off := 0; off < len(code); {
		pc := e.Start + uint64(off)
		in := p.decodeBytes(code[off:])
		if in == nil {
			p.transfers = append(p.transfers, transfer{pc: pc, next: e.End, kind: transferStop})
			return
		}
		off += in.Len
		if mem, ok := in.Args[0].(x86asm.Mem); ok && mem.Disp == classFree && (in.Op == x86asm.CALL || in.Op == x86asm.JMP) {
			p.hookCalls = append(p.hookCalls, pc)
		}
		p.written[e.Start] |= written(in)
		if in.Op == x86asm.DIV {
			p.divides[e.Start] = true
		}
		next := e.Start + uint64(off)
		p.addTransfer(pc, next, in)
		p.addReferences(e, pc, next, in)
	}
}

func (p *program) addTransfer(pc, next uint64, in *x86asm.Inst) {
	t := transfer{pc: pc, next: next}
	rel, direct := in.Args[0].(x86asm.Rel)
	if direct {
		t.target = next + uint64(int64(rel))
	}
	switch {
	case in.Op == x86asm.CALL && direct:
		t.kind = transferCall
	case in.Op == x86asm.CALL:
		t.kind = transferIndirectCall
	case in.Op == x86asm.JMP && direct:
		t.kind = transferJump
	case in.Op == x86asm.JMP:
		t.kind = transferIndirectJump
	case in.Op == x86asm.RET:
		t.kind = transferReturn
	case in.Op == x86asm.UD2 || in.Op == x86asm.HLT || in.Op == x86asm.UD1:
		t.kind = transferStop
	case direct:
		t.kind = transferBranch
	default:
		return
	}
	if t.kind == transferJump || t.kind == transferBranch {
		p.jumpTarget[t.target] = true
	}
	p.transfers = append(p.transfers, t)
}

func (p *program) addReferences(e unwind.Extent, pc, next uint64, in *x86asm.Inst) {
	for _, a := range in.Args {
		switch a := a.(type) {
		case nil:
			return
		case x86asm.Mem:
			if a.Disp >= 0 && a.Disp < 512 {
				p.fields[e.Start] |= 1 << (a.Disp / 8)
			}
			if a.Base == x86asm.RIP {
				p.references = append(p.references, reference{pc, next + uint64(displacement(a))})
			} else if p.fixed && a.Disp > 0x1000 && a.Segment == 0 {
				p.references = append(p.references, reference{pc, uint64(a.Disp)})
			}
		case x86asm.Imm:
			if p.fixed && a > 0x1000 {
				p.references = append(p.references, reference{pc, uint64(a)})
			}
			if in.Op == x86asm.AND && (int32(a) == -16 || int32(a) == -8) && in.Args[0] != x86asm.RSP {
				p.aligns[e.Start] = true
			}
		}
	}
}

// extentAt returns the extent that pc lies in.
func (p *program) extentAt(pc uint64) (unwind.Extent, bool) {
	i := sort.Search(len(p.extents), func(i int) bool { return p.extents[i].Start > pc })
	if i == 0 || pc >= p.extents[i-1].End {
		return unwind.Extent{}, false
	}
	return p.extents[i-1], true
}

// functionOf returns the start of the function that pc belongs to, 0 if none.
func (p *program) functionOf(pc uint64) uint64 {
	e, ok := p.extentAt(pc)
	if !ok {
		return 0
	}
	if f, ok := p.owner[e.Start]; ok {
		return f
	}
	return e.Start
}

// assignParts finds the functions that parts belong to: extents that begin
// inside a frame, and are jumped to from the function.
func (p *program) assignParts() {
	for round := 0; round < 2; round++ {
		for _, t := range p.transfers {
			if t.kind != transferJump && t.kind != transferBranch {
				continue
			}
			to, ok := p.extentAt(t.target)
			if !ok || to.Called {
				continue
			}
			if f := p.functionOf(t.pc); f != 0 && p.starts[f] {
				if _, known := p.owner[to.Start]; !known {
					p.owner[to.Start] = f
				}
			}
		}
	}
}

// import or function that a direct call leads to.
func (p *program) stubAt(address uint64) string {
	name, ok := p.stubs[address]
	if !ok {
		name = p.stub(address)
		p.stubs[address] = name
	}
	return name
}

// referencesTo returns the instructions that name an address.
func (p *program) referencesTo(target uint64) []uint64 {
	i := sort.Search(len(p.references), func(i int) bool { return p.references[i].target >= target })
	var pcs []uint64
	for ; i < len(p.references) && p.references[i].target == target; i++ {
		pcs = append(pcs, p.references[i].pc)
	}
	return pcs
}

// functionsAt returns the functions of instructions, sorted, each once.
func (p *program) functionsAt(pcs []uint64) []uint64 {
	seen := make(map[uint64]bool)
	var out []uint64
	for _, pc := range pcs {
		if f := p.functionOf(pc); p.starts[f] && !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// callersOf returns the functions that call or tail-call one of the targets.
func (p *program) callersOf(targets ...uint64) []uint64 {
	var pcs []uint64
	for _, t := range targets {
		pcs = append(pcs, p.callers[t]...)
	}
	return p.functionsAt(pcs)
}

// callersOfImport returns the functions that call an import, through the
// linkage table or directly through its pointer, or take its address.
func (p *program) callersOfImport(names ...string) []uint64 {
	var pcs []uint64
	for target, from := range p.callers {
		for _, n := range names {
			if !p.starts[target] && p.stubAt(target) == n {
				pcs = append(pcs, from...)
			}
		}
	}
	for slot, name := range p.imports {
		for _, n := range names {
			if n == name {
				pcs = append(pcs, p.referencesTo(slot)...)
			}
		}
	}
	return p.functionsAt(pcs)
}
