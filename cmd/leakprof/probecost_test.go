// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/plan"
	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/probecost"
)

// TestProbeCost: what doctor measures is kept, and plan reckons with it and
// chooses by it; what cannot be read is said.
func TestProbeCost(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	if c := measuredCosts(); c != nil {
		t.Fatalf("costs before anything was measured: %v", c)
	}
	var out strings.Builder
	if err := measureProbeCost(t.Context(), &out, true); err != nil {
		t.Fatalf("measure (needs root): %v", err)
	}
	var table probecost.Table
	if err := json.Unmarshal([]byte(out.String()), &table); err != nil {
		t.Fatal(err)
	}
	costs := measuredCosts()
	if costs == nil || !costs.Emulates(prologue.Push) || costs.Emulates(prologue.Other) {
		t.Fatalf("costs %+v of\n%s", costs, out.String())
	}
	// A kernel that emulates everything but one instruction.
	for _, kind := range table.Costs {
		for form := range kind {
			kind[form] = 123
		}
		kind[prologue.Ret] = 9000
	}
	if err := table.Save(); err != nil {
		t.Fatal(err)
	}
	p, closePlan, err := makePlan("", findBird(t, "bird2-sid").Path, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closePlan()
	for _, s := range p.Sites {
		if s.Offset != 0 || !s.Emulated || s.Cost().Nanoseconds() != 123 {
			t.Errorf("%s is probed at +%d, emulated %v, for %s", s.Function, s.Offset, s.Emulated, s.Cost())
		}
	}
	if err := os.WriteFile(filepath.Join(cache, "leakprof/probe-cost.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := measuredCosts(); c != nil {
		t.Errorf("costs of a file that cannot be read: %v", c)
	}
}
