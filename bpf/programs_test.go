// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/plan"
)

// TestAttachOrder: no block may come to be live while what could free it is
// not probed yet.
func TestAttachOrder(t *testing.T) {
	sites := []plan.Site{
		{Event: plan.BlockAllocated, Function: "malloc"},
		{Event: plan.BlockAllocated, Function: "calloc"},
		{Event: plan.BlockResized, Function: "realloc"},
		{Event: plan.BlockFreed, Function: "free"},
		{Event: plan.BlockAllocated, Function: "mb_alloc"},
	}
	var got []string
	for _, s := range inAttachOrder(sites) {
		got = append(got, s.Function)
	}
	if want := []string{"free", "realloc", "malloc", "calloc", "mb_alloc"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
	if sites[0].Function != "malloc" {
		t.Error("the plan's own order has changed")
	}
}

// TestSteps: every function that can be planned has its program.
func TestSteps(t *testing.T) {
	for f := FunctionNone + 1; f < Function(liveFunctionFUNCTION_COUNT); f++ {
		if _, ok := steps[f.String()]; !ok {
			t.Errorf("no program for %s", f)
		}
		if got, ok := functionByName(f.String()); !ok || got != f {
			t.Errorf("%s is found as %v", f, got)
		}
	}
	if len(steps) != int(liveFunctionFUNCTION_COUNT)-1 {
		t.Errorf("%d steps, want %d", len(steps), liveFunctionFUNCTION_COUNT-1)
	}
}

func TestAttachUnknownFunction(t *testing.T) {
	err := new(Programs).Attach(1, []plan.Site{{Function: "sl_free"}})
	if err == nil || !strings.Contains(err.Error(), "sl_free") {
		t.Errorf("got %v", err)
	}
}
