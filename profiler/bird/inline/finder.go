// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"cmp"
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
)

const (
	// maxDepth bounds how deep calls are inlined into each other; gcc 12 makes
	// a dozen levels in BIRD.
	maxDepth = 64
	// maxOrigins bounds the hops from an entry to the one that has the name;
	// compilers need at most three.
	maxOrigins = 16
	// maxInstances bounds the result. BIRD 2.19 has 300 instances of its most
	// copied function of interest.
	maxInstances = 1 << 16
	// maxLocations and maxRanges bound what is read of location and range
	// lists, together; BIRD needs some thousands.
	maxLocations = 1 << 22
	maxRanges    = 1 << 22
)

// function is the entry that a function's copies and clones come from.
type function struct {
	root       dwarf.Offset
	name       string
	parameters []parameter
}

// finder reads a file's debugging entries.
type finder struct {
	data     *dwarf.Data
	reader   *dwarf.Reader
	sections sections
	code     *code
	names    map[string]bool
	units    []unit
	scopes   []scope
	// origins are entries' last ones on the way by DW_AT_abstract_origin and
	// DW_AT_specification.
	origins   map[dwarf.Offset]dwarf.Offset
	functions map[dwarf.Offset]*function // by root; nil if not asked for
	sizes     map[dwarf.Offset]int       // of types
	flows     map[dwarf.Offset]owned     // by the function with code
	locations budget
	ranges    int
	work      int   // what is left of maxWork
	problem   error // the first reason why instances may be missing
}

func newFinder(f *elf.File, names []string) (*finder, error) {
	data, own, err := loadDWARF(f)
	if err != nil {
		return nil, err
	}
	d := &finder{
		data:      data,
		reader:    data.Reader(),
		sections:  own,
		code:      newCode(f),
		names:     make(map[string]bool),
		origins:   make(map[dwarf.Offset]dwarf.Offset),
		functions: make(map[dwarf.Offset]*function),
		sizes:     make(map[dwarf.Offset]int),
		flows:     make(map[dwarf.Offset]owned),
		locations: maxLocations,
		ranges:    maxRanges,
		work:      maxWork,
	}
	for _, name := range names {
		d.names[name] = true
	}
	return d, nil
}

func (d *finder) fail(err error) {
	if d.problem == nil {
		d.problem = err
	}
}

// find walks all units, and then looks at those copies whose names were asked
// for.
func (d *finder) find() (map[string][]Instance, error) {
	for off := 0; off < len(d.sections.info); {
		u, err := parseUnit(d.sections.info, off)
		if err != nil {
			if int(u.end) <= off {
				return nil, err // nobody knows where the next one begins
			}
			d.fail(err)
			off = int(u.end)
			continue
		}
		off = int(u.end)
		d.units = append(d.units, u)
		if err := d.walk(len(d.units) - 1); err != nil {
			d.fail(fmt.Errorf("read unit at %#x: %w", u.root, err))
		}
	}
	found := make(map[string][]Instance)
	count := 0
	for i := range d.scopes {
		s := &d.scopes[i]
		if !s.inlined() {
			continue
		}
		fn, err := d.function(s.origin)
		if err != nil {
			d.fail(fmt.Errorf("read inlined call at %#x: %w", s.die, err))
			continue
		}
		if fn == nil {
			continue
		}
		if count++; count > maxInstances {
			return found, fmt.Errorf("find inlined calls: more than %d", maxInstances)
		}
		if in, ok := d.instance(s, fn); ok {
			found[fn.name] = append(found[fn.name], in)
		}
	}
	d.code.check(found)
	for _, list := range found {
		slices.SortStableFunc(list, func(a, b Instance) int { return cmp.Compare(a.Entry, b.Entry) })
	}
	return found, d.problem
}

// entry reads the entry at off.
func (d *finder) entry(off dwarf.Offset) (*dwarf.Entry, error) {
	d.reader.Seek(off)
	e, err := d.reader.Next()
	if err == nil && (e == nil || e.Tag == 0) {
		err = fmt.Errorf("no entry at %#x", off)
	}
	return e, err
}

// origin returns where an entry's name, type and position come from: often in
// another unit, with LTO always. The inlined or cloned entry may repeat some.
func (d *finder) origin(off dwarf.Offset) (dwarf.Offset, error) {
	if root, ok := d.origins[off]; ok {
		return root, nil
	}
	at := off
	for range maxOrigins {
		e, err := d.entry(at)
		if err != nil {
			return 0, err
		}
		next, ok, err := originOf(e)
		if err != nil {
			return 0, err
		}
		if !ok {
			d.origins[off] = at
			return at, nil
		}
		at = next
	}
	return 0, errors.New("too many DW_AT_abstract_origin hops")
}

func originOf(e *dwarf.Entry) (dwarf.Offset, bool, error) {
	for _, attr := range []dwarf.Attr{dwarf.AttrAbstractOrigin, dwarf.AttrSpecification} {
		f := e.AttrField(attr)
		if f == nil {
			continue
		}
		if f.Class == dwarf.ClassReferenceAlt {
			return 0, false, ErrSupplementary
		}
		off, ok := f.Val.(dwarf.Offset)
		if !ok {
			return 0, false, fmt.Errorf("%v of entry at %#x is of class %v", attr, e.Offset, f.Class)
		}
		return off, true, nil
	}
	return 0, false, nil
}

