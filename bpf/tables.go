// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"leakprof/profiler/unwind"
)

// Area is an executable part of a file in the target.
type Area struct {
	Start, End uint64 // addresses, End exclusive
	Bias       uint64 // address - ELF vaddr
	// Table is the file's unwind table. Areas of one file share it.
	Table *unwind.Table
}

// tables keeps what the kernel has of unwind rows, so that libraries which
// appear later are added behind the rows in use.
type tables struct {
	rows, rules   *ebpf.Map
	areas         *ebpf.Map
	version       *ebpf.Variable
	current       uint32
	usedRows      uint32
	ruleIndex     map[liveUnwindRule]uint32
	placed        map[*unwind.Table]uint32 // first row
	AreasLeftOut  int
	TablesLeftOut int
}

// rowRoom and ruleRoom are kept free for libraries that are loaded later.
const (
	rowRoom  = 1 << 16
	ruleRoom = 1 << 12
)

// capacity counts rows and rules for areas, with room for more.
func capacity(areas []Area) (rows, rules uint32) {
	seen := make(map[*unwind.Table]bool)
	for _, a := range areas {
		if !seen[a.Table] {
			seen[a.Table] = true
			rows += uint32(len(a.Table.Rows))
			rules += uint32(len(a.Table.Rules))
		}
	}
	return rows + rowRoom, rules + ruleRoom
}

// set makes areas the ones by which stacks are walked. A walk that runs at
// the same moment sees for each frame either all of the old ones or all of the
// new ones.
func (t *tables) set(areas []Area) error {
	areas = slices.Clone(areas)
	slices.SortFunc(areas, func(a, b Area) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	var value liveUnwindAreas
	t.AreasLeftOut, t.TablesLeftOut = 0, 0
	for _, a := range areas {
		if int(value.Count) == len(value.Area) {
			t.AreasLeftOut++
			continue
		}
		first, ok, err := t.place(a.Table)
		if err != nil {
			return err
		}
		if !ok {
			t.TablesLeftOut++
			continue
		}
		to := &value.Area[value.Count]
		to.Start, to.End, to.Bias = a.Start, a.End, a.Bias
		to.FirstRow, to.RowCount = first, uint32(len(a.Table.Rows))
		value.Count++
	}
	next := t.current + 1
	if err := t.areas.Put(next&1, &value); err != nil {
		return fmt.Errorf("write unwind areas: %w", err)
	}
	if err := t.version.Set(next); err != nil {
		return fmt.Errorf("turn to new unwind areas: %w", err)
	}
	t.current = next
	return nil
}

// place writes a table's rows unless they are there already, and returns the
// index of the first. ok is false when there is no room.
func (t *tables) place(table *unwind.Table) (first uint32, ok bool, err error) {
	if first, ok = t.placed[table]; ok {
		return first, true, nil
	}
	if uint64(t.usedRows)+uint64(len(table.Rows)) > uint64(t.rows.MaxEntries()) {
		return 0, false, nil
	}
	index := make([]uint32, len(table.Rules))
	for i, r := range table.Rules {
		rule := encodeRule(r)
		n, known := t.ruleIndex[rule]
		if !known {
			n = uint32(len(t.ruleIndex))
			if n >= t.rules.MaxEntries() {
				return 0, false, nil
			}
			if err := t.rules.Put(n, &rule); err != nil {
				return 0, false, fmt.Errorf("write unwind rule: %w", err)
			}
			t.ruleIndex[rule] = n
		}
		index[i] = n
	}
	rows := make([]liveUnwindRow, len(table.Rows))
	keys := make([]uint32, len(table.Rows))
	for i, r := range table.Rows {
		rows[i].Pc, rows[i].Rule = r.PC, index[r.Rule]
		keys[i] = t.usedRows + uint32(i)
	}
	if len(rows) > 0 {
		if _, err := t.rows.BatchUpdate(keys, rows, nil); err != nil {
			return 0, false, fmt.Errorf("write unwind rows: %w", err)
		}
	}
	first = t.usedRows
	t.usedRows += uint32(len(rows))
	t.placed[table] = first
	return first, true, nil
}

var cfaKinds = map[unwind.CFAKind]liveCfaKind{
	unwind.CFAUndefined:   liveCfaKindCFA_UNDEFINED,
	unwind.CFAUnsupported: liveCfaKindCFA_UNSUPPORTED,
	unwind.CFAEnd:         liveCfaKindCFA_END,
	unwind.CFARegister:    liveCfaKindCFA_REGISTER,
	unwind.CFADeref:       liveCfaKindCFA_DEREF,
	unwind.CFAPLT:         liveCfaKindCFA_PLT,
	unwind.CFASignal:      liveCfaKindCFA_SIGNAL,
}

const dwarfRSP = 7

// encodeRule turns a rule into what the programs know. A register saved in a
// way they do not know counts as lost, which ends a walk only if a frame
// further up is computed from it.
func encodeRule(r unwind.Rule) liveUnwindRule {
	kind, ok := cfaKinds[r.CFA]
	if !ok || r.CFA == unwind.CFAPLT && r.Reg != dwarfRSP {
		kind = liveCfaKindCFA_UNSUPPORTED
	}
	out := liveUnwindRule{Cfa: uint8(kind), Reg: r.Reg, RaReg: r.RAReg, Off: r.Off, Add: r.Add, RaOff: r.RAOff}
	for i, s := range r.Saved {
		kind := liveSavedKindSAVED_LOST
		off := s.Off
		switch {
		case s.Kind == unwind.SavedSame:
			kind, off = liveSavedKindSAVED_SAME, 0
		case s.Kind == unwind.SavedCFA:
			kind = liveSavedKindSAVED_CFA
		case s.Kind == unwind.SavedRBP:
			kind = liveSavedKindSAVED_RBP
			out.RbpBased = 1
		case s.Kind == unwind.SavedRSP && r.CFA == unwind.CFARegister && r.Reg == dwarfRSP:
			// CFA = rsp + Off, so rsp + x is CFA + x - Off.
			if v := int64(s.Off) - int64(r.Off); v == int64(int16(v)) {
				kind, off = liveSavedKindSAVED_CFA, int16(v)
			}
		}
		out.SavedKind[i], out.Saved[i] = uint8(kind), off
	}
	return out
}
