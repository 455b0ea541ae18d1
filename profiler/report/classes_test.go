// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// frameOf is the expression for a frame of the graph.
func frameOf(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#flame g.frame")].find(g => g.getAttribute("name") === %q)?.querySelector("rect")`, name)
}

// checkClasses: what is lost and held, and by whom, is said as in report.json,
// and the page shows the classes that are chosen.
func checkClasses(t *testing.T, b *browser) {
	dir, d := written(t, leak())
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "light")
	of := map[string]func(*DocumentStack) int64{
		classLost:    func(s *DocumentStack) int64 { return s.LostBytes },
		classHeld:    func(s *DocumentStack) int64 { return s.HeldBytes },
		classUnknown: func(s *DocumentStack) int64 { return s.UnknownBytes },
	}
	classes := []string{classLost, classHeld, classUnknown}
	var tags, holders []string
	for i := range d.Stacks {
		s := &d.Stacks[i]
		mixed := s.LostBytes != s.Bytes && s.HeldBytes != s.Bytes && s.UnknownBytes != s.Bytes
		for _, c := range classes {
			switch n := of[c](s); {
			case mixed && n > 0:
				tags = append(tags, c+" "+Size(n))
			case n > 0:
				tags = append(tags, c)
			}
		}
		if len(s.HeldBy) > 0 {
			h := "held by " + s.HeldBy[0].sentence()
			if s.HeldBy[0].Share < 1 {
				h += fmt.Sprintf(": %.0f%% of those looked at", 100*s.HeldBy[0].Share)
			}
			if n := len(s.HeldBy) - 1; n > 0 {
				h += fmt.Sprintf(", and %d more", n)
			}
			holders = append(holders, h)
		}
		if s.WhyUnknown != "" {
			holders = append(holders, "not known: "+s.WhyUnknown)
		}
	}
	if len(holders) == 0 {
		t.Fatal("nothing is held")
	}
	if got := b.texts("#stacks summary .tag"); !slices.Equal(got, tags) {
		t.Errorf("the stacks are %q, want %q", got, tags)
	}
	if got := b.texts("#stacks summary .holder"); !slices.Equal(got, holders) {
		t.Errorf("they are\n%q, want\n%q", got, holders)
	}
	for _, c := range classes {
		var sum int64
		for i := range d.Stacks {
			sum += of[c](&d.Stacks[i])
		}
		if got := b.text(fmt.Sprintf("#choice .%s b", c)); got != Size(sum) {
			t.Errorf("%s are %s, want %s", c, got, Size(sum))
		}
	}

	// All there are: each click adds or takes away one.
	chosen := map[string]bool{classLost: true, classHeld: true, classUnknown: true}
	for _, c := range []string{classHeld, classUnknown, classHeld, classLost, classUnknown, classHeld, classUnknown, classLost, classHeld} {
		b.click(fmt.Sprintf(`document.querySelector("#choice input[value=%s]")`, c))
		chosen[c] = !chosen[c]
		var want []string
		var total int64
		for i := range d.Stacks {
			var n int64
			for _, c := range classes {
				if chosen[c] {
					n += of[c](&d.Stacks[i])
				}
			}
			if n > 0 {
				want, total = append(want, Size(n)), total+n
			}
		}
		b.until(fmt.Sprintf(`document.querySelector("#frame .note").textContent.startsWith("All: %s in %s.")`, Size(total), plural(len(want), "call stack")))
		if got := b.texts("#stacks .bytes"); !slices.Equal(got, want) {
			t.Errorf("with %v the list has %q, want %q", chosen, got, want)
		}
		if drawn := b.eval(`document.querySelectorAll("#flame g.frame").length`).(float64); (drawn > 1) != (len(want) > 0) {
			t.Errorf("with %v the graph has %v frames", chosen, drawn)
		}
	}

	// A frame is coloured by what most of it is, and says all that it is.
	hue := func(class string) any {
		return b.eval(fmt.Sprintf(`getComputedStyle(document.documentElement).getPropertyValue("--%s-hs").trim()`, class))
	}
	for _, name := range []string{"bmp_buffer_alloc", "bmp_schedule_tx_packet", "main"} {
		most, all := classUnknown, []string{}
		bytes := make(map[string]int64)
		for _, c := range classes {
			for i := range d.Stacks {
				if calls(name)(&d.Stacks[i]) {
					bytes[c] += of[c](&d.Stacks[i])
				}
			}
			if bytes[c] > bytes[most] {
				most = c
			}
			if bytes[c] > 0 {
				all = append(all, c+" "+Size(bytes[c]))
			}
		}
		fill := fmt.Sprintf("%s.getAttribute('fill')", frameOf(name))
		if b.eval(fmt.Sprintf("%s.startsWith('hsl(%s ')", fill, hue(most))) != true {
			t.Errorf("%s is %v, want the colour of %s, %v", name, b.eval(fill), most, hue(most))
		}
		b.click(frameOf(name))
		b.until(fmt.Sprintf(`document.querySelector("#frame .name")?.textContent === %q`, name))
		if got := b.texts("#frame .tag"); !reflect.DeepEqual(got, all) {
			t.Errorf("%s is %q, want %q", name, got, all)
		}
		b.click(`document.querySelector("#reset")`)
		b.until(`document.querySelector("#frame .note")?.textContent.startsWith("All: ")`)
	}

	// Who holds it can be searched for.
	b.typeInto("#search", d.Stacks[1].HeldBy[0].What)
	b.until(`document.querySelectorAll("#stacks li").length === 1`)
	if len(b.troubles) > 0 {
		t.Errorf("troubles in the page: %s", b.troubles)
	}
}

