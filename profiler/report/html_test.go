// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/attribution"
)

var screenshots = flag.String("screenshots", "", "write screenshots of report.html into `DIR`")

// written is a result's directory, and its report.json read again.
func written(t *testing.T, r *Result) (dir string, d *Document) {
	t.Helper()
	dir = t.TempDir()
	if _, err := WriteAll(dir, r); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if d, err = ReadJSON(f); err != nil {
		t.Fatal(err)
	}
	return dir, d
}

// TestPage opens report.html in a browser and compares what it shows with
// report.json.
func TestPage(t *testing.T) {
	b := startBrowser(t)
	for name, result := range results {
		dir, d := written(t, result())
		file := filepath.Join(dir, HTMLFile)
		for _, look := range []struct {
			width  int
			scheme string
		}{{1280, "light"}, {1280, "dark"}, {375, "light"}, {375, "dark"}} {
			t.Run(fmt.Sprintf("%s/%s/%d", name, look.scheme, look.width), func(t *testing.T) {
				b.open(t, file, look.width, look.scheme)
				checkPage(t, b, d)
				if *screenshots != "" {
					b.screenshot(filepath.Join(*screenshots, fmt.Sprintf("%s-%s-%d.png", name, look.scheme, look.width)))
				}
			})
		}
	}
	t.Run("flame", func(t *testing.T) { checkFlame(t, b) })
	t.Run("classes", func(t *testing.T) { checkClasses(t, b) })
	t.Run("widths", func(t *testing.T) { checkWidths(t, b) })
	t.Run("names", func(t *testing.T) { checkNames(t, b) })
	t.Run("list", func(t *testing.T) { checkList(t, b) })
	t.Run("course", func(t *testing.T) { checkCourse(t, b) })
	t.Run("hostile", func(t *testing.T) { checkHostile(t, b) })
	t.Run("empty", func(t *testing.T) {
		dir, d := written(t, &Result{Verdict: Verdict{Kind: Incomplete, Sentence: "no snapshot was taken"}})
		b.open(t, filepath.Join(dir, HTMLFile), 800, "light")
		checkPage(t, b, d)
		if b.text("#retained-none") == "" || b.eval(`document.querySelector("#course").hidden`) != true {
			t.Error("the page does not say that nothing is there")
		}
	})
}

func checkPage(t *testing.T, b *browser, d *Document) {
	t.Helper()
	// file:///…/report.html itself is the only thing loaded.
	if len(b.requests) != 1 || !strings.HasSuffix(b.requests[0], "/"+HTMLFile) {
		t.Errorf("the page asks for %q", b.requests)
	}
	if len(b.troubles) > 0 {
		t.Errorf("troubles in the page: %s", b.troubles)
	}
	if got := b.text("#verdict"); got != strings.ToUpper(string(d.Verdict)) {
		t.Errorf("verdict %q, want %q", got, d.Verdict)
	}
	if got := b.text("#reason"); got != d.reason() {
		t.Errorf("reason %q, want %q", got, d.reason())
	}
	if over := b.eval("document.scrollingElement.scrollWidth - innerWidth"); over.(float64) > 0 {
		t.Errorf("the page is %v pixels wider than its window", over)
	}
	var want, names []string
	for i, s := range d.Stacks {
		want = append(want, Size(s.Bytes))
		_, frames := splitAllocator(d.Stacks[i].Frames)
		names = append(names, printable(frames[0].Function))
	}
	// The name in the line itself is who asked the allocators.
	if got := b.texts("#stacks summary .name"); !slices.Equal(got, names) {
		t.Errorf("the list blames %q, want %q", got, names)
	}
	if got := b.texts("#stacks .bytes"); !slices.Equal(got, want) {
		t.Errorf("the list has stacks with %q, want %q", got, want)
	}
	checkTable(t, b, d)
	var labels, facts []string
	for _, f := range sayOnce(d.facts(false)) {
		facts = append(facts, f.Text)
		if f.Label != "" {
			labels = append(labels, f.Label)
		}
	}
	if got := b.texts("#trust dd"); !slices.Equal(got, facts) {
		t.Errorf("the facts are\n%q, want\n%q", got, facts)
	}
	if got := b.texts("#trust dt"); !slices.Equal(got, labels) {
		t.Errorf("the facts are %q, want %q", got, labels)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var have, all any
	if err := json.Unmarshal([]byte(b.eval(`document.querySelector("#report-data").textContent`).(string)), &have); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, all) {
		t.Error("the page's data are not report.json's")
	}
}

