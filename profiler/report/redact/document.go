// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"leakprof/profiler/report"
)

// rule says what becomes of a field.
type rule func(*Redactor, string) string

// What a field can be.
var (
	text     rule = (*Redactor).Text
	poolPath rule = (*Redactor).pool
	filePath rule = (*Redactor).Path
	source   rule = (*Redactor).source
	module   rule = (*Redactor).pathPart
	function rule = (*Redactor).function
	root     rule = (*Redactor).root
	ownName  rule = (*Redactor).name
)

// fields decides on everything in a report that is text, by the type that has it
// and its name in report.json. What leakprof says of itself, such as the name of
// a phase, is text: of that its own words stay. A field that is missing here is
// text as well, and TestFields fails.
var fields = map[string]rule{
	"Document.verdict":          text,
	"Document.verdict_sentence": text,
	"Document.mode":             text,
	"Document.covered":          text,
	"Document.not_covered":      text,
	"Document.names_hint":       text,

	"DocumentTarget.exe":      filePath,
	"DocumentTarget.build_id": (*Redactor).buildIDOf,
	"DocumentTarget.version":  (*Redactor).version,
	"DocumentTarget.symbols":  text,

	"DocumentPhase.name":       text,
	"DocumentPhase.bmp_counts": text,
	"DocumentPhase.incomplete": text,
	"DocumentSearch.doubt":     text,
	"DocumentMemoryLine.name":  text,
	"DocumentMemoryLine.text":  text,
	"DocumentLive.allocator":   text,
	"DocumentLive.pool":        poolPath,

	"Note.text": text,

	"DocumentStack.class":       text,
	"DocumentStack.why_unknown": text,
	"DocumentStack.allocator":   text,
	"DocumentStack.resource":    text,
	"DocumentStack.pool":        poolPath,
	"DocumentStack.end":         text,
	"DocumentFrame.function":    function,
	"DocumentFrame.file":        source,
	"DocumentFrame.module":      module,
	"DocumentFrame.address":     text,
	"DocumentFrame.source":      text,
	"DocumentHolder.what":       text, // made anew of the others where it can
	"DocumentHolder.pool":       poolPath,
	"DocumentHolder.resource":   text,
	"DocumentHolder.root":       root,

	"ReconciliationPhase.name":    text,
	"ReconciliationPhase.missing": text,
	"Account.why":                 text,
	"Account.free_pages":          text,
	"Line.name":                   text,
	"Reason.where":                text,
	"Reason.reason":               text,
	"Part.name":                   text,
	"Part.title":                  text,
	"Footprint.notes":             text,

	"DocumentBefore.unknown":    text,
	"DocumentHealth.name":       text,
	"DocumentHealth.meaning":    text,
	"DocumentStackQuality.ends": text,
	"DocumentFloodCPU.limit":    text,

	"DocumentEstimate.sentence": text,
	"DocumentModeCost.mode":     text,
	"DocumentGuardStep.from":    text,
	"DocumentGuardStep.to":      text,
	"DocumentGuardStep.reason":  text,

	"DocumentSessions.told_by": text,
	"Down.peer":                text,
	"Down.protocol":            ownName,
	"Down.phase":               text,
	"Down.reason":              text,
	"Down.cause":               text,
}

// Learn takes in the names of protocols, tables and peers from where only such
// stand in a report, and gives them pseudonyms: sentences that quote them, in this
// report or another, then have the same.
func (r *Redactor) Learn(d *report.Document) {
	visit(reflect.ValueOf(d).Elem(), "", func(key, s string) string {
		switch {
		case key == "Down.protocol":
			r.learn(s)
		case strings.HasSuffix(key, ".pool"):
			r.pool(s)
		case strings.HasSuffix(key, ".build_id"):
			r.buildIDOf(s)
		}
		return s
	})
}

// Document replaces in place what Learn has learned and all else.
func (r *Redactor) Document(d *report.Document) {
	r.Learn(d)
	for _, stacks := range [][]report.DocumentStack{d.Stacks, d.LostBefore} {
		for i := range stacks {
			for j := range stacks[i].HeldBy {
				r.holder(&stacks[i].HeldBy[j])
			}
		}
	}
	visit(reflect.ValueOf(d).Elem(), "", func(key, s string) string {
		if strings.HasPrefix(key, "DocumentHolder.") {
			return s // done
		}
		if f := fields[key]; f != nil {
			return f(r, s)
		}
		return r.Text(s)
	})
}

// holder replaces in who holds memory: what it is in words is its root, or its
// resource in its pool.
func (r *Redactor) holder(h *report.DocumentHolder) {
	isRoot := h.Root != "" && h.What == h.Root
	inPool := h.Pool != nil && h.What == h.Resource+" in "+*h.Pool
	h.Root, h.Resource = r.root(h.Root), r.Text(h.Resource)
	if h.Pool != nil {
		p := r.pool(*h.Pool)
		h.Pool = &p
	}
	switch {
	case isRoot:
		h.What = h.Root
	case inPool:
		h.What = h.Resource + " in " + *h.Pool
	default:
		h.What = r.Text(h.What)
	}
}

// visit goes through all text of a value, in the order of its fields, and puts
// in its place what f makes of it. key is the field that has it (fieldKey).
func visit(v reflect.Value, key string, f func(key, s string) string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Elem(), key, f)
		}
	case reflect.String:
		v.SetString(f(key, v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), key, f)
		}
	case reflect.Map:
		replaced := reflect.MakeMapWithSize(v.Type(), v.Len())
		for _, k := range sortedKeys(v) {
			replaced.SetMapIndex(reflect.ValueOf(f(key, k)).Convert(v.Type().Key()), v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key())))
		}
		if !v.IsNil() {
			v.Set(replaced)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			visit(v.Field(i), fieldKey(v.Type(), i), f)
		}
	}
}

// sortedKeys returns the keys of a map by text in their order.
func sortedKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

// fieldKey names a field by its type and its name in JSON; an embedded one has
// the name of its type, whose fields have names of their own.
func fieldKey(t reflect.Type, i int) string {
	f := t.Field(i)
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		name = f.Name
	}
	return t.Name() + "." + name
}
