// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/attribution"
	"leakprof/profiler/symbol"
)

// stackOf is a stack of frames as reports have them.
func stackOf(frames ...symbol.Frame) DocumentStack { return DocumentStack{Frames: newFrames(frames)} }

var (
	byAddress   = symbol.Frame{Function: "bird+0x10", Module: "bird", Address: 0x10, Source: symbol.SourceAddress}
	byFile      = symbol.Frame{Function: "bird+0x20", Module: "bird", Address: 0x20, File: "proto/bmp/bmp.c", Source: symbol.SourceAddress}
	byStructure = symbol.Frame{Function: "bmp_start", Module: "bird", Address: 0x30, File: "proto/bmp/bmp.c", Source: symbol.SourceFound}
	bySymbol    = symbol.Frame{Function: "malloc", Module: "libc.so.6", Address: 0x40, Source: symbol.SourceDynamic}
	byDebugFile = symbol.Frame{Function: "io_loop", Module: "bird", Address: 0x50, File: "sysdep/unix/io.c", Line: 5, Source: symbol.SourceDWARF, Separate: true}
	byInline    = symbol.Frame{Function: "sk_read", Module: "bird", Address: 0x50, File: "sysdep/unix/io.c", Line: 7, Inlined: true, Source: symbol.SourceInline, Separate: true}
	noCode      = symbol.Frame{Function: "[allocated before leakprof attached]"}
)

func TestNameSources(t *testing.T) {
	for _, c := range []struct {
		name   string
		stacks []DocumentStack
		want   string
	}{
		{"none", nil, ""},
		{"no code", []DocumentStack{stackOf(noCode)}, ""},
		{"of before it was noted", []DocumentStack{{Frames: []DocumentFrame{{Function: "f"}}}}, ""},
		{"one", []DocumentStack{stackOf(byAddress)}, "1 frame, by source of the name: 1 address"},
		{
			"each place once", []DocumentStack{stackOf(bySymbol, byFile, byInline, byDebugFile), stackOf(bySymbol, byStructure, byAddress, byInline, byDebugFile), stackOf(noCode)},
			"6 frames, by source of the name: 1 symbol, 1 inline, 1 debug file, 1 structure, 1 file only, 1 address",
		},
	} {
		if got := nameSources(c.stacks); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNameMarks: the text marks what no symbol tells, and nothing else.
func TestNameMarks(t *testing.T) {
	d := &Document{Verdict: Held, Stacks: []DocumentStack{stackOf(bySymbol, byStructure, byFile, byAddress, byInline, byDebugFile)}}
	d.Stacks[0].Bytes = 1
	var b bytes.Buffer
	if err := d.WriteText(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"     bmp_start  proto/bmp/bmp.c (structure)\n",
		"     bird+0x20  proto/bmp/bmp.c (file only)\n",
		"     bird+0x10\n",
		"     sk_read    sysdep/unix/io.c:7 (inlined)\n",
		"     io_loop    sysdep/unix/io.c:5\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text has no line %q:\n%s", want, b.String())
		}
	}
}

// TestProfileFileOnly: pprof shows the source file where nothing else is known.
func TestProfileFileOnly(t *testing.T) {
	s := &attribution.Stack{Key: 1}
	for _, f := range []symbol.Frame{byStructure, byFile, byAddress} {
		s.Locations = append(s.Locations, attribution.Location{Module: birdModule, Address: f.Address, Lines: []symbol.Frame{f}})
	}
	h := &attribution.Heap{Modules: modules, Stacks: []*attribution.Stack{s}, Samples: []attribution.Sample{{Stack: s, Objects: 1, Bytes: 1}}}
	p, err := Profile(h, ProfileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got [][3]string
	for _, f := range p.Function {
		got = append(got, [3]string{f.Name, f.SystemName, f.Filename})
	}
	want := [][3]string{
		{"bmp_start", "bmp_start", "proto/bmp/bmp.c"},
		{"bird+0x20 (proto/bmp/bmp.c)", "bird+0x20", "proto/bmp/bmp.c"},
		{"bird+0x10", "bird+0x10", ""},
	}
	if !slices.Equal(got, want) {
		t.Errorf("functions %q, want %q", got, want)
	}
}

// checkNames: the page says of each frame where its name is from.
func checkNames(t *testing.T, b *browser) {
	dir, d := written(t, stripped())
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "light")
	b.until(`document.querySelectorAll("#stacks li").length > 0`)
	rows := make(map[string]bool)
	for _, text := range b.texts("#stacks tr") {
		rows[text] = true
	}
	for _, f := range d.Stacks[0].Frames {
		where := f.Module
		if f.File != "" {
			where = f.File
		}
		if mark := f.guessed(); mark != "" {
			where += " " + mark
		}
		if !rows[f.Function+where] {
			t.Errorf("no frame is %s %s", f.Function, where)
		}
	}
	for source, want := range map[string]string{
		symbol.OriginFileOnly:  "name by file only: not known, but the source file is, by strings and neighbours",
		symbol.OriginStructure: "name by structure: what the code does, or the table that has it",
	} {
		if b.eval(`[...document.querySelectorAll("#stacks tr")].some(r => r.title === "`+want+`")`) != true {
			t.Errorf("no row says it is by %s", source)
		}
	}
	b.click(frameOf("bird+0x7d200 (buffer.c)"))
	b.until(`document.querySelector("#frame").textContent.includes("name by file only")`)
	if len(b.troubles) > 0 {
		t.Errorf("troubles in the page: %s", b.troubles)
	}
}
