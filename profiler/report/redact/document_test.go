// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"leakprof/profiler/report"
)

// textFields calls f for each field below a type that has text, by its key.
func textFields(t reflect.Type, key string, f func(key string)) {
	switch t.Kind() {
	case reflect.String:
		f(key)
	case reflect.Pointer, reflect.Slice:
		textFields(t.Elem(), key, f)
	case reflect.Map:
		f(key) // its keys
		textFields(t.Elem(), key, f)
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range t.NumField() {
			textFields(t.Field(i).Type, fieldKey(t, i), f)
		}
	case reflect.Interface, reflect.Array, reflect.Chan, reflect.Func:
		f(key + " is a " + t.Kind().String() + ", which nobody replaces")
	}
}

// TestFields: what becomes of each field that has text is decided. A new field
// belongs into the table, and into docs/report.md.
func TestFields(t *testing.T) {
	found := make(map[string]bool)
	textFields(reflect.TypeFor[report.Document](), "", func(key string) {
		found[key] = true
		if fields[key] == nil {
			t.Errorf("report.json: %s is not in the table fields: what may stay of it?", key)
		}
	})
	for key := range fields {
		if !found[key] {
			t.Errorf("the table has %s, which is in no report", key)
		}
	}
}

// secrets are of somebody, in no other text; each is looked for.
var secrets = []string{
	"zyxorp", "quillfeather", "100.73.19", "172.29.211", "2a0c:b641", "dead:beef", "4211119999", "61999", "66:77:88:99", "grønvik", "顧客",
}

// planted is a text with all of them.
const planted = "Zyxorp-Kunde zyxorp_v4 of Grønvik and 顧客 at rtr7.zyxorp.net (100.73.19.201:179, 2a0c:b641:ff::dead:beef%zyxorp0, 172.29.211.0/24) " +
	"AS4211119999 AS 61999 (61999,61999,3) 61999:1 66:77:88:99:aa:bb root@zyxorp.example /home/quillfeather/zyxorp/bird.conf " +
	"https://zyxorp.net/quillfeather Root/Protocols/zyxorp zyxorp+0x1f"

// plant puts a text with all secrets into every field, with what makes a field
// look as it should.
func plant(key, _ string) string {
	switch key {
	case "Document.verdict":
		return "leak"
	case "DocumentStack.class":
		return "lost"
	case "DocumentPhase.name", "ReconciliationPhase.name":
		return "settled" + " " + planted
	case "DocumentLive.pool", "DocumentStack.pool", "DocumentHolder.pool":
		return "Root/Protocols/zyxorp_v4/Channel zyxorp_v4.ipv4 export/Routing table data Grønvik/顧客 100.73.19.201"
	case "DocumentFrame.file":
		return "/home/quillfeather/zyxorp/bird/proto/bmp/buffer.c"
	case "DocumentFrame.function":
		return "zyxorp.exe+0x1234"
	case "DocumentTarget.exe":
		return "/home/quillfeather/rtr7.zyxorp.net/100.73.19.201/usr/sbin/bird"
	case "Down.protocol":
		return "zyxorp_v4"
	}
	return planted
}

// fill makes one element of everything that can have some.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x").Convert(v.Type().Key()), reflect.New(v.Type().Elem()).Elem())
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[time.Time]() {
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		}
	}
}

func plantedDocument() *report.Document {
	var d report.Document
	fill(reflect.ValueOf(&d).Elem())
	visit(reflect.ValueOf(&d).Elem(), "", plant)
	d.Schema = report.Schema
	d.Started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d.Ended = d.Started.Add(time.Minute)
	return &d
}

func plantedProfile() *profile.Profile {
	m := &profile.Mapping{ID: 1, Limit: 1 << 40, File: "/home/quillfeather/bird", BuildID: "zyxorp"}
	f := &profile.Function{ID: 1, Name: "zyxorp+0x1", SystemName: planted, Filename: "/home/quillfeather/zyxorp/bird/nest/proto.c"}
	l := &profile.Location{ID: 1, Mapping: m, Line: []profile.Line{{Function: f, Line: 1}}}
	s := &profile.Sample{Location: []*profile.Location{l}, Value: []int64{1}, Label: map[string][]string{"zyxorp": {planted}}, NumLabel: map[string][]int64{"zyxorp": {1}, "cycle": {1}}, NumUnit: map[string][]string{"zyxorp": {planted}, "cycle": {planted}}}
	for name := range labels {
		s.Label[name] = []string{planted}
	}
	return &profile.Profile{
		SampleType: []*profile.ValueType{{Type: planted, Unit: planted}}, PeriodType: &profile.ValueType{Type: planted, Unit: planted}, DefaultSampleType: planted,
		Sample: []*profile.Sample{s}, Mapping: []*profile.Mapping{m}, Location: []*profile.Location{l}, Function: []*profile.Function{f},
		Comments: []string{planted}, DropFrames: planted, KeepFrames: planted, DocURL: planted,
	}
}

