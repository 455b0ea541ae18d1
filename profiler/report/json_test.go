// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"io"
	"maps"
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"leakprof/profiler/report/schema"
)

func TestReadJSONRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, leak()); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the report has no %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, c := range map[string]struct{ in, want string }{
		"nothing":           {"", "unexpected EOF"},
		"no object":         {"[]", "cannot unmarshal"},
		"null":              {"null", "schema 0"},
		"no schema":         {"{}", "schema 0"},
		"later schema":      {replace(`"schema": 2`, `"schema": 3`), "schema 3 is not known"},
		"a part":            {good[:len(good)/2], "unexpected EOF"},
		"two":               {good + good, "more than one"},
		"garbage behind":    {good + "x", "after the JSON value"},
		"no such verdict":   {replace(`"verdict": "leak"`, `"verdict": "fine"`), `verdict "fine"`},
		"no such class":     {replace(`"class": "lost"`, `"class": "gone"`), `stack 0: class "gone"`},
		"no name":           {replace(`"name": "flooded"`, `"name": ""`), "phase 2: it has no name"},
		"negative cycle":    {replace(`"cycle": 1`, `"cycle": -1`), "phase 1: cycle -1"},
		"negative bytes":    {replace(`"live_bytes": 40112`, `"live_bytes": -1`), "cannot unmarshal"},
		"no objects":        {replace(`"live_objects": 302`, `"live_objects": null`), "not both"},
		"not a time":        {replace(`"started": "2026-03-01T12:00:00Z"`, `"started": "yesterday"`), "parsing time"},
		"no function":       {replace(`"function": "malloc"`, `"function": ""`), "stack 0: frame 0 has no function"},
		"too deep":          {replace(`"frames": [`, `"frames": [`+strings.Repeat(`{"function":"f"},`, maxFrames)), "frames are more than"},
		"too many lines":    {replace(`"show_memory": [`, `"show_memory": [`+strings.Repeat(`{"name":"x"},`, maxLines)), "lines of show memory"},
		"too much health":   {replace(`"health": [`, `"health": [`+strings.Repeat(`{"name":"x"},`, maxLines)), "health are more than"},
		"arrays in arrays":  {strings.Repeat("[", 1<<20), "exceeded max depth"},
		"fields in a field": {replace(`"flood_cpu": {`, `"flood_cpu": {"x":`+strings.Repeat("[", 1<<20)), "exceeded max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadJSON(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "read report: ") {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	// A field of a later leakprof is no error.
	if _, err := ReadJSON(strings.NewReader(replace(`"schema": 2`, `"schema": 2, "later": [{}]`))); err != nil {
		t.Error(err)
	}
	// Endless input ends.
	if _, err := ReadJSON(io.MultiReader(strings.NewReader(good), spaces{})); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v for endless input", err)
	}
}

// TestDocumented: docs/report.md has every field.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() {
			return
		}
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !regexp.MustCompile("[.`]" + regexp.QuoteMeta(name) + `(\[\])?` + "[.`]").Match(page) {
				t.Errorf("%s.%s (%q) is not in docs/report.md", typ.Name(), field.Name, name)
			}
			check(field.Type)
		}
	}
	check(reflect.TypeFor[Document]())
}

// TestSchema: reports are as the table in docs/report.md has them.
func TestSchema(t *testing.T) {
	page, err := os.ReadFile("../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(results)
	all["empty"] = func() *Result { return &Result{Verdict: Verdict{Kind: Incomplete}} }
	for name, result := range all {
		var b bytes.Buffer
		if err := WriteJSON(&b, result()); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(b.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestWriteJSONRefuses(t *testing.T) {
	r := leak()
	r.Phases[0].ShowMemory[0].Effective = math.NaN()
	if err := WriteJSON(io.Discard, r); err == nil || !strings.HasPrefix(err.Error(), "write report: ") {
		t.Errorf("error %v for a number that JSON does not have", err)
	}
}

func FuzzReadJSON(f *testing.F) {
	// Small ones: the fuzzer spends its time on making large ones smaller.
	for _, seed := range []string{
		`"verdict":"clean"`,
		`"verdict":"leak","verdict_sentence":"leak: 1 kB","started":"2026-03-01T12:00:00Z","target":{"pid":1,"exe":"/bird","build_id":"0123456789abcdef"}`,
		`"verdict":"leak","stacks":[{"bytes":8,"objects":1,"slack_bytes":2,"class":"unknown","allocator":"mb","frames":[{"function":"malloc@plt"},{"function":"f","file":"a.c","line":7,"inlined":true}]}]`,
		`"verdict":"held","stacks":[{"class":"lost","bytes":-9223372036854775808,"objects":-9223372036854775808}]`,
		`"verdict":"held","phases":[{"name":"baseline","live_bytes":1,"live_objects":1},{"name":"settled","cycle":1,"routes":9,"show_memory":[{"name":"Total","text":"1 kB 3 B","overhead_bytes":-1e308,"effective_bytes":1e308}]}]`,
		`"verdict":"incomplete","phases":[{"name":"settled","cycle":1},{"name":"settled","cycle":2,"incomplete":"not quiet"}]`,
		`"verdict":"incomplete","health":[{"name":"x","count":2},{"name":"y","bound_bytes":20000,"harmless":true}],"stack_quality":{"allocations":3,"complete":9,"ends":{"z":1}},"flood_cpu":{"wall_seconds":2,"limit":"l"}`,
	} {
		f.Add([]byte(`{"schema":2,` + seed + `}`))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := ReadJSON(bytes.NewReader(in))
		if err != nil {
			return
		}
		// What was accepted can be printed, at any width, and written again.
		for _, o := range []TextOptions{{}, {Width: 60, Top: 1, Color: true, Dir: "a b"}, {Width: 200, Top: 1000}} {
			if err := d.WriteText(io.Discard, o); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := d.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		again, err := ReadJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(d, again) {
			t.Errorf("%+v\nbecame\n%+v", d, again)
		}
	})
}
