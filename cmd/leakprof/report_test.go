// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/report"
	"leakprof/profiler/report/schema"
)

// checkSchema holds a report.json against docs/report.md.
func checkSchema(t *testing.T, raw []byte) {
	t.Helper()
	page, err := os.ReadFile("../../docs/report.md")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(raw); err != nil {
		t.Error(err)
	}
}

// saved is the directory of a run with the made-up result of that name.
func saved(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../profiler/report/testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, report.JSONFile), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReportAgain(t *testing.T) {
	dir := saved(t, "leak")
	got := start(t, "report", dir).wait()
	// The profiles are not there: no command that needs them.
	if got.status != exitDone || !strings.HasPrefix(got.stdout, "LEAK: ") || !strings.Contains(got.stdout, "\nBooks, settled of cycle 2\n") || strings.Contains(got.stdout, "pprof") {
		t.Errorf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	if one := start(t, "report", dir, "--top", "1").wait(); !strings.Contains(one.stdout, " #1 ") || strings.Contains(one.stdout, " #2 ") {
		t.Errorf("--top 1 prints\n%s", one.stdout)
	}
	want, err := os.ReadFile(filepath.Join(dir, report.JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := start(t, "report", dir, "--json").wait(); got.stdout != string(want) || got.status != exitDone {
		t.Errorf("--json prints another report, exit status %d, %s", got.status, got.stderr)
	}
	page := filepath.Join(dir, "page.html")
	got = start(t, "report", dir, "--html", page).wait()
	html, err := os.ReadFile(page)
	if err != nil || got.status != exitDone || got.stdout != "" {
		t.Errorf("--html: exit status %d, %v, %s", got.status, err, got.stderr)
	}
	if out := start(t, "report", dir, "--html", "-").wait().stdout; out != string(html) || !strings.Contains(out, "bmp_buffer_alloc") {
		t.Errorf("--html - prints %d bytes, the file has %d", len(out), len(html))
	}
}

func TestReportRefuses(t *testing.T) {
	good, broken := saved(t, "leak"), t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, report.JSONFile), []byte(`{"schema": 2, "verdict": "le`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"report"}, exitUsage, "DIR is missing"},
		{[]string{"report", good, good}, exitUsage, "unexpected argument"},
		{[]string{"report", good, "--json", "--html", "x"}, exitUsage, "choose one"},
		{[]string{"report", good, "--top", "0"}, exitUsage, "at least 1"},
		{[]string{"report", "/no/such/dir"}, exitError, "no such file or directory; give the --out directory of a run"},
		{[]string{"report", filepath.Join(good, "report.json")}, exitError, "not a directory; give the --out directory of a run"},
		{[]string{"report", t.TempDir()}, exitError, "its run did not end"},
		{[]string{"report", broken}, exitError, "unexpected EOF"},
		{[]string{"report", good, "--html", "/no/such/dir/x"}, exitError, "/no/such/dir"},
		{[]string{"diff", good}, exitUsage, "B is missing"},
		{[]string{"diff", good, good, good}, exitUsage, "unexpected argument"},
		{[]string{"diff", good, good, "--top", "-1"}, exitUsage, "at least 1"},
		{[]string{"diff", good, "/no/such/dir"}, exitError, "/no/such/dir"},
		{[]string{"diff", broken, good}, exitError, broken},
	} {
		got := start(t, c.args...).wait()
		if got.status != c.status || !strings.HasPrefix(got.stderr, "leakprof: ") || !strings.Contains(got.stderr, c.says) || strings.Count(got.stderr, "\n") != 1 || got.stdout != "" {
			t.Errorf("%q: exit status %d, want %d; stderr %q, want %q; stdout %q", c.args, got.status, c.status, got.stderr, c.says, got.stdout)
		}
	}
}

