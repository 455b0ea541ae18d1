// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/collector/bmp"
	"leakprof/profiler/report"
)

// readReport reads what a run left in dir, and checks it against the schema.
func readReport(t *testing.T, dir string) *report.Document {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, report.JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, raw)
	d, err := report.ReadJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pprof runs the real go tool pprof; anything on its standard error is a
// warning that a user would see.
func pprof(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"tool", "pprof", "-symbolize=none"}, args...)...)
	cmd.Env = append(os.Environ(), "PPROF_TMPDIR="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("go tool pprof %v: %v\n%s", args, err, stderr.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("go tool pprof %v warns:\n%s", args, stderr.String())
	}
	return stdout.String()
}

// TestLab runs the whole experiment on each of Debian's BIRDs. They are
// healthy, and it must say so.
func TestLab(t *testing.T) {
	for _, name := range birds {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			got := start(t, "lab", "--bird", birdPath(t, name), "--routes", "5000", "--cycles", "2", "--settle", "500ms", "--out", out, "--fail-on-retained", "64k").wait()
			if got.status != exitDone {
				t.Fatalf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
			}
			d := readReport(t, out)
			if d.Verdict != report.Clean {
				t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
			}
			var names []string
			for _, p := range d.Phases {
				names = append(names, p.Name)
				switch p.Name {
				case "flooded":
					if p.Routes == nil || *p.Routes != 4*5000 {
						t.Errorf("flooded with %v routes, want 20000", p.Routes)
					}
					if p.BMPCounts[bmp.TypePeerUp.String()] < 4 || p.BMPCounts["Prefixes Announced"] < 20000 {
						t.Errorf("BMP says %v, want 4 peers and 20000 prefixes", p.BMPCounts)
					}
				case "settled":
					if p.Routes == nil || *p.Routes != 0 {
						t.Errorf("settled with %v routes, want 0", p.Routes)
					}
				}
			}
			if got, want := strings.Join(names, " "), "baseline flooding flooded dropping settled flooding flooded dropping settled"; got != want {
				t.Errorf("phases %s, want %s", got, want)
			}
			if q := d.StackQuality; float64(q.Complete) < 0.999*float64(q.Allocations) || q.Allocations == 0 {
				t.Errorf("%d of %d stacks are complete, the others end in %v", q.Complete, q.Allocations, q.Ends)
			}
			for _, h := range d.Health {
				t.Logf("health: %+v", h)
			}
			for _, p := range []string{"baseline", "flooded", "settled", "retained"} {
				top := pprof(t, "-top", filepath.Join(out, p+".pb.gz"))
				if p != "retained" && !strings.Contains(top, "malloc") {
					t.Errorf("%s: no malloc in\n%s", p, top)
				}
			}
			if through := checkSources(t, birdPath(t, name), out); through["proto/bgp/"] == 0 {
				t.Errorf("no retained stack goes through BGP: %v", through)
			}
			tags := pprof(t, "-tags", filepath.Join(out, "settled.pb.gz"))
			for _, want := range []string{"Root/Protocols", "Root/Routing tables", "mb", "Memory", "baseline"} {
				if !strings.Contains(tags, want) {
					t.Errorf("the tags do not name %q:\n%s", want, tags)
				}
			}
			pprof(t, "-tree", filepath.Join(out, "flooded.pb.gz"))
			pprof(t, "-top", "-diff_base="+filepath.Join(out, "baseline.pb.gz"), filepath.Join(out, "flooded.pb.gz"))
			for _, want := range []string{"CLEAN", "show memory", "Routing tables", "Protocols", "Total", "before", "flooded", "dropped"} {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("the report does not say %q:\n%s", want, got.stdout)
				}
			}
		})
	}
}

// TestLabWithoutProbesOrBMP: what remains is BIRD's own account.
func TestLabWithoutProbesOrBMP(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, birds[0]), "--attach=false", "--bmp=false", "--routes", "1000", "--cycles", "1", "--settle", "300ms", "--out", out).wait()
	if got.status != exitDone || !strings.Contains(got.stdout, "Routing tables") {
		t.Errorf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	if d := readReport(t, out); d.Verdict != report.Incomplete {
		t.Errorf("verdict %s without probes", d.Verdict)
	}
}

// TestLabCleansUp: an interrupted lab reports what it has, and leaves no BIRD
// and no directory.
func TestLabCleansUp(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	before := labDirectories(t, birds[0])
	run := start(t, "lab", "--bird", birdPath(t, birds[0]), "--routes", "20000", "--settle", "500ms", "--out", out)
	run.says(t, "flooding")
	run.Process.Signal(os.Interrupt)
	got := run.wait()
	if got.status != exitDone {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
	if d := readReport(t, out); d.Verdict != report.Incomplete {
		t.Errorf("verdict %s of an interrupted run", d.Verdict)
	}
	var pid int
	if _, err := fmt.Sscanf(got.stderr, "leakprof: BIRD %s pid %d", new(string), &pid); err != nil {
		t.Fatalf("no pid in %q", got.stderr)
	}
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("bird with pid %d is left: %v", pid, err)
	}
	for dir := range labDirectories(t, birds[0]) {
		if !before[dir] {
			t.Errorf("left behind: %s", dir)
		}
	}
}

// labDirectories are the directories of labs in a BIRD's root.
func labDirectories(t *testing.T, bird string) map[string]bool {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("../../.bird", bird, "run/leakprof-lab-*"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, dir := range all {
		found[dir] = true
	}
	return found
}