// checkWidths: what is small in bytes can be made wide, and what grows in every
// cycle comes first.
func checkWidths(t *testing.T, b *browser) {
	r := leak()
	// One object for each cycle, beside a gigabyte that came once.
	small := &r.Retained[len(r.Retained)-1]
	for i := range r.Retained {
		r.Retained[i].EveryBytes, r.Retained[i].EveryObjects = 0, 0
	}
	small.EveryBytes, small.EveryObjects = 56, 1
	// Built somewhere: places are shown without that.
	for _, s := range r.Retained {
		for _, l := range s.Stack.Locations {
			for i := range l.Lines {
				if l.Lines[i].File != "" {
					l.Lines[i].File = "/usr/src/bird/" + strings.TrimPrefix(l.Lines[i].File, "/usr/src/bird/")
				}
			}
		}
	}
	dir, d := written(t, r)
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "light")
	first := d.Stacks[len(d.Stacks)-1]
	if got := b.texts("#stacks .bytes"); len(got) != len(d.Stacks) || got[0] != Size(first.Bytes) {
		t.Errorf("the list begins with %q, want %s", got, Size(first.Bytes))
	}
	r.Verdict.Kind = Clean
	dir, d = written(t, r)
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "light")
	if got := b.texts("#stacks .bytes"); len(got) != len(d.Stacks) || got[0] != Size(d.Stacks[0].Bytes) {
		t.Errorf("without a leak the list begins with %q, want %s", got, Size(d.Stacks[0].Bytes))
	}
	_, frames := splitAllocator(first.Frames)
	whole := fmt.Sprintf("%s.width.baseVal.value", frameOf("retained"))
	_, objects, _, _ := through(d, calls("bmp_buffer_alloc"))
	for _, c := range []struct {
		width, frame string
		share        float64
	}{
		{"stacks", frames[0].Function, 1 / float64(len(d.Stacks))},
		{"blocks", "bmp_buffer_alloc", float64(objects) / float64(d.RetainedObjects)},
	} {
		b.eval(fmt.Sprintf(`(s => { s.value = %q; s.dispatchEvent(new Event("change")); })(document.querySelector("#width"))`, c.width))
		b.until(fmt.Sprintf(`Math.abs((%s?.width.baseVal.value ?? 0) - %v * %s) < 1.5`, frameOf(c.frame), c.share, whole))
	}
	b.click(frameOf("bmp_buffer_alloc"))
	b.until(`document.querySelector("#frame .note")?.textContent === "proto/bmp/buffer.c:16"`)
	b.click(`document.querySelector("#reset")`)
	b.click(`document.querySelector("#steady")`)
	b.until(fmt.Sprintf(`document.querySelector("#frame .note").textContent.startsWith("All: %s in 1 call stack.")`, Size(first.Bytes)))
	if got := b.text("#choice label:has(#steady) b"); got != "1 call stack" {
		t.Errorf("%s grew in every cycle, want 1", got)
	}
}
