// SPDX-License-Identifier: Apache-2.0

// Package schema reads the table of report.json's fields from docs/report.md and
// holds reports against it, so that the page cannot say one thing and the
// program write another. It is for tests.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Schema says what fields a report has.
type Schema struct {
	root *field
}

// field is a value of the document, or the elements of a list.
type field struct {
	kind     string // of kinds; of a list, that of its elements
	isList   bool
	null     bool
	absent   bool
	children map[string]*field
}

// abbreviation stands for the path that most rows are about.
const abbreviation, abbreviated = "….", "reconciliation.phases[]."

// kinds of values in the table, with what they are as elements of a list.
var kinds = map[string]string{
	"string": "string", "number": "number", "bool": "bool", "time": "time", "object": "object",
	"numbers by name": "numbers by name", "objects": "object", "strings": "string",
}

const list = "[]" // behind the name of one

var quoted = regexp.MustCompile("`([^`]+)`")

// Parse reads the table below the heading "## report.json".
func Parse(page []byte) (*Schema, error) {
	_, rest, found := strings.Cut(string(page), "\n## report.json\n")
	if !found {
		return nil, errors.New("parse schema: no heading report.json")
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	s := &Schema{root: &field{kind: "object", children: map[string]*field{}}}
	for line := range strings.Lines(rest) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		base := ""
		for i, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			path := m[1]
			if short, ok := strings.CutPrefix(path, abbreviation); ok {
				path = abbreviated + short
			}
			if i == 0 {
				base = path[:strings.LastIndex(path, ".")+1]
			} else {
				path = base + strings.TrimPrefix(path, ".")
			}
			if err := s.add(path, strings.TrimSpace(cells[2])); err != nil {
				return nil, fmt.Errorf("parse schema: %s: %w", path, err)
			}
		}
	}
	if len(s.root.children) == 0 {
		return nil, errors.New("parse schema: the table is empty")
	}
	return s, nil
}

// add puts a field below its parent, which is in the table before it.
func (s *Schema) add(path, types string) error {
	f := &field{children: map[string]*field{}}
	path, f.isList = strings.CutSuffix(path, list)
	for kind := range strings.SplitSeq(types, " or ") {
		switch kind {
		case "null":
			f.null = true
		case "absent":
			f.absent = true
		default:
			if other, ok := strings.CutPrefix(kind, "objects like "); ok {
				// Fields that the other gets later are this one's too.
				same, err := s.find(strings.Trim(other, "`"))
				if err != nil {
					return err
				}
				f.kind, f.children = same.kind, same.children
				continue
			}
			known, ok := kinds[kind]
			if !ok {
				return fmt.Errorf("type %q is none", kind)
			}
			f.kind = known
		}
	}
	parent, name := s.root, path
	if dot := strings.LastIndex(path, "."); dot >= 0 {
		var err error
		if parent, err = s.find(path[:dot]); err != nil {
			return err
		}
		name = path[dot+1:]
	}
	if parent.children[name] != nil {
		return errors.New("it is there twice")
	}
	parent.children[name] = f
	return nil
}

// find returns the field at a path, in which lists end in "[]".
func (s *Schema) find(path string) (*field, error) {
	f := s.root
	for name := range strings.SplitSeq(path, ".") {
		name, isList := strings.CutSuffix(name, list)
		next := f.children[name]
		if next == nil || next.isList != isList {
			return nil, fmt.Errorf("%s is not in the table before it", name)
		}
		f = next
	}
	return f, nil
}

// Validate says all that a report has and should not, or should and has not, in
// the order of the fields' names.
func (s *Schema) Validate(report []byte) error {
	var v any
	if err := json.Unmarshal(report, &v); err != nil {
		return fmt.Errorf("validate report: %w", err)
	}
	if errs := s.root.check("", v); len(errs) > 0 {
		return fmt.Errorf("validate report: %w", errors.Join(errs...))
	}
	return nil
}

func (f *field) check(path string, v any) (errs []error) {
	if v == nil && f.null {
		return nil
	}
	if !f.isList {
		return f.checkOne(path, v)
	}
	all, ok := v.([]any)
	if !ok {
		return []error{fmt.Errorf("%s: %T is no list", path, v)}
	}
	for i, e := range all {
		errs = append(errs, f.checkOne(fmt.Sprintf("%s[%d]", path, i), e)...)
	}
	return errs
}

func (f *field) checkOne(path string, v any) (errs []error) {
	if !is(f.kind, v) {
		return []error{fmt.Errorf("%s: %v is no %s", path, v, f.kind)}
	}
	if f.kind != "object" {
		return nil
	}
	object := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		child := f.children[name]
		if child == nil {
			errs = append(errs, fmt.Errorf("%s.%s is not documented", path, name))
			continue
		}
		errs = append(errs, child.check(path+"."+name, object[name])...)
	}
	for _, name := range slices.Sorted(maps.Keys(f.children)) {
		if _, there := object[name]; !there && !f.children[name].absent {
			errs = append(errs, fmt.Errorf("%s.%s is missing", path, name))
		}
	}
	return errs
}

func is(kind string, v any) bool {
	switch v := v.(type) {
	case string:
		if kind == "time" {
			_, err := time.Parse(time.RFC3339Nano, v)
			return err == nil
		}
		return kind == "string"
	case float64:
		return kind == "number"
	case bool:
		return kind == "bool"
	case map[string]any:
		if kind == "numbers by name" {
			for _, n := range v {
				if !is("number", n) {
					return false
				}
			}
			return true
		}
		return kind == "object"
	}
	return false
}
