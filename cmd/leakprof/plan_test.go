// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"leakprof/collector/lab"
	"leakprof/profiler/plan"
)

// TestPlan: of a running BIRD all of libc's functions are planned, and what is
// found in the program is the same whether it is looked at running or on disk.
func TestPlan(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird2-sid"), Peers: 1})
	plans := make(map[string]map[string]siteJSON)
	for name, args := range map[string][]string{
		"pid": {"plan", "--json", "--pid", strconv.Itoa(bird.PID())},
		"exe": {"plan", "--json", "--exe", birdPath(t, "bird2-sid")},
	} {
		got := start(t, args...).wait()
		if got.status != exitDone {
			t.Fatalf("%v: exit status %d\n%s", args, got.status, got.stderr)
		}
		var p planJSON
		if err := json.Unmarshal([]byte(got.stdout), &p); err != nil {
			t.Fatal(err)
		}
		sites := make(map[string]siteJSON)
		for _, s := range p.Sites {
			if s.HitNS <= 0 || s.Address == "" || s.FoundBy == "" {
				t.Errorf("incomplete site %+v", s)
			}
			s.Module = ""
			sites[string(s.Event)+" "+s.Function+" "+s.Address] = s
		}
		plans[name] = sites
	}
	functions := ""
	for _, s := range plans["pid"] {
		functions += s.Function + " "
	}
	for _, want := range []string{"malloc", "calloc", "realloc", "free", "posix_memalign", "alloc_page", "free_page"} {
		if !strings.Contains(" "+functions, " "+want+" ") {
			t.Errorf("%s is not planned: %s", want, functions)
		}
	}
	for key, s := range plans["exe"] {
		if plans["pid"][key] != s {
			t.Errorf("on disk %+v, running %+v", s, plans["pid"][key])
		}
	}
	if len(plans["exe"]) == 0 {
		t.Error("nothing is planned in the file")
	}
	text := start(t, "plan", "--pid", strconv.Itoa(bird.PID())).wait()
	for _, want := range []string{
		"EVENT", "page returned", "structure", "slab object freed         covered by the bitmap", "BIRD'S FUNCTION", "sl_free", "Covered", "Unseen",
	} {
		if !strings.Contains(text.stdout, want) {
			t.Errorf("the plan does not say %q:\n%s", want, text.stdout)
		}
	}
}

// TestPlanJSON: each event is told by something, each function has a place, and
// the sites of the events are those of the plan.
func TestPlanJSON(t *testing.T) {
	for _, name := range birds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := start(t, "plan", "--json", "--mode", "pages", "--linpool-objects", "--exe", birdPath(t, name)).wait()
			var p planJSON
			if err := json.Unmarshal([]byte(got.stdout), &p); err != nil || got.status != exitDone {
				t.Fatalf("exit status %d: %v\n%s", got.status, err, got.stderr)
			}
			if p.Mode != "pages" || !p.LinpoolObjects || len(p.Incomplete) > 0 {
				t.Errorf("mode %s, linpool objects %v, incomplete %v", p.Mode, p.LinpoolObjects, p.Incomplete)
			}
			var sites []siteJSON
			for _, e := range p.Events {
				sites = append(sites, e.Sites...)
				if len(e.Sites) == 0 && e.CoveredBy == "" && e.Missing == "" {
					t.Errorf("nothing tells of %q", e.Event)
				}
				if e.Event == plan.SlabObjectAllocated && len(e.Sites) > 0 {
					t.Errorf("slab objects are probed: %v", e.Sites)
				}
			}
			if len(p.Events) != 13 || !slices.Equal(sites, p.Sites) {
				t.Errorf("%d events with %d sites, %d sites in all", len(p.Events), len(sites), len(p.Sites))
			}
			functions := make(map[string]bool)
			for _, f := range p.Functions {
				functions[f.Function] = true
				if n, err := strconv.ParseUint(f.Address, 0, 64); err != nil || n == 0 || len(f.Signals) < 2 || f.Confidence == "" {
					t.Errorf("function %+v", f)
				}
			}
			for _, want := range []string{"mb_alloc", "mb_free", "rfree", "pool_free", "rp_new", "lp_flush", "sl_alloc", "sl_free", "alloc_page"} {
				if !functions[want] {
					t.Errorf("%s is not among the functions", want)
				}
			}
		})
	}
}

func TestPlanUsage(t *testing.T) {
	for _, args := range [][]string{{"plan"}, {"plan", "--pid", "1", "--exe", "x"}, {"plan", "--exe", "x", "--mode", "every"}} {
		if got := start(t, args...).wait(); got.status != exitUsage {
			t.Errorf("%v: exit status %d\n%s", args, got.status, got.stderr)
		}
	}
	for _, file := range []string{"/no/such/file", "/bin/true", "/etc/passwd"} {
		got := start(t, "plan", "--exe", file).wait()
		if got.status != exitError || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: exit status %d\n%s", file, got.status, got.stderr)
		}
	}
}
