// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/dwarf"
	"errors"
	"strings"
)

const (
	attrNoreturn   dwarf.Attr = 0x87   // DW_AT_noreturn, DWARF 5 §3.3.1.1
	tagGNUCallSite dwarf.Tag  = 0x4109 // DW_TAG_GNU_call_site of gcc with DWARF 4
	coldSuffix                = "." + string(Cold)
)

// prove sets whether each call passes the instance's entry once.
func (d *finder) prove(owner *scope, in *Instance) {
	switch {
	case in.Problem != "" || in.Self || in.Nested:
		return
	case owner == nil:
		in.Doubt = "no function has its code"
		return
	}
	p, ok := d.flows[owner.die]
	if !ok {
		p.flow, p.err = d.flow(owner)
		d.flows[owner.die] = p
	}
	err := p.err
	if err == nil {
		err = p.flow.once(in.Entry, in.Ranges)
	}
	if in.Once = err == nil; err != nil {
		in.Doubt = err.Error()
	}
}

// owned is the flow of a function, or why there is none.
type owned struct {
	flow *flow
	err  error
}

// flow follows the code of a function.
func (d *finder) flow(owner *scope) (*flow, error) {
	e, err := d.entry(owner.die)
	if err != nil {
		return nil, err
	}
	ranges, err := d.codeRanges(e)
	if err != nil {
		return nil, err
	}
	// Of a function in pieces any but the cold ones may be where it begins.
	var entries []uint64
	for _, r := range ranges {
		if s, ok := d.code.symbol(r[0]); !ok || !strings.Contains(s.Name, coldSuffix) {
			entries = append(entries, r[0])
		}
	}
	if len(entries) == 0 {
		return nil, errors.New("no function has its code")
	}
	ends, err := d.endless(e)
	if err != nil {
		return nil, err
	}
	return newFlow(d.code, entries, ends, &d.work)
}

// endless returns the return addresses of those calls in a function of which it
// is known that they do not return (DWARF 5 §3.4.1).
func (d *finder) endless(owner *dwarf.Entry) (map[uint64]bool, error) {
	calls := make(map[uint64]dwarf.Offset)
	if _, err := d.entry(owner.Offset); err != nil { // the children follow
		return nil, err
	}
	depth := 0
	if owner.Children {
		depth = 1
	}
	for depth > 0 {
		c, err := d.reader.Next()
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, errors.New("unexpected end of .debug_info")
		}
		if d.work--; d.work < 0 {
			return nil, errTooMuch
		}
		switch {
		case c.Tag == 0:
			depth--
		case c.Tag == dwarf.TagCallSite || c.Tag == tagGNUCallSite:
			if pc, callee, ok := callSite(c); ok {
				calls[pc] = callee
			}
		}
		if c.Children {
			depth++
		}
	}
	ends := make(map[uint64]bool)
	for pc, callee := range calls {
		if root, err := d.origin(callee); err == nil {
			if e, err := d.entry(root); err == nil && e.Val(attrNoreturn) == true {
				ends[pc] = true
			}
		}
	}
	return ends, nil
}

// callSite returns the return address of a call and the callee's entry; those of
// DW_TAG_GNU_call_site are in other attributes.
func callSite(e *dwarf.Entry) (pc uint64, callee dwarf.Offset, ok bool) {
	pcAt, calleeAt := dwarf.AttrCallReturnPC, dwarf.AttrCallOrigin
	if e.Tag == tagGNUCallSite {
		pcAt, calleeAt = dwarf.AttrLowpc, dwarf.AttrAbstractOrigin
	}
	pc, havePC := e.Val(pcAt).(uint64)
	callee, haveCallee := e.Val(calleeAt).(dwarf.Offset)
	return pc, callee, havePC && haveCallee
}
