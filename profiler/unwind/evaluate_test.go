// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
)

// machine is an arbitrary state of registers and memory, in which readelf's text
// and our rule must say the same.
type machine struct{ rip uint64 }

func (machine) mem(addr uint64) uint64 {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(nil, addr))
	return h.Sum64()
}

// reg is the value of the register with DWARF number n.
func (m machine) reg(n int) uint64 {
	if n == regRA {
		return m.rip
	}
	return 0x7ffc00000000 + uint64(n)*0x1000000
}

var (
	exprBreg  = regexp.MustCompile(`^DW_OP_breg(\d+) \(\w+\): (-?\d+)$`)
	exprConst = regexp.MustCompile(`^DW_OP_(?:lit(\d+)|(?:const\d?[us]|constu|consts): (-?\d+))$`)
	exprUcons = regexp.MustCompile(`^DW_OP_plus_uconst: (\d+)$`)
)

// eval evaluates an expression as readelf prints it.
func (m machine) eval(text string, stack ...uint64) (uint64, error) {
	for _, op := range strings.Split(text, "; ") {
		if match := exprBreg.FindStringSubmatch(op); match != nil {
			reg, _ := strconv.Atoi(match[1])
			off, _ := strconv.ParseInt(match[2], 10, 64)
			stack = append(stack, m.reg(reg)+uint64(off))
			continue
		}
		if match := exprConst.FindStringSubmatch(op); match != nil {
			v, _ := strconv.ParseInt(match[1]+match[2], 10, 64)
			stack = append(stack, uint64(v))
			continue
		}
		if len(stack) == 0 {
			return 0, fmt.Errorf("evaluate %q: empty stack", text)
		}
		top := &stack[len(stack)-1]
		if op == "DW_OP_deref" {
			*top = m.mem(*top)
			continue
		}
		if match := exprUcons.FindStringSubmatch(op); match != nil {
			v, _ := strconv.ParseUint(match[1], 10, 64)
			*top += v
			continue
		}
		if len(stack) < 2 {
			return 0, fmt.Errorf("evaluate %q: empty stack", text)
		}
		a, b := stack[len(stack)-2], *top
		stack = stack[:len(stack)-1]
		top = &stack[len(stack)-1]
		switch op {
		case "DW_OP_plus":
			*top = a + b
		case "DW_OP_mul":
			*top = a * b
		case "DW_OP_and":
			*top = a & b
		case "DW_OP_shl":
			*top = a << (b & 63)
		case "DW_OP_ge":
			*top = 0
			if int64(a) >= int64(b) {
				*top = 1
			}
		default:
			return 0, fmt.Errorf("evaluate %q: operation %q is not known to this test", text, op)
		}
	}
	return stack[len(stack)-1], nil
}

// cfa is the CFA that rule r gives.
func (m machine) cfa(r Rule) uint64 {
	base := m.reg(int(r.Reg)) + uint64(int64(r.Off))
	switch r.CFA {
	case CFADeref:
		return m.mem(base) + uint64(int64(r.Add))
	case CFAPLT:
		if m.rip&15 >= uint64(r.Add) {
			return base + 8
		}
	}
	return base
}

// saved is the caller's value of register n that s gives.
func (m machine) saved(s Saved, n int, cfa uint64) uint64 {
	off := uint64(int64(s.Off))
	switch s.Kind {
	case SavedCFA:
		return m.mem(cfa + off)
	case SavedRBP:
		return m.mem(m.reg(regRBP) + off)
	case SavedRSP:
		return m.mem(m.reg(regRSP) + off)
	case SavedRegister:
		return m.reg(int(s.Off))
	case SavedValue:
		return cfa + off
	}
	return m.reg(n)
}

// cellCFA is the CFA that a cell of readelf's gives: rsp+8, or exp:...
func (m machine) cellCFA(cell string) (uint64, error) {
	if expr, ok := strings.CutPrefix(cell, "exp:"); ok {
		return m.eval(expr)
	}
	at := strings.LastIndexAny(cell, "+-")
	if at < 0 {
		return 0, fmt.Errorf("CFA %q of readelf is not reg+off", cell)
	}
	off, err := strconv.ParseInt(cell[at:], 10, 64)
	n := registerNumber(cell[:at])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("CFA %q of readelf is not reg+off", cell)
	}
	return m.reg(n) + uint64(off), nil
}

