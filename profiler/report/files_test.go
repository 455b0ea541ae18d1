// SPDX-License-Identifier: Apache-2.0

package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWriteAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "out")
	written, err := WriteAll(dir, leak())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, path := range written {
		got = append(got, filepath.Base(path))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%s: mode %v, %d bytes", path, info.Mode(), info.Size())
		}
	}
	want := []string{BaselineFile, FloodedFile, SettledFile, RetainedFile, TextFile, HTMLFile, JSONFile}
	if !slices.Equal(got, want) {
		t.Errorf("wrote %q, want %q", got, want)
	}
	// The flooded and settled profiles are those of the last cycle.
	for name, want := range map[string]int64{BaselineFile: 40_112, FloodedFile: 2_121_040_000, SettledFile: 1_056_090_480, RetainedFile: 1_056_050_368} {
		if got := inuse(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s has %d bytes in use, want %d", name, got, want)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, TextFile))
	if err != nil || !strings.Contains(string(text), "go tool pprof -http=: "+dir+"/retained.pb.gz\n") {
		t.Errorf("report.txt does not say how to go on: %v\n%s", err, text)
	}

	// A run that never settled leaves no file of the run before.
	written, err = WriteAll(dir, incomplete())
	if err != nil {
		t.Fatal(err)
	}
	left := names(t, dir)
	want = []string{BaselineFile, FloodedFile, JSONFile, TextFile, HTMLFile, RetainedFile}
	slices.Sort(want)
	if !slices.Equal(left, want) || len(written) != len(want) {
		t.Errorf("left are %q, written %q, want %q", left, written, want)
	}
}

func inuse(t *testing.T, path string) int64 {
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
	var sum int64
	for _, s := range p.Sample {
		sum += s.Value[inuseSpace]
	}
	return sum
}

// TestWriteAllStops: report.json is there only with everything else.
func TestWriteAllStops(t *testing.T) {
	dir := t.TempDir()
	if _, err := WriteAll(dir, leak()); err != nil {
		t.Fatal(err)
	}
	r := leak()
	r.lastHeap(phaseSettled).Samples[0].Stack = nil
	written, err := WriteAll(dir, r)
	if err == nil || len(written) != 2 {
		t.Errorf("wrote %q, error %v", written, err)
	}
	if slices.Contains(names(t, dir), JSONFile) {
		t.Error("report.json of the run before is still there")
	}
}

func TestEmptyRun(t *testing.T) {
	dir := t.TempDir()
	written, err := WriteAll(dir, &Result{Verdict: Verdict{Kind: Incomplete, Sentence: "no snapshot was taken"}})
	if err != nil || len(written) != 4 {
		t.Fatalf("wrote %q, error %v", written, err)
	}
	pprof(t, "-top", filepath.Join(dir, RetainedFile))
	f, err := os.Open(filepath.Join(dir, JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := ReadJSON(f); err != nil {
		t.Error(err)
	}
}
