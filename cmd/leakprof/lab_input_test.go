// SPDX-License-Identifier: Apache-2.0

package main

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/collector/bgp"
	"leakprof/collector/bgp/mrt/mrttest"
	"leakprof/profiler/report"
)

func TestLabInputUsage(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--ipv6 101", "want 0 to 100 percent"},
		{"--churn fast", "want a number of routes per second"},
		{"--churn -1/s", "want a number of routes per second"},
		{"--churn 1e9", "want a number of routes per second"},
		{"--churn 10/s --churn-for 0s", "must be more than 0"},
		{"--churn-for 5s", "give both"},
		{"--churn 10/s --churn-for 20m --limit 10m", "must be more than --churn-for 20m0s"},
		{"--drop bang", "want notification, reset or silence"},
		{"--mrt x --preset report", "give one of them"},
		{"--mrt x --overlap", "leave out --overlap"},
		{"--mrt x --ipv6 50", "leave out --ipv6"},
		{"--preset report --ipv6 50", "leave out --peers, --routes"},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := start(t, append([]string{"lab"}, strings.Fields(c.args)...)...).wait()
			if got.status != exitUsage || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit status %d, want %d and %q:\n%s", got.status, exitUsage, c.says, got.stderr)
			}
		})
	}
}

func TestLabInputErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("this is neither a dump nor a configuration\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flag, file, says string }{
		{"--mrt", filepath.Join(dir, "missing"), "no such file"},
		{"--mrt", text, "read " + text + ": record 1 at offset 0: "},
		{"--config", filepath.Join(dir, "missing"), "no such file"},
		{"--config", text, "refuses the configuration"},
	} {
		t.Run(c.flag+" "+filepath.Base(c.file), func(t *testing.T) {
			got := start(t, "lab", "--bird", birdPath(t, birds[0]), "--attach=false", c.flag, c.file).wait()
			if got.status != exitError || !strings.Contains(got.stderr, c.says) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("exit status %d, want %d and one line with %q:\n%s", got.status, exitError, c.says, got.stderr)
			}
		})
	}
}

// flooded returns how many routes BIRD had at each look at which the flood was in.
func flooded(d *report.Document) (routes []int64) {
	for _, p := range d.Phases {
		if p.Name == "flooded" && p.Routes != nil {
			routes = append(routes, *p.Routes)
		}
	}
	return routes
}

// TestLabDump: the routes of a compressed dump, of both families, in the kernel's table and
// churning, on a healthy BIRD whose sessions are reset.
func TestLabDump(t *testing.T) {
	var ribs []mrttest.RIB
	for i := range 2000 {
		paths := [][]uint32{{3356, uint32(1 + i/4)}, {174, uint32(1 + i/4)}}
		ribs = append(ribs, mrttest.RIB{Prefix: bgp.Prefix(i).String(), Paths: paths}, mrttest.RIB{Prefix: bgp.Prefix6(i).String(), Paths: paths[:1]})
	}
	plain, err := os.ReadFile(mrttest.Write(t, append(ribs, mrttest.RIB{Prefix: "127.0.0.0/8", Paths: [][]uint32{{1}}})))
	if err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(t.TempDir(), "rib.gz")
	file, err := os.Create(dump)
	if err != nil {
		t.Fatal(err)
	}
	zipped := gzip.NewWriter(file)
	zipped.Write(plain)
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	file.Close()

	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, "bird2-sid"), "--mrt", dump, "--peers", "2", "--kernel", "--churn", "4000/s", "--churn-for", "300ms",
		"--drop", "reset", "--cycles", "2", "--settle", "500ms", "--out", out).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	if want := "6000 routes to 4000 prefixes, 2000 of them IPv6; left out: 1 martian prefixes"; !strings.Contains(got.stderr, want) {
		t.Errorf("it does not say %q:\n%s", want, got.stderr)
	}
	d := readReport(t, out)
	// One more: to the gateway of the kernel's routes.
	if routes := flooded(d); d.Verdict != report.Clean || len(routes) != 2 || routes[0] != 6001 || routes[1] != 6001 {
		t.Errorf("verdict %s, flooded with %d routes: %s", d.Verdict, routes, d.VerdictSentence)
	}
}

// TestLabConfig: a user's configuration, with routes and a kernel of its own, beside the
// lab's peers that fall silent.
func TestLabConfig(t *testing.T) {
	config := filepath.Join(t.TempDir(), "bird.conf")
	if err := os.WriteFile(config, []byte(`
router id 10.1.2.3;
protocol device { }
protocol kernel { ipv4 { export all; }; }
protocol static { ipv4; route 203.0.113.0/24 blackhole; }
`), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, "bird2-sid"), "--config", config, "--routes", "2000", "--ipv6", "50", "--drop", "silence",
		"--cycles", "2", "--settle", "500ms", "--out", out).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	d := readReport(t, out)
	if routes := flooded(d); d.Verdict != report.Clean || len(routes) != 2 || routes[0] != 8001 || routes[1] != 8001 {
		t.Errorf("verdict %s, flooded with %d routes: %s", d.Verdict, routes, d.VerdictSentence)
	}
}
