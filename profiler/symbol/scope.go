// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"debug/dwarf"
	"fmt"
)

// scope is a function or an inlined call of a unit.
type scope struct {
	parent   int32        // the scope it is inlined into, -1 for a function
	die      dwarf.Offset // its entry, whose origin has the name
	callFile int          // index in the unit's files, 0 and up; -1 unknown
	callLine int
	depth    uint32
}

// maxInlineDepth bounds the frames that one address can have. gcc 12 nests at
// most a dozen levels in BIRD; deeper calls are left out and counted.
const maxInlineDepth = 64

const (
	noScope   int32 = -1 // an entry outside of functions
	skipScope int32 = -2 // an entry whose descendants are of no interest
)

// readScopes reads the functions and inlined calls of a unit. What is
// malformed is left out and counted.
func (d *dwarfIndex) readScopes(u *unit) {
	var spans []span
	if err := guard(func() error { return d.walk(u, &spans) }); err != nil {
		d.fail(fmt.Errorf("read unit at %#x: %w", u.root, err))
	}
	u.spans = newSpanTable(spans)
}

// walk visits the unit's entries in order, without recursion: the depth of the
// tree is the file's to choose.
func (d *dwarfIndex) walk(u *unit, spans *[]span) error {
	e, err := d.entry(u.root)
	if err != nil || !e.Children {
		return err
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
		inner := d.enter(u, e, open[len(open)-1], spans)
		if !e.Children {
			continue
		}
		if sibling, ok := e.Val(dwarf.AttrSibling).(dwarf.Offset); ok && inner == skipScope && sibling > e.Offset && sibling < u.end {
			d.reader.Seek(sibling)
			continue
		}
		open = append(open, inner)
	}
	return nil
}

// enter returns the scope of e's children, where outer is that of e.
func (d *dwarfIndex) enter(u *unit, e *dwarf.Entry, outer int32, spans *[]span) int32 {
	if outer == skipScope {
		return skipScope
	}
	s := scope{parent: noScope, die: e.Offset, callFile: -1}
	switch e.Tag {
	case dwarf.TagSubprogram:
		if e.Val(dwarf.AttrDeclaration) != nil {
			return skipScope
		}
	case dwarf.TagInlinedSubroutine:
		if outer == noScope {
			return noScope // in an abstract instance: no code
		}
		s.parent = outer
		s.depth = u.scopes[outer].depth + 1
		if file, ok := e.Val(dwarf.AttrCallFile).(int64); ok {
			s.callFile = int(file)
		}
		if line, ok := e.Val(dwarf.AttrCallLine).(int64); ok {
			s.callLine = int(line)
		}
	case dwarf.TagLexDwarfBlock, dwarf.TagTryDwarfBlock, dwarf.TagCatchDwarfBlock,
		dwarf.TagNamespace, dwarf.TagModule, dwarf.TagClassType, dwarf.TagStructType, dwarf.TagUnionType:
		return outer
	default:
		return skipScope
	}
	if s.depth >= maxInlineDepth {
		d.stats.DeepInlines++
		return outer
	}
	ranges, err := d.data.Ranges(e)
	if err != nil {
		d.fail(fmt.Errorf("read ranges of entry at %#x: %w", e.Offset, err))
		return outer
	}
	ranges = d.inText(ranges)
	if len(ranges) == 0 && e.Tag == dwarf.TagSubprogram {
		return noScope // abstract, or dropped by the linker
	}
	id := int32(len(u.scopes))
	u.scopes = append(u.scopes, s)
	for _, r := range ranges {
		*spans = append(*spans, span{r[0], r[1], uint64(s.depth)<<32 | uint64(id), id})
	}
	return id
}