// cellValue is the caller's value of register n that a cell gives, with CFA cfa.
func (m machine) cellValue(cell string, n int, cfa uint64) (uint64, error) {
	if expr, ok := strings.CutPrefix(cell, "exp:"); ok {
		addr, err := m.eval(expr, cfa)
		return m.mem(addr), err
	}
	if expr, ok := strings.CutPrefix(cell, "vexp:"); ok {
		return m.eval(expr, cfa)
	}
	if in := registerNumber(cell); in >= 0 {
		return m.reg(in), nil
	}
	switch cell {
	case "", "u", "s":
		return m.reg(n), nil
	}
	off, err := strconv.ParseInt(cell[1:], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cell %q of readelf is not known", cell)
	}
	switch cell[0] {
	case 'c':
		return m.mem(cfa + uint64(off)), nil
	case 'v':
		return cfa + uint64(off), nil
	}
	return 0, fmt.Errorf("cell %q of readelf is not known", cell)
}

func registerNumber(name string) int {
	for i, r := range registerNames {
		if r == name {
			return i
		}
	}
	return -1
}

// encodable are the expressions that may not be CFAUnsupported or SavedLost.
var (
	encodableCFA   = regexp.MustCompile(`^exp:DW_OP_breg\d+ \(\w+\): -?\d+(; DW_OP_deref)?(; DW_OP_plus_uconst: \d+)?$|DW_OP_lit15; DW_OP_and`)
	encodableSaved = regexp.MustCompile(`^(c|v)[-+]\d{1,4}$|^exp:DW_OP_breg[67] \(\w+\): -?\d{1,4}$`)
)

// sameRule compares our rule with readelf's row at pc.
func sameRule(ours Rule, row readelfRow, pc uint64) error {
	differ := func(what string) error {
		return fmt.Errorf("%s: %v, readelf has %v", what, ours, row.cells)
	}
	ra := row.cells["ra"]
	if ra == "u" || ours.CFA == CFAEnd {
		if ra != "u" || ours != (Rule{CFA: CFAEnd}) {
			return differ("end of stack")
		}
		return nil
	}
	switch ours.CFA {
	case CFAUndefined:
		return differ("not covered")
	case CFAUnsupported:
		// Only what the package comment lists, and nothing else, may be so.
		cfa, rsp := row.cells["CFA"], row.cells["rsp"]
		if row.signal && !strings.HasPrefix(cfa, "exp:") {
			return nil
		}
		if !(strings.HasPrefix(cfa, "exp:") && !encodableCFA.MatchString(cfa)) &&
			(rsp == "" || rsp == "u" || rsp == "v+0") && !strings.Contains(ra, "exp:") {
			return differ("needlessly unsupported")
		}
		return nil
	case CFASignal:
		m := machine{rip: pc}
		context := m.reg(regRSP) + 40 // uc_mcontext: r8..r15 rdi rsi rbp rbx rdx rax rcx rsp rip
		cfa, err := m.cellCFA(row.cells["CFA"])
		if err != nil || !row.signal || cfa != m.mem(context+15*8) {
			return differ("signal frame")
		}
		for i, n := range []int{8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16} {
			name := registerName(n)
			if n == regRA {
				name = "ra"
			}
			if v, err := m.cellValue(row.cells[name], n, cfa); err != nil || v != m.mem(context+uint64(i)*8) {
				return differ("signal frame's " + name)
			}
		}
		return nil
	}
	if row.signal {
		return differ("signal frame")
	}
	for low := uint64(0); low < 16; low++ { // for the PLT's expression
		m := machine{rip: pc&^15 + low}
		want, err := m.cellCFA(row.cells["CFA"])
		if err != nil {
			return err
		}
		if cfa := m.cfa(ours); cfa != want {
			return differ("CFA")
		}
		if !strings.HasPrefix(row.cells["CFA"], "exp:") {
			break
		}
	}
	m := machine{rip: pc}
	cfa := m.cfa(ours)
	retaddr := m.mem(cfa + uint64(int64(ours.RAOff)))
	if ours.RAReg >= 0 {
		retaddr = m.reg(int(ours.RAReg))
	}
	if want, err := m.cellValue(ra, regRA, cfa); err != nil || retaddr != want {
		return differ("return address")
	}
	if rsp := row.cells["rsp"]; rsp != "" && rsp != "u" && rsp != "v+0" {
		return differ("rsp")
	}
	for i, s := range ours.Saved {
		n := int(CalleeSaved[i])
		cell := row.cells[registerName(n)]
		if s.Kind == SavedLost {
			if cell == "" || cell == "u" || cell == "s" || encodableSaved.MatchString(cell) {
				return differ("needlessly lost " + registerName(n))
			}
			continue
		}
		if want, err := m.cellValue(cell, n, cfa); err != nil || m.saved(s, n, cfa) != want {
			return differ(registerName(n))
		}
	}
	return nil
}