// checkTable compares lines of the table with the phases.
func checkTable(t *testing.T, b *browser, d *Document) {
	t.Helper()
	size := func(n *uint64) string {
		if n == nil {
			return ""
		}
		return Size(int64(*n))
	}
	for name, cell := range map[string]func(*DocumentPhase) string{
		"Protocols": func(p *DocumentPhase) (cell string) {
			if l := p.memoryLine("Protocols"); l != nil {
				cell, _ = l.numbers()
			}
			return cell
		},
		"live memory": func(p *DocumentPhase) string { return size(p.LiveBytes) },
		"lost":        func(p *DocumentPhase) string { return size(p.LostBytes) },
		"held":        func(p *DocumentPhase) string { return size(p.HeldBytes) },
		"unknown":     func(p *DocumentPhase) string { return size(p.UnknownBytes) },
		"routes": func(p *DocumentPhase) string {
			if p.Routes == nil {
				return ""
			}
			return number(*p.Routes)
		},
	} {
		var want []string
		known := false
		for _, c := range d.looks() {
			shown := c.title // "…"
			if c.phase != nil {
				shown = cell(c.phase)
				known = known || shown != ""
			}
			want = append(want, cmp.Or(shown, "–"))
		}
		if !known {
			want = nil
		}
		got := b.eval(fmt.Sprintf(`[...document.querySelectorAll("#memory tr")].filter(r => r.cells[0].textContent === %q).flatMap(r => [...r.cells].slice(1).map(c => c.firstChild.textContent))`, name)).([]any)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s are %q, want %q", name, got, want)
		}
	}
}

// through sums up the stacks that a function is in.
func through(d *Document, in func(*DocumentStack) bool) (stacks int, objects, bytes, total int64) {
	for i := range d.Stacks {
		s := &d.Stacks[i]
		total += s.Bytes
		if in(s) {
			stacks, objects, bytes = stacks+1, objects+s.Objects, bytes+s.Bytes
		}
	}
	return stacks, objects, bytes, total
}

func calls(function string) func(*DocumentStack) bool {
	return func(s *DocumentStack) bool {
		return slices.ContainsFunc(s.Frames, func(f DocumentFrame) bool { return f.Function == function })
	}
}

func amountOf(stacks int, objects, bytes, total int64) string {
	return fmt.Sprintf("%s in %s, %s, %s", Size(bytes), plural(objects, "block"), percent(float64(bytes), float64(total)), plural(stacks, "call stack"))
}

// checkFlame clicks frames and searches.
func checkFlame(t *testing.T, b *browser) {
	dir, d := written(t, leak())
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "light")
	frame := frameOf
	width := func(name string) float64 {
		w, _ := b.eval(frame(name) + `?.width.baseVal.value ?? 0`).(float64)
		return w
	}
	whole := width("retained")
	_, _, bytes, total := through(d, calls("bmp_buffer_alloc"))
	asDrawn := fmt.Sprintf("Math.abs(%s?.width.baseVal.value - %v) < 1", frame("bmp_buffer_alloc"), whole*float64(bytes)/float64(total))
	b.until(asDrawn)

	for _, name := range []string{"bmp_buffer_alloc", "bmp_schedule_tx_packet"} {
		b.click(frame(name))
		want := amountOf(through(d, calls(name)))
		b.until(fmt.Sprintf(`document.querySelector("#frame .amount")?.textContent === %q`, want))
		if got := b.text("#frame .name"); got != name {
			t.Errorf("a click on %s shows %s", name, got)
		}
		n, _, _, _ := through(d, calls(name))
		if got := b.texts("#stacks .bytes"); len(got) != n {
			t.Errorf("the list has %d stacks with %s, want %d", len(got), name, n)
		}
		// What was clicked is as wide as the graph.
		b.until(fmt.Sprintf("Math.abs(%s?.width.baseVal.value - %v) < 1", frame(name), whole))
		b.click(`document.querySelector("#reset")`)
		b.until(asDrawn)
	}

	for _, c := range []struct {
		term string
		in   func(*DocumentStack) bool
	}{
		{"BMP_BUFFER", calls("bmp_buffer_alloc")},
		{"bmp.c:231", calls("bmp_buffer_alloc")},
		{"bmp buffer", func(s *DocumentStack) bool { return s.Pool != nil && strings.HasSuffix(*s.Pool, "BMP Buffer") }},
		{"(", func(*DocumentStack) bool { return false }},
		{"0x7ffff", calls("0x7ffff7a01234")},
	} {
		b.typeInto("#search", c.term)
		n, _, bytes, total := through(d, c.in)
		want := "Nothing found"
		if n > 0 {
			want = fmt.Sprintf("%s: %s, %s", plural(n, "call stack"), Size(bytes), percent(float64(bytes), float64(total)))
		}
		b.until(fmt.Sprintf(`document.querySelector("#found").textContent === %q`, want))
		if got := b.texts("#stacks .bytes"); len(got) != n {
			t.Errorf("searching %s lists %d stacks, want %d", c.term, len(got), n)
		}
	}
	b.typeInto("#search", "")
	b.until(fmt.Sprintf(`document.querySelectorAll("#stacks li").length === %d && document.querySelector("#found").textContent === ""`, len(d.Stacks)))

	b.eval(`(s => { s.value = "pool"; s.dispatchEvent(new Event("change")); })(document.querySelector("#group"))`)
	pool := "Root/Protocols/BMP" // and not what is below it
	b.click(frame(pool))
	want := amountOf(through(d, func(s *DocumentStack) bool { return s.Pool != nil && *s.Pool == pool }))
	b.until(fmt.Sprintf(`document.querySelector("#frame .amount")?.textContent === %q`, want))
	// Colours go with the scheme.
	light := b.eval(frame("main") + `.getAttribute("fill")`)
	b.prefer("dark")
	b.until(fmt.Sprintf(`%s?.getAttribute("fill") !== %q`, frame("main"), light))
	if len(b.troubles) > 0 {
		t.Errorf("troubles in the page: %s", b.troubles)
	}
}

