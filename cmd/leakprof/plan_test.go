// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"leakprof/collector/lab"
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
	for _, want := range []string{"EVENT", "page returned", "structure", "Covered", "Unseen"} {
		if !strings.Contains(text.stdout, want) {
			t.Errorf("the plan does not say %q:\n%s", want, text.stdout)
		}
	}
}

func TestPlanUsage(t *testing.T) {
	for _, args := range [][]string{{"plan"}, {"plan", "--pid", "1", "--exe", "x"}} {
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
