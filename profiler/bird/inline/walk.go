// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/dwarf"
	"errors"
)

// scope is a function that has code, or a call inlined into one.
type scope struct {
	die    dwarf.Offset
	origin dwarf.Offset // of an inlined call DW_AT_abstract_origin, else die
	parent int32        // the scope around it, -1 for none
	unit   int32
	depth  int32
}

func (s *scope) inlined() bool { return s.origin != s.die }

const (
	noScope   int32 = -1
	skipScope int32 = -2 // an entry whose descendants are of no interest
)

// walk collects the functions with code of a unit and the calls inlined into
// them. It does not recurse: how deep entries nest is the file's to choose.
func (d *finder) walk(index int) error {
	u := &d.units[index]
	e, err := d.entry(u.root)
	if err != nil {
		return err
	}
	if u.setRoot(e) {
		d.fail(ErrSplitDWARF)
	}
	if !e.Children {
		return nil
	}
	// open[i] is the scope around the children of the i-th entry whose
	// children are being read.
	open := []int32{noScope}
	for len(open) > 0 {
		e, err := d.reader.Next()
		if err != nil {
			return err
		}
		if e == nil || e.Offset >= u.end {
			return nil
		}
		if e.Tag == 0 { // end of siblings
			open = open[:len(open)-1]
			continue
		}
		inner := skipScope
		if outer := open[len(open)-1]; outer != skipScope {
			if inner, err = d.enter(e, outer, int32(index)); err != nil {
				return err
			}
		}
		if !e.Children {
			continue
		}
		if inner == skipScope {
			if sibling, ok := e.Val(dwarf.AttrSibling).(dwarf.Offset); ok && sibling > e.Offset && sibling < u.end {
				d.reader.Seek(sibling)
				continue
			}
		}
		open = append(open, inner)
	}
	return nil
}

// enter returns the scope of e's children, where outer is that around e.
func (d *finder) enter(e *dwarf.Entry, outer, unit int32) (int32, error) {
	s := scope{die: e.Offset, origin: e.Offset, parent: noScope, unit: unit}
	switch e.Tag {
	case dwarf.TagSubprogram:
		// An abstract function has no code, and nothing is inlined into it.
		if e.Val(dwarf.AttrLowpc) == nil && e.Val(dwarf.AttrRanges) == nil {
			return skipScope, nil
		}
	case dwarf.TagInlinedSubroutine:
		origin, ok, err := originOf(e)
		if err != nil {
			return skipScope, err
		}
		if !ok || origin == e.Offset {
			return outer, nil
		}
		s.origin, s.parent = origin, outer
		if outer >= 0 {
			s.depth = d.scopes[outer].depth + 1
		}
		if s.depth > maxDepth {
			return skipScope, errors.New("calls are inlined too deep")
		}
	case dwarf.TagLexDwarfBlock, dwarf.TagTryDwarfBlock, dwarf.TagCatchDwarfBlock, dwarf.TagNamespace, dwarf.TagModule:
		return outer, nil
	default:
		return skipScope, nil
	}
	d.scopes = append(d.scopes, s)
	return int32(len(d.scopes) - 1), nil
}