func TestDiff(t *testing.T) {
	leak, clean := saved(t, "leak"), saved(t, "clean")
	got := start(t, "diff", leak, clean).wait()
	for _, want := range []string{leak + "\nLEAK: ", clean + "\nCLEAN: ", "Retained only in " + filepath.Base(leak) + " by 3 call stacks", "Retained only in " + filepath.Base(clean) + " by 1 call stack", "bmp_buffer_alloc"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the comparison does not say %q:\n%s\n%s", want, got.stderr, got.stdout)
		}
	}
	got = start(t, "diff", leak, clean, "--json").wait()
	var c report.Comparison
	if err := json.Unmarshal([]byte(got.stdout), &c); err != nil || got.status != exitDone {
		t.Fatalf("exit status %d, %v, %s", got.status, err, got.stderr)
	}
	if c.A.Verdict != report.Leak || c.B.Verdict != report.Clean || len(c.Stacks) != 4 || c.Stacks[0].B != nil || c.Stacks[0].A.Bytes != 960_000_000 {
		t.Errorf("%+v", c)
	}
}

// TestReportOfRun: what a run printed can be printed again, and is recorded over
// time.
func TestReportOfRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	run := start(t, "lab", "--bird", birdPath(t, birds[0]), "--peers", "2", "--routes", "2000", "--cycles", "1", "--settle", "300ms", "--out", out).wait()
	if run.status != exitDone {
		t.Fatalf("exit status %d\n%s\n%s", run.status, run.stderr, run.stdout)
	}
	d := readReport(t, out)
	got := start(t, "report", out).wait()
	if !strings.HasPrefix(got.stdout, run.stdout) || !strings.Contains(got.stdout[len(run.stdout):], "Books, settled") {
		t.Errorf("printed again it is\n%s\nand was\n%s", got.stdout, run.stdout)
	}
	for _, want := range []string{"\nSessions 2 up and 2 down by the experiment, none dropped otherwise\n", "\nOverhead about "} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("printed again it does not say %q:\n%s", want, got.stdout)
		}
	}
	// The kernel measures from the first hits on; an estimate may be off, but not by
	// half.
	if o := d.Overhead; o == nil || o.Hits == 0 || o.SampledRuns == 0 || o.ProbesSeconds <= 0 || o.ProbesSeconds > 1.5*o.BIRDSeconds {
		t.Errorf("overhead %+v", o)
	}
	if page, err := os.Stat(filepath.Join(out, report.HTMLFile)); err != nil || page.Size() == 0 {
		t.Errorf("no page: %v", err)
	}
	if same := start(t, "diff", out, out).wait(); !strings.Contains(same.stdout, "Retained only in A: nothing") || !strings.Contains(same.stdout, "Retained only in B: nothing") {
		t.Errorf("a run differs from itself:\n%s", same.stdout)
	}

	if len(d.Series) == 0 {
		t.Fatal("no series")
	}
	var most int64
	for _, p := range d.Series {
		if p.LiveBytes == nil {
			t.Fatalf("no live bytes in %+v", p)
		}
		most = max(most, *p.LiveBytes)
	}
	if last := d.Series[len(d.Series)-1]; last.PeerUps != 2 || last.PeerDowns != 2 {
		t.Errorf("%d sessions came and %d went, want 2 each", last.PeerUps, last.PeerDowns)
	}
	for _, p := range d.Phases {
		if p.LiveBytes == nil {
			continue
		}
		var sum, objects uint64
		for _, l := range p.Live {
			sum, objects = sum+l.Bytes, objects+l.Objects
		}
		if sum != *p.LiveBytes || objects != *p.LiveObjects {
			t.Errorf("%s: allocators and pools have %d bytes in %d, the snapshot %d in %d", p.Name, sum, objects, *p.LiveBytes, *p.LiveObjects)
		}
		if p.Name == "flooded" && float64(most) < 0.9*float64(*p.LiveBytes) {
			t.Errorf("the series goes up to %d bytes, the look has %d", most, *p.LiveBytes)
		}
	}
}
