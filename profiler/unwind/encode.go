// SPDX-License-Identifier: Apache-2.0

package unwind

import "fmt"

// Reason says why a rule is CFAUnsupported.
type Reason uint8

const (
	ReasonMalformed     Reason = iota // the FDE or its CIE is broken
	ReasonCFA                         // the CFA is another expression, or not given
	ReasonStackPointer                // the caller's rsp is not the CFA
	ReasonReturnAddress               // the return address is found by an expression, or not given
	ReasonOffset                      // an offset does not fit its field
	ReasonSignalFrame                 // a signal frame other than rt_sigframe
	numReasons
)

var reasonNames = [numReasons]string{"malformed", "cfa expression", "stack pointer rule",
	"return address rule", "offset range", "signal frame"}

func (r Reason) String() string { return name(reasonNames[:], int(r)) }

// The kernel's struct rt_sigframe (arch/x86/include/asm/sigframe.h), as seen
// from __restore_rt, after the handler's return: rsp points at struct ucontext,
// whose uc_mcontext is at 40 and has rsp at 120 and rip at 128.
const (
	sigframeRSP = 40 + 120
	sigframeRIP = 40 + 128
)

// encode turns a row of the CFI table into a rule. ok is false when the rule is
// CFAUnsupported for reason. lost is the number of registers that are SavedLost.
func (s *state) encode(signal bool) (r Rule, reason Reason, lost int, ok bool) {
	unsupported := func(why Reason) (Rule, Reason, int, bool) {
		return Rule{CFA: CFAUnsupported}, why, 0, false
	}
	ra := s.regs[slotRA]
	if ra.kind == placeUndefined {
		return Rule{CFA: CFAEnd}, 0, 0, true
	}
	if signal {
		if s.cfa != (address{kind: CFADeref, reg: regRSP, off: sigframeRSP}) ||
			ra != (place{kind: placeRSP, arg: sigframeRIP}) {
			return unsupported(ReasonSignalFrame)
		}
		return Rule{CFA: CFASignal}, 0, 0, true
	}
	cfa := s.cfa
	if cfa.kind == CFAUndefined && s.hasReg && s.reg <= 15 {
		cfa = address{kind: CFARegister, reg: uint8(s.reg), off: s.off}
	}
	if cfa.kind == CFAUndefined || cfa.kind == CFAUnsupported {
		return unsupported(ReasonCFA)
	}
	if !fitsInt32(cfa.off) || !fitsInt32(cfa.add) {
		return unsupported(ReasonOffset)
	}
	if rsp := s.regs[slotRSP]; rsp.kind != placeNone && rsp != (place{kind: placeValue}) {
		return unsupported(ReasonStackPointer)
	}
	r = Rule{CFA: cfa.kind, Reg: cfa.reg, Off: int32(cfa.off), Add: int32(cfa.add), RAReg: -1}
	switch ra.kind {
	case placeCFA:
		if !fitsInt16(ra.arg) {
			return unsupported(ReasonOffset)
		}
		r.RAOff = int16(ra.arg)
	case placeRegister:
		r.RAReg = int8(ra.arg)
	default:
		return unsupported(ReasonReturnAddress)
	}
	for i := range r.Saved {
		if r.Saved[i] = s.regs[i].saved(); r.Saved[i].Kind == SavedLost {
			lost++
		}
	}
	return r, 0, lost, true
}

var savedKinds = [...]SavedKind{
	placeNone: SavedSame, placeSame: SavedSame, placeUndefined: SavedSame,
	placeCFA: SavedCFA, placeValue: SavedValue, placeRegister: SavedRegister,
	placeRBP: SavedRBP, placeRSP: SavedRSP, placeOther: SavedLost,
}

func (p place) saved() Saved {
	kind := savedKinds[p.kind]
	if kind == SavedLost || !fitsInt16(p.arg) {
		return Saved{Kind: SavedLost}
	}
	return Saved{Kind: kind, Off: int16(p.arg)}
}

// ruleSet gives equal rules one index.
type ruleSet struct {
	rules []Rule
	index map[Rule]uint32
	max   int
}

func newRuleSet(max int) ruleSet {
	return ruleSet{rules: []Rule{{}}, index: map[Rule]uint32{{}: 0}, max: max}
}

func (rs *ruleSet) add(r Rule) (uint32, error) {
	if i, ok := rs.index[r]; ok {
		return i, nil
	}
	if len(rs.rules) == rs.max {
		return 0, fmt.Errorf("over %d different rules", rs.max)
	}
	i := uint32(len(rs.rules))
	rs.rules = append(rs.rules, r)
	rs.index[r] = i
	return i, nil
}
