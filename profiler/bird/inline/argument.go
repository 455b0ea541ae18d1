// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/dwarf"
	"errors"
	"fmt"
)

// parameter is one of a function's formal parameters.
type parameter struct {
	root dwarf.Offset
	name string
	size int
}

// maxParameters bounds the parameters of one function.
const maxParameters = 256

// parameters reads those of the function whose entry is e, in order.
func (d *finder) parameters(e *dwarf.Entry) ([]parameter, error) {
	entries, err := d.formal(e)
	if err != nil {
		return nil, err
	}
	list := make([]parameter, 0, len(entries))
	for _, p := range entries {
		name, _ := p.Val(dwarf.AttrName).(string)
		list = append(list, parameter{root: p.Offset, name: name, size: d.size(p)})
	}
	return list, nil
}

// formal returns the DW_TAG_formal_parameter children of e.
func (d *finder) formal(e *dwarf.Entry) ([]*dwarf.Entry, error) {
	if !e.Children {
		return nil, nil
	}
	if _, err := d.entry(e.Offset); err != nil { // the children follow
		return nil, err
	}
	var list []*dwarf.Entry
	for depth := 1; depth > 0; {
		c, err := d.reader.Next()
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, errors.New("unexpected end of .debug_info")
		}
		if c.Tag == 0 {
			depth--
			continue
		}
		if depth == 1 && c.Tag == dwarf.TagFormalParameter {
			if list = append(list, c); len(list) > maxParameters {
				return nil, fmt.Errorf("function at %#x has more than %d parameters", e.Offset, maxParameters)
			}
		}
		if !c.Children {
			continue
		}
		if depth == 1 && len(list) > 0 && c.Tag != dwarf.TagFormalParameter {
			return list, nil // compilers put the parameters first
		}
		depth++
	}
	return list, nil
}

// arguments finds the values of an instance's parameters when its entry is
// reached. Those that are not mentioned stay as they are.
func (d *finder) arguments(s *scope, fn *function, owner *scope, entry point, args []Arg) {
	e, err := d.entry(s.die)
	var entries []*dwarf.Entry
	if err == nil {
		entries, err = d.formal(e)
	}
	if err != nil {
		for i := range args {
			args[i].Why = err.Error()
		}
		return
	}
	ev := &evaluator{unit: &d.units[s.unit], sections: &d.sections}
	ev.frameBase = func() (term, error) { return d.frameBase(owner, entry) }
	for _, p := range entries {
		root, err := d.origin(p.Offset)
		if err != nil {
			continue
		}
		for i := range args {
			if fn.parameters[i].root != root {
				continue
			}
			found, err := d.argument(ev, p, entry)
			if err != nil {
				found = Arg{Why: err.Error()}
			}
			found.Name, found.Size = args[i].Name, args[i].Size
			args[i] = found
		}
	}
}

// attrGNULocviews is DW_AT_GNU_locviews: the view numbers of the location list.
const attrGNULocviews dwarf.Attr = 0x2137

// argument returns where the value of the parameter p is at the entry.
func (d *finder) argument(ev *evaluator, p *dwarf.Entry, entry point) (Arg, error) {
	if f := p.AttrField(dwarf.AttrConstValue); f != nil {
		switch v := f.Val.(type) {
		case int64:
			return Arg{Kind: Constant, Offset: v}, nil
		case uint64: // DW_FORM_addr
			return Arg{Kind: Register, Register: LoadBias, Offset: int64(v)}, nil
		case []byte:
			if len(v) <= 8 {
				return constant(v), nil
			}
		}
		return Arg{}, fmt.Errorf("constant of class %v", f.Class)
	}
	field := p.AttrField(dwarf.AttrLocation)
	if field == nil {
		return Arg{}, errOptimized
	}
	views := int64(-1)
	if v, ok := p.Val(attrGNULocviews).(int64); ok {
		views = v
	}
	expressions, err := d.expressions(ev.unit, field, views, entry)
	if err != nil {
		return Arg{}, err
	}
	if len(expressions) == 0 {
		return Arg{}, errors.New("not known at the entry")
	}
	arg, err := ev.evaluate(expressions[0])
	for _, later := range expressions[1:] {
		if other, _ := ev.evaluate(later); err == nil && other != arg {
			return Arg{}, errors.New("the value changes at the entry")
		}
	}
	return arg, err
}

// expressions returns the location expressions of an attribute that hold at the
// entry.
func (d *finder) expressions(u *unit, field *dwarf.Field, views int64, entry point) ([][]byte, error) {
	var off int64
	switch v := field.Val.(type) {
	case []byte:
		return [][]byte{v}, nil
	case int64:
		off = v
	case uint64:
		var err error
		if off, err = u.listOffset(&d.sections, v); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("location of class %v", field.Class)
	}
	list, err := u.locations(&d.sections, off, views, &d.locations)
	if err != nil {
		return nil, err
	}
	return at(list, entry), nil
}

// frameBase returns what DW_OP_fbreg means in a function (DWARF 5 §3.3.5).
func (d *finder) frameBase(owner *scope, entry point) (term, error) {
	if owner == nil {
		return term{}, errFrameBase
	}
	e, err := d.entry(owner.die)
	if err != nil {
		return term{}, err
	}
	field := e.AttrField(dwarf.AttrFrameBase)
	if field == nil {
		return term{}, errFrameBase
	}
	u := &d.units[owner.unit]
	expressions, err := d.expressions(u, field, -1, entry)
	if err != nil || len(expressions) == 0 {
		return term{}, errFrameBase
	}
	// DW_OP_regN here means that the base is in the register, and any other
	// expression computes it; neither is the address of a variable.
	ev := evaluator{unit: u, sections: &d.sections}
	a, err := ev.evaluate(expressions[0])
	switch {
	case err != nil:
		return term{}, errFrameBase
	case a.Kind == Register:
		return term{base: a.Register, offset: a.Offset}, nil
	case a.Kind == Memory:
		return term{base: a.Register, offset: a.Offset}, nil
	}
	return term{}, errFrameBase
}
