// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"testing"

	"leakprof/profiler/attribution"
)

// TestHolder: the sentence names who holds all of it, or most, and else nobody.
func TestHolder(t *testing.T) {
	by := func(bytes int64, pools ...string) (s attribution.Retained) {
		s.Bytes = bytes
		for _, p := range pools {
			s.Holders = append(s.Holders, attribution.Holder{Class: "Memory", Pool: p})
		}
		return s
	}
	room := func(bytes int64, pool string) attribution.Retained {
		s := by(bytes, pool)
		s.Empty = bytes
		return s
	}
	for _, c := range []struct {
		name string
		all  []attribution.Retained
		want string
	}{
		{"one", []attribution.Retained{by(10, "Root/a", "Root/b"), by(1, "Root/a")}, " by Memory in Root/a"},
		{"most", []attribution.Retained{by(10, "Root/a"), by(9, "Root/b")}, ", most of it by Memory in Root/a"},
		{"most in several stacks", []attribution.Retained{by(5, "Root/a"), by(4, "Root/b"), by(4, "Root/b")}, ", most of it by Memory in Root/b"},
		{"many", []attribution.Retained{by(10, "Root/a"), by(9, "Root/b"), by(9, "Root/c")}, ""},
		{"unknown", []attribution.Retained{by(10), by(9, "Root/b")}, ""},
		{"room in larger arrays", []attribution.Retained{room(20, "Root/b"), by(10, "Root/a"), by(3, "Root/c")}, ", most of it by Memory in Root/a"},
		{"room alone", []attribution.Retained{room(20, "Root/b"), room(10, "Root/a")}, ", most of it by Memory in Root/b"},
		{"nobody", []attribution.Retained{by(10)}, ""},
	} {
		if got := holder(c.all); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestInPool: the sentence names the pool of all stacks, or of nearly all bytes.
func TestInPool(t *testing.T) {
	of := func(bytes int64, pool string) attribution.Retained {
		return attribution.Retained{Bytes: bytes, Pool: pool}
	}
	for _, c := range []struct {
		name string
		all  []attribution.Retained
		want string
	}{
		{"one", []attribution.Retained{of(5, "Root/a"), of(5, "Root/a")}, "; pool Root/a"},
		{"nearly all", []attribution.Retained{of(50, "Root/a"), of(45, "Root/a"), of(4, "Root/b"), of(1, "")}, "; 95.0 % of that in pool Root/a"},
		{"most", []attribution.Retained{of(50, "Root/a"), of(45, "Root/b")}, ""},
		{"not known", []attribution.Retained{of(99, ""), of(1, "Root/a")}, ""},
	} {
		if got := inPool(c.all); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
