// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"testing"

	"leakprof/profiler/unwind"
)

func TestEncodeRule(t *testing.T) {
	const rbp, rsp = 6, 7
	saved := func(i int, s unwind.Saved) (all [6]unwind.Saved) {
		all[i] = s
		return all
	}
	for _, c := range []struct {
		name string
		in   unwind.Rule
		want liveUnwindRule
	}{
		{"undefined", unwind.Rule{}, liveUnwindRule{}},
		{"end", unwind.Rule{CFA: unwind.CFAEnd}, liveUnwindRule{Cfa: uint8(liveCfaKindCFA_END)}},
		{"signal", unwind.Rule{CFA: unwind.CFASignal}, liveUnwindRule{Cfa: uint8(liveCfaKindCFA_SIGNAL)}},
		{"unsupported", unwind.Rule{CFA: unwind.CFAUnsupported}, liveUnwindRule{Cfa: uint8(liveCfaKindCFA_UNSUPPORTED)}},
		{"a kind of the future", unwind.Rule{CFA: 99}, liveUnwindRule{Cfa: uint8(liveCfaKindCFA_UNSUPPORTED)}},
		{"rsp", unwind.Rule{CFA: unwind.CFARegister, Reg: rsp, Off: 1 << 20, RAReg: -1, RAOff: -8},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_REGISTER), Reg: rsp, Off: 1 << 20, RaReg: -1, RaOff: -8}},
		{"deref", unwind.Rule{CFA: unwind.CFADeref, Reg: rbp, Off: -8, Add: 16, RAReg: -1, RAOff: -8},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_DEREF), Reg: rbp, Off: -8, Add: 16, RaReg: -1, RaOff: -8}},
		{"plt", unwind.Rule{CFA: unwind.CFAPLT, Reg: rsp, Off: 8, Add: 11, RAReg: -1, RAOff: -8},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_PLT), Reg: rsp, Off: 8, Add: 11, RaReg: -1, RaOff: -8}},
		{"plt by another register", unwind.Rule{CFA: unwind.CFAPLT, Reg: rbp, Off: 8, Add: 11, RAReg: -1},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_UNSUPPORTED), Reg: rbp, Off: 8, Add: 11, RaReg: -1}},
		{"return address in a register", unwind.Rule{CFA: unwind.CFARegister, Reg: rsp, Off: 8, RAReg: 5},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_REGISTER), Reg: rsp, Off: 8, RaReg: 5}},
		{"saved at the CFA", unwind.Rule{Saved: saved(1, unwind.Saved{Kind: unwind.SavedCFA, Off: -16})},
			liveUnwindRule{Saved: [6]int16{1: -16}, SavedKind: [6]uint8{1: uint8(liveSavedKindSAVED_CFA)}}},
		{"saved at rbp", unwind.Rule{Saved: saved(0, unwind.Saved{Kind: unwind.SavedRBP, Off: -24})},
			liveUnwindRule{RbpBased: 1, Saved: [6]int16{-24}, SavedKind: [6]uint8{uint8(liveSavedKindSAVED_RBP)}}},
		{"saved at rsp", unwind.Rule{CFA: unwind.CFARegister, Reg: rsp, Off: 64, Saved: saved(5, unwind.Saved{Kind: unwind.SavedRSP, Off: 8})},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_REGISTER), Reg: rsp, Off: 64, Saved: [6]int16{5: -56}, SavedKind: [6]uint8{5: uint8(liveSavedKindSAVED_CFA)}}},
		{"saved at rsp, too far from the CFA", unwind.Rule{CFA: unwind.CFARegister, Reg: rsp, Off: 1 << 20, Saved: saved(5, unwind.Saved{Kind: unwind.SavedRSP, Off: 8})},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_REGISTER), Reg: rsp, Off: 1 << 20, Saved: [6]int16{5: 8}, SavedKind: [6]uint8{5: uint8(liveSavedKindSAVED_LOST)}}},
		{"saved at rsp, CFA by rbp", unwind.Rule{CFA: unwind.CFARegister, Reg: rbp, Off: 16, Saved: saved(2, unwind.Saved{Kind: unwind.SavedRSP, Off: 8})},
			liveUnwindRule{Cfa: uint8(liveCfaKindCFA_REGISTER), Reg: rbp, Off: 16, Saved: [6]int16{2: 8}, SavedKind: [6]uint8{2: uint8(liveSavedKindSAVED_LOST)}}},
		{"in another register", unwind.Rule{Saved: saved(3, unwind.Saved{Kind: unwind.SavedRegister, Off: 10})},
			liveUnwindRule{Saved: [6]int16{3: 10}, SavedKind: [6]uint8{3: uint8(liveSavedKindSAVED_LOST)}}},
		{"the value itself", unwind.Rule{Saved: saved(3, unwind.Saved{Kind: unwind.SavedValue, Off: 10})},
			liveUnwindRule{Saved: [6]int16{3: 10}, SavedKind: [6]uint8{3: uint8(liveSavedKindSAVED_LOST)}}},
		{"lost", unwind.Rule{Saved: saved(4, unwind.Saved{Kind: unwind.SavedLost})},
			liveUnwindRule{SavedKind: [6]uint8{4: uint8(liveSavedKindSAVED_LOST)}}},
	} {
		if got := encodeRule(c.in); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestCapacity: a table that several areas share counts once.
func TestCapacity(t *testing.T) {
	a := &unwind.Table{Rows: make([]unwind.Row, 10), Rules: make([]unwind.Rule, 3)}
	b := &unwind.Table{Rows: make([]unwind.Row, 5), Rules: make([]unwind.Rule, 1)}
	rows, rules := capacity([]Area{{Table: a}, {Table: a}, {Table: b}})
	if rows != 15+rowRoom || rules != 4+ruleRoom {
		t.Errorf("room for %d rows and %d rules, want %d and %d", rows, rules, 15+rowRoom, 4+ruleRoom)
	}
}

// TestTablesFull leaves out what there is no room for, and counts it.
func TestTablesFull(t *testing.T) {
	table := func(n int) *unwind.Table {
		return &unwind.Table{Rows: make([]unwind.Row, n), Rules: make([]unwind.Rule, 1)}
	}
	p, err := Load(Config{PID: os.Getpid(), MaxStacks: 1, Areas: []Area{{Start: 100, End: 200, Table: table(10)}}})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	defer p.Close()
	large := table(rowRoom + 1)
	areas := []Area{{Start: 300, End: 400, Table: large}, {Start: 100, End: 200, Table: table(20)}, {Start: 500, End: 600, Table: large}}
	if err := p.SetAreas(areas); err != nil {
		t.Fatal(err)
	}
	if n := p.LeftOut(); n != 2 {
		t.Errorf("%d areas left out, want 2", n)
	}
	var many []Area
	small := table(1)
	for i := range uint64(300) {
		many = append(many, Area{Start: 1000 + 10*i, End: 1005 + 10*i, Table: small})
	}
	if err := p.SetAreas(many); err != nil {
		t.Fatal(err)
	}
	if n := p.LeftOut(); n != 300-256 {
		t.Errorf("%d areas left out, want %d", n, 300-256)
	}
}
