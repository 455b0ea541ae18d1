// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/symbol"
)

// checkHostile: names come from the target, which may be anybody's.
func checkHostile(t *testing.T, b *browser) {
	evil := `</script><img src=x onerror="window.owned=1"><script>window.owned=1</script>&lt;` + "\u202e\x1b"
	r := leak()
	r.Target.Exe, r.Verdict.Sentence, r.NamesHint, r.Target.Version = evil, evil, evil, evil
	for i := range r.Retained {
		s := r.Retained[i].Stack
		s.Locations[len(s.Locations)-1].Lines = []symbol.Frame{{Function: evil, File: evil, Line: 1}}
		r.Retained[i].Allocator, r.Retained[i].Class, r.Retained[i].Pool = evil, evil, evil
		s.Complete, s.End = false, evil
	}
	for _, p := range r.Phases {
		if p.Heap != nil {
			for i := range p.Heap.Samples {
				p.Heap.Samples[i].Pool, p.Heap.Samples[i].Allocator = evil, evil
			}
		}
		for i := range p.ShowMemory {
			p.ShowMemory[i].Name, p.ShowMemory[i].Text = evil, evil
		}
	}
	r.Phases[1].Incomplete = evil
	r.Health[0].Name, r.Health[0].Meaning, r.CPU.Limit = evil, evil, evil
	dir, d := written(t, r)
	b.open(t, filepath.Join(dir, HTMLFile), 1280, "light")
	checkPageIsText := func() {
		t.Helper()
		if b.eval("window.owned === undefined && document.images.length === 0") != true {
			t.Error("a name became markup")
		}
		if len(b.requests) != 1 || len(b.troubles) > 0 {
			t.Errorf("the page asks for %q, troubles %s", b.requests, b.troubles)
		}
		if strings.ContainsAny(b.text("body"), "\u202e\x1b") {
			t.Error("control characters reach the page")
		}
	}
	checkPageIsText()
	name := printable(evil)
	b.eval(`document.querySelectorAll("details").forEach(e => { e.open = true; })`)
	b.eval(`(s => { s.value = "pool"; s.dispatchEvent(new Event("change")); })(document.querySelector("#group"))`)
	b.click(`document.querySelectorAll("#flame g.frame")[1].querySelector("rect")`)
	b.until(fmt.Sprintf(`document.querySelector("#frame .name")?.textContent === %s`, quote(t, name)))
	b.typeInto("#search", "onerror")
	b.until(fmt.Sprintf(`document.querySelectorAll("#stacks li").length === %d`, len(d.Stacks)))
	b.click(`document.querySelector("input[value=pool]")`)
	checkPageIsText()
}

func quote(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