// function returns the function that the entry at off is a copy of, nil if it
// is not one of those asked for.
func (d *finder) function(off dwarf.Offset) (*function, error) {
	root, err := d.origin(off)
	if err != nil {
		return nil, err
	}
	if fn, ok := d.functions[root]; ok {
		return fn, nil
	}
	e, err := d.entry(root)
	if err != nil {
		return nil, err
	}
	if f := e.AttrField(dwarf.AttrName); f != nil && f.Class == dwarf.ClassStringAlt {
		return nil, ErrSupplementary
	}
	name, _ := e.Val(dwarf.AttrName).(string)
	var fn *function
	if d.names[name] {
		fn = &function{root: root, name: name}
		if fn.parameters, err = d.parameters(e); err != nil {
			return nil, err
		}
	}
	d.functions[root] = fn
	return fn, nil
}

// name returns the name of a function that need not be one asked for.
func (d *finder) name(off dwarf.Offset) string {
	root, err := d.origin(off)
	if err != nil {
		return ""
	}
	e, err := d.entry(root)
	if err != nil {
		return ""
	}
	name, _ := e.Val(dwarf.AttrName).(string)
	return name
}

// attrGNUEntryView is DW_AT_GNU_entry_view: the step at DW_AT_entry_pc with
// which the call begins.
const attrGNUEntryView dwarf.Attr = 0x2138

// instance reads an inlined call. It is false for one without code.
func (d *finder) instance(s *scope, fn *function) (Instance, bool) {
	in := Instance{Function: fn.name, Args: make([]Arg, len(fn.parameters))}
	for i, p := range fn.parameters {
		in.Args[i] = Arg{Name: p.name, Size: p.size, Why: errOptimized.Error()}
	}
	e, err := d.entry(s.die)
	if err == nil {
		in.Ranges, err = d.codeRanges(e)
	}
	if err != nil {
		in.Problem = err.Error()
		return in, true
	}
	owner := d.ancestors(s, fn, &in)
	entry, ok := d.entryPoint(e, &in)
	if !ok {
		return in, len(in.Ranges) > 0
	}
	d.locate(owner, &in)
	if in.Problem == "" {
		d.arguments(s, fn, owner, entry, in.Args)
	}
	d.prove(owner, &in)
	return in, true
}

// ancestors sets what the calls around say, and returns the function whose code
// it is, nil if there is none.
func (d *finder) ancestors(s *scope, fn *function, in *Instance) *scope {
	for p := s.parent; p >= 0; p = d.scopes[p].parent {
		outer := &d.scopes[p]
		same := false
		if other, err := d.function(outer.origin); err == nil {
			same = other == fn
		}
		if !outer.inlined() {
			in.Into, in.Self = d.name(outer.origin), same
			return outer
		}
		in.Nested = in.Nested || same
	}
	return nil
}

// codeRanges returns where the entry's code is. The linker leaves the debug
// information of discarded functions behind, at addresses without code.
func (d *finder) codeRanges(e *dwarf.Entry) ([][2]uint64, error) {
	ranges, err := d.data.Ranges(e)
	if err != nil {
		return nil, fmt.Errorf("read ranges: %w", err)
	}
	if d.ranges -= len(ranges); d.ranges < 0 {
		return nil, errors.New("read ranges: there are too many")
	}
	return slices.DeleteFunc(ranges, func(r [2]uint64) bool {
		return r[0] >= r[1] || !d.code.executable(r[0])
	}), nil
}

// entryPoint sets the instance's entry. It is false if there is none.
func (d *finder) entryPoint(e *dwarf.Entry, in *Instance) (point, bool) {
	var entry point
	switch pc := e.AttrField(dwarf.AttrEntrypc); {
	case pc != nil && pc.Class == dwarf.ClassAddress:
		entry.pc, _ = pc.Val.(uint64)
		in.By = EntryPC
		if view, ok := e.Val(attrGNUEntryView).(int64); ok && view >= 0 {
			entry.view, in.By = uint64(view), EntryView
		}
	case pc != nil && pc.Class == dwarf.ClassConstant && len(in.Ranges) > 0:
		// DWARF 5 §2.18: from the lowest, or else first, address.
		offset, _ := pc.Val.(int64)
		entry.pc = in.Ranges[0][0] + uint64(offset)
		in.By = EntryPC
	case len(in.Ranges) == 1:
		entry.pc, in.By = in.Ranges[0][0], EntryLow
	case len(in.Ranges) > 1:
		entry.pc, in.By = in.Ranges[0][0], EntryRange
	default:
		return entry, false
	}
	if !d.code.executable(entry.pc) {
		if len(in.Ranges) > 0 {
			in.Problem = fmt.Sprintf("entry %#x is not in code", entry.pc)
		}
		return entry, false
	}
	in.Entry = entry.pc
	return entry, true
}

// locate sets the symbol around the entry, or what stands for it.
func (d *finder) locate(owner *scope, in *Instance) {
	if symbol, ok := d.code.symbol(in.Entry); ok {
		in.Symbol, in.Start = symbol.Name, symbol.Value
		return
	}
	if owner == nil {
		in.Problem = "no function has the entry's code"
		return
	}
	e, err := d.entry(owner.die)
	if err != nil {
		in.Problem = err.Error()
		return
	}
	ranges, err := d.codeRanges(e)
	if err != nil {
		in.Problem = err.Error()
		return
	}
	for _, r := range ranges {
		if r[0] <= in.Entry && in.Entry < r[1] {
			in.Start = r[0]
			return
		}
	}
	in.Problem = fmt.Sprintf("entry is outside of %s", in.Into)
}