// TestLeftovers: of a report and a profile in which every field has names,
// addresses and paths, none is left in any form in which they are written.
func TestLeftovers(t *testing.T) {
	d, p := plantedDocument(), plantedProfile()
	var before bytes.Buffer
	if err := d.WriteJSON(&before); err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if !strings.Contains(strings.ToLower(before.String()), s) {
			t.Fatalf("%q was not planted", s)
		}
	}
	r := New()
	r.Document(d)
	r.Profile(p)
	var jsonFile, text, html, raw bytes.Buffer
	for _, err := range []error{
		d.WriteJSON(&jsonFile), d.WriteText(&text, report.TextOptions{Books: true}), d.WriteHTML(&html), p.WriteUncompressed(&raw), p.CheckValid(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"report.json": jsonFile.String(), "report.txt": text.String(), "report.html": html.String(), "profile": raw.String(), "profile's text": p.String()} {
		for _, s := range secrets {
			if i := strings.Index(strings.ToLower(content), s); i >= 0 {
				t.Errorf("%s has %q: …%s…", name, s, content[max(0, i-60):min(len(content), i+60)])
			}
		}
	}
	if _, err := report.ReadJSON(&jsonFile); err != nil {
		t.Error(err)
	}
	if got, want := d.Stacks[0].Frames[0].File, "/home/name"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "/bird/proto/bmp/buffer.c") {
		t.Errorf("source file %q: want %s…/bird/proto/bmp/buffer.c", got, want)
	}
	// A name is the same in the pool, in the session and in a sentence.
	name := d.Sessions.Down[0].Protocol
	if !strings.Contains(*d.Stacks[0].Pool, "/"+name+"/Channel "+name+".ipv4 export/") || !strings.Contains(d.VerdictSentence, " "+name+" ") {
		t.Errorf("protocol %q, pool %q, sentence %q", name, *d.Stacks[0].Pool, d.VerdictSentence)
	}
}

// TestLearn: a name that only a session has is the same in a sentence, though it
// is made of our words.
func TestLearn(t *testing.T) {
	first, second := plantedDocument(), plantedDocument()
	first.Sessions.Down[0].Protocol, second.Notes[0].Text = "zyx-peer", "session zyx-peer is down"
	r := New()
	r.Learn(first)
	r.Document(second)
	r.Document(first)
	if got, want := second.Notes[0].Text, "session "+first.Sessions.Down[0].Protocol+" is down"; got != want || strings.Contains(got, "zyx") {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHolder: who holds memory reads like its parts.
func TestHolder(t *testing.T) {
	poolName := "Root/Protocols/zyxorp"
	d := plantedDocument()
	d.Stacks[0].HeldBy = []report.DocumentHolder{
		{What: "Memory in " + poolName, Resource: "Memory", Pool: &poolName},
		{What: "proto_list+0x8 of zyxorp", Root: "proto_list+0x8 of zyxorp"},
		{What: "malloc", Resource: "malloc"},
	}
	r := New()
	r.Document(d)
	var got []string
	for _, h := range d.Stacks[0].HeldBy {
		got = append(got, h.What)
	}
	name := r.name("zyxorp")
	if want := []string{"Memory in Root/Protocols/" + name, "proto_list+0x8 of " + name, "malloc"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestMapping: a Redactor that goes on with a mapping gives the same pseudonyms,
// and new ones to what is new.
func TestMapping(t *testing.T) {
	first := New()
	d := plantedDocument()
	first.Document(d)
	first.Profile(plantedProfile())
	var mapping bytes.Buffer
	if err := first.WriteMapping(&mapping); err != nil {
		t.Fatal(err)
	}
	for _, e := range []string{`"zyxorp_v4"`, `"100.73.19.201"`, `"172.29.211.0/24"`, `"4211119999"`, `"rtr7.zyxorp.net"`, `"quillfeather"`} {
		if !strings.Contains(mapping.String(), e) {
			t.Errorf("the mapping does not have %s", e)
		}
	}
	second, err := Load(bytes.NewReader(mapping.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"quillfeather Zyxorp-Kunde", "100.73.19.201", "100.73.19.202", "172.29.211.7", "AS61999 AS61998", "newcomer", "2a0c:b641:ff::dead:bee0"} {
		if a, b := first.Text(s), second.Text(s); a != b {
			t.Errorf("%q: %q, and by the mapping %q", s, a, b)
		}
	}
	for _, c := range []struct{ change, to, err string }{
		{`"version": 1`, `"version": 2`, "version 2 is not known"},
		{`"kind": "as"`, `"kind": "sa"`, `kind "sa" is none`},
		{`"original": "100.73.19.201"`, `"original": "100.73.19.2010"`, "is no address"},
		{`"original": "61999"`, `"original": "619990"`, errChanged.Error()},
		{`"original": "61999"`, `"original": "x"`, "is no AS number"},
		{`"pseudonym": "name2"`, `"pseudonym": "name3"`, errChanged.Error()},
		{`{`, `[`, "read mapping: "},
	} {
		changed := strings.Replace(mapping.String(), c.change, c.to, 1)
		if _, err := Load(strings.NewReader(changed)); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.to, err, c.err)
		}
	}
}

func BenchmarkText(b *testing.B) {
	r := New()
	b.SetBytes(int64(len(planted)))
	for b.Loop() {
		r.Text(planted)
	}
}

func ExampleRedactor_Text() {
	r := New()
	fmt.Println(r.Text("AS3320 at 10.1.2.3: session of telekom is down"))
	// Output: AS64496 at 192.0.2.1: session of name1 is down
}
