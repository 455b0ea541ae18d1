// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// pageBytes sums up what a profile has in pages.
func pageBytes(t *testing.T, path string) (bytes int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	inuse := len(p.SampleType) - 1
	if got := p.SampleType[inuse].Type; got != "inuse_space" {
		t.Fatalf("the last sample type is %s, want inuse_space", got)
	}
	for _, s := range p.Sample {
		for _, allocator := range s.Label["allocator"] {
			switch allocator {
			case attribution.AllocatorPage, attribution.AllocatorSlab, attribution.AllocatorLinpool:
				bytes += s.Value[inuse]
			}
		}
	}
	return bytes
}

// TestPagesAgreeWithBIRD: the pages that were taken and not given back are
// those that BIRD calls active. BIRD 2 counts those in which it keeps its list
// of cold pages as active, too: a page lists 509 (sysdep/unix/alloc.c).
func TestPagesAgreeWithBIRD(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, "bird2-sid"), "--routes", "20000", "--cycles", "1", "--settle", "500ms", "--out", out).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	if strings.Contains(strings.Join(d.NotCovered, " "), "pages of alloc_page") {
		t.Fatalf("pages are not followed: %v", d.NotCovered)
	}
	compared := 0
	for _, p := range d.Phases {
		if len(p.ShowMemory) == 0 {
			continue
		}
		ours := pageBytes(t, filepath.Join(out, p.Name+".pb.gz"))
		active, ok := line(p.ShowMemory, "Active pages")
		if !ok {
			t.Fatalf("%s: no line Active pages in %+v", p.Name, p.ShowMemory)
		}
		cold, ok := line(p.ShowMemory, "Cold free pages")
		if !ok {
			t.Fatalf("%s: no line Cold free pages in %+v", p.Name, p.ShowMemory)
		}
		// Room for the rounding of the printed numbers and for a page that
		// answering us takes.
		const page, perIndex = 4096, 509
		index := page * (cold/page/perIndex + 1)
		rounding := page + active*0.005
		diff := active - float64(ours)
		t.Logf("%s: %d bytes in pages, BIRD says %.0f active, %.0f cold", p.Name, ours, active, cold)
		if diff < -rounding || diff > index+rounding {
			t.Errorf("%s: %.0f bytes between ours and BIRD's, want 0 to %.0f", p.Name, diff, index)
		}
		compared++
	}
	if compared != 3 {
		t.Errorf("%d phases compared, want baseline, flooded and settled", compared)
	}
}

func line(lines []report.DocumentMemoryLine, name string) (float64, bool) {
	for _, l := range lines {
		if l.Name == name {
			return l.EffectiveBytes, true
		}
	}
	return 0, false
}
