// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"strings"
	"testing"

	"leakprof/profiler/plan"
)

// TestWithout: only what no function needs is left out, and a site that has no
// program is an error.
func TestWithout(t *testing.T) {
	lp := []string{"lp_alloc", "lp_allocu", "lp_allocz"}
	for _, c := range []struct {
		without []string
		loaded  bool
	}{{nil, true}, {lp[:1], true}, {lp, false}} {
		config := Config{PID: os.Getpid(), Without: make(map[string]bool)}
		for _, name := range c.without {
			config.Without[name] = true
		}
		p, err := Load(config)
		if err != nil {
			t.Fatalf("%v (needs root)", err)
		}
		defer p.Close()
		info, err := p.objects.LeaveLpAlloc.Info()
		if err != nil {
			t.Fatal(err)
		}
		code, err := info.Instructions()
		if err != nil {
			t.Fatal(err)
		}
		if loaded := len(code) > 2; loaded != c.loaded {
			t.Errorf("without %v: the program of lp_alloc has %d instructions", c.without, len(code))
		}
		if len(c.without) == 0 {
			continue
		}
		if err := p.Attach(os.Getpid(), []plan.Site{{Function: "lp_alloc"}}); err == nil || !strings.Contains(err.Error(), "no program") {
			t.Errorf("without %v: %v", c.without, err)
		}
	}
}