// checkList: a long list of stacks shows a few first.
func checkList(t *testing.T, b *browser) {
	r := leak()
	for i := range 40 {
		s := *r.Retained[0].Stack
		s.Locations = append([]attribution.Location{at(uint64(0x1000+i), fmt.Sprintf("function_%d x.c 1", i))}, s.Locations...)
		r.Retained = append(r.Retained, attribution.Retained{Stack: &s, Allocator: "mb", Bytes: int64(5000 - i), Objects: 1})
	}
	dir, d := written(t, r)
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "light")
	b.until(`document.querySelectorAll("#stacks li").length === 8`)
	var rest int64
	for _, s := range d.Stacks[8:] {
		rest += s.Bytes
	}
	if got, want := b.text("#stacks-more"), fmt.Sprintf("Show %d more with %s", len(d.Stacks)-8, Size(rest)); got != want {
		t.Errorf("the list ends with %q, want %q", got, want)
	}
	b.click(`document.querySelector("#stacks-more")`)
	b.until(fmt.Sprintf(`document.querySelectorAll("#stacks li").length === %d && document.querySelector("#stacks-more").hidden`, len(d.Stacks)))
}

// checkCourse compares the chart's numbers with the looks.
func checkCourse(t *testing.T, b *browser) {
	dir, d := written(t, leak())
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "dark")
	for _, by := range []string{"allocator", "pool", "class"} {
		b.click(fmt.Sprintf(`document.querySelector("input[value=%s]")`, by))
		b.until(fmt.Sprintf(`document.querySelector("#looks th").textContent === %q`, by))
		want := make(map[string][]string)
		sums := make(map[string][]uint64)
		n := 0
		for _, p := range d.Phases {
			if p.LiveBytes == nil {
				continue
			}
			want["live memory"] = append(want["live memory"], Size(int64(*p.LiveBytes)))
			if by == "class" {
				for name, bytes := range map[string]*uint64{classLost: p.LostBytes, classHeld: p.HeldBytes, classUnknown: p.UnknownBytes} {
					cell := "–"
					if bytes != nil {
						cell = Size(int64(*bytes))
					}
					want[name] = append(want[name], cell)
				}
				continue
			}
			for _, l := range p.Live {
				name := l.Allocator
				if by == "pool" {
					name = "not in a pool"
					if l.Pool != nil {
						name = *l.Pool
					}
				}
				for len(sums[name]) <= n {
					sums[name] = append(sums[name], 0)
				}
				sums[name][n] += l.Bytes
			}
			n++
		}
		for name, all := range sums {
			for i := range n {
				v := uint64(0)
				if i < len(all) {
					v = all[i]
				}
				want[name] = append(want[name], Size(int64(v)))
			}
		}
		got := make(map[string][]string)
		for _, row := range b.eval(`[...document.querySelectorAll("#looks tbody tr")].map(r => [...r.cells].map(c => c.textContent))`).([]any) {
			cells := row.([]any)
			for _, c := range cells[1:] {
				got[cells[0].(string)] = append(got[cells[0].(string)], c.(string))
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("by %s the looks are\n%v, want\n%v", by, got, want)
		}
		// The legend has the total and each part.
		if n := len(b.texts("#chart .u-series")); n != len(want)+1 {
			t.Errorf("by %s the chart has %d series, want %d and the time", by, n, len(want))
		}
	}
	last := d.Series[len(d.Series)-1]
	if note := b.text("#course-note"); !strings.Contains(note, fmt.Sprintf("Peer Up (%d)", last.PeerUps)) || !strings.Contains(note, fmt.Sprintf("Peer Down (%d)", last.PeerDowns)) {
		t.Errorf("the note does not count sessions: %s", note)
	}
	if b.eval(`(c => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v !== 0))(document.querySelector("#chart canvas"))`) != true {
		t.Error("the chart is empty")
	}
}
