// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/report"
)

// TestLabCompare runs the case with BMP and without, and looks at what stands
// beside each other.
func TestLabCompare(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--compare", "--bird", birdPath(t, birds[0]), "--routes", "2000", "--cycles", "2", "--settle", "300ms", "--fail-on-retained", "256k", "--out", out).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	with, without := readReport(t, filepath.Join(out, "with-bmp")), readReport(t, filepath.Join(out, "without-bmp"))
	for _, d := range []*report.Document{with, without} {
		if last := d.Phases[len(d.Phases)-1]; d.Verdict != report.Clean || last.Cycle != 2 || last.Routes == nil || *last.Routes != 0 {
			t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
		}
	}
	if n := with.Phases[len(with.Phases)-1].BMPCounts["Prefixes Announced"]; n < 2*4*2000 {
		t.Errorf("with BMP the station heard of %d prefixes", n)
	}
	if without.Phases[0].BMPCounts["Initiation"] != 0 {
		t.Error("there is BMP in the run without")
	}

	raw, err := os.ReadFile(filepath.Join(out, "compare.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c report.Comparison
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	if c.A.Name != "with BMP" || c.B.Name != "without BMP" || c.Same != "address" || c.A.RetainedBytes != with.RetainedBytes || c.B.RetainedBytes != without.RetainedBytes {
		t.Errorf("compared %+v with %+v by %s", c.A, c.B, c.Same)
	}
	for _, s := range c.Stacks {
		if s.A == nil && s.Stack.Pool != nil && strings.HasPrefix(*s.Stack.Pool, "Root/Protocols/bmp") {
			t.Errorf("a stack of BMP's in the run without: %+v", s.Stack)
		}
	}
	text, err := os.ReadFile(filepath.Join(out, "compare.txt"))
	if err != nil {
		t.Fatal(err)
	}
	// Of two healthy runs either may retain a few bytes more.
	more := "more retained with BMP than without BMP"
	switch {
	case c.A.RetainedBytes == c.B.RetainedBytes:
		more = "Both retain "
	case c.A.RetainedBytes < c.B.RetainedBytes:
		more = "more retained without BMP than with BMP"
	}
	for _, printed := range []string{string(text), got.stdout} {
		at := 0
		for _, want := range []string{"with BMP\nCLEAN: ", "without BMP\nCLEAN: ", more, "with BMP  ", "without BMP\n", "show memory ", "Protocols ", "after drop ", "cycle 2 ", "Retained "} {
			i := strings.Index(printed[at:], want)
			if i < 0 {
				t.Fatalf("no %q after the first %d bytes of\n%s", want, at, printed)
			}
			at += i
		}
	}
	if !strings.Contains(got.stdout, "leakprof report "+filepath.Join(out, "with-bmp")) {
		t.Errorf("it does not say what to do next:\n%s", got.stdout)
	}
	for _, want := range []string{"run 1 of 2, with BMP", "run 2 of 2, without BMP"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("it does not say %q:\n%s", want, got.stderr)
		}
	}
}

// TestLabCompareInterrupted: the report of the run that was made is there, and
// no comparison is.
func TestLabCompareInterrupted(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	run := start(t, "lab", "--compare", "--bird", birdPath(t, birds[0]), "--routes", "2000", "--settle", "300ms", "--out", out)
	run.says(t, "cycle 1: flooding")
	run.Process.Signal(os.Interrupt)
	got := run.wait()
	if want := "with BMP: interrupted before the run without BMP"; got.status != exitError || !strings.Contains(got.stderr, want) || !strings.Contains(got.stdout, "INCOMPLETE") {
		t.Errorf("exit status %d, want %q in\n%s\n%s", got.status, want, got.stderr, got.stdout)
	}
	readReport(t, filepath.Join(out, "with-bmp"))
	if _, err := os.Stat(filepath.Join(out, "compare.json")); !os.IsNotExist(err) {
		t.Errorf("compare.json: %v, want none", err)
	}
}
