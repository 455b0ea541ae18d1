// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"testing"
)

func TestAmount(t *testing.T) {
	for bytes, want := range map[float64]string{
		0: "0 B", 6224: "6224 B", 9999: "9999 B", 10_000: "9.8 kB", -10_000: "-9.8 kB", 10_239_900: "9999.9 kB",
		1018 << 20: "1018.0 MB", 10_000 << 20: "9.8 GB", 412 << 20: "412.0 MB", 20 * 1024: "20.0 kB", 1 << 60: "1024.0 PB", 1e308: "4096.0 PB", 6224.4: "6224 B",
	} {
		if got := amount(bytes); got != want {
			t.Errorf("amount(%v) = %q, want %q", bytes, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1: "-1", -1000: "-1,000", math.MinInt64: "-9,223,372,036,854,775,808"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %q, want %q", n, got, want)
		}
	}
	if got, want := number(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"; got != want {
		t.Errorf("number(MaxUint64) = %q, want %q", got, want)
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		part, whole float64
		want        string
	}{{0, 0, "0%"}, {0, 5, "0%"}, {5, 5, "100%"}, {1, 3, "33.33%"}, {1, 1e6, "<0.01%"}, {999_999, 1e6, "99.99%"}, {1, 2, "50%"}, {6, 5, "100%"}} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("percent(%v, %v) = %q, want %q", c.part, c.whole, got, c.want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"out/x.pb.gz": "out/x.pb.gz", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "ä": "'ä'", "~": "'~'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSplitAllocator(t *testing.T) {
	frames := func(names ...string) (all []DocumentFrame) {
		for _, n := range names {
			all = append(all, DocumentFrame{Function: n})
		}
		return all
	}
	for _, c := range []struct {
		in, first string
		frames    []DocumentFrame
		through   int
	}{
		{"BIRD", "bmp_startup", frames("malloc", "bird_xmalloc", "mb_alloc", "bmp_startup", "proto_rethink_goal"), 3},
		{"clones and stubs", "main", frames("malloc@plt", "mb_alloc.constprop.0", "mb_allocz.lto_priv.0.cold", "main"), 3},
		{"BIRD 3.1", "ea_lookup_slow", frames("alloc_page", "sl_alloc", "sth_alloc", "ea_lookup_slow"), 3},
		{"BIRD 3.3", "bgp_init_pending_tx", frames("alloc_page", "isl_alloc_obj_page", "isl_alloc", "isl_allocz", "bgp_init_pending_tx"), 4},
		{"a linpool's first chunk", "config_alloc", frames("alloc_page", "lp_alloc_slow", "lp_alloc", "lp_save", "lp_new", "config_alloc"), 5},
		{"allocators only", "malloc", frames("malloc", "xmalloc"), 0},
		{"an allocator further out", "hook", frames("malloc", "hook", "mb_alloc", "main"), 1},
	} {
		through, rest := splitAllocator(c.frames)
		if rest[0].Function != c.first || len(through) != c.through {
			t.Errorf("%s: through %q to %s, want %d to %s", c.in, through, rest[0].Function, c.through, c.first)
		}
	}
	if through, rest := splitAllocator(nil); through != nil || len(rest) != 0 {
		t.Errorf("no frames: %q, %v", through, rest)
	}
}

// TestMemoryNumbers: BIRD's own text is shown where it is of BIRD's form.
func TestMemoryNumbers(t *testing.T) {
	overhead := 2048.0
	for _, c := range []struct {
		text                string
		overhead            *float64
		wantFirst, wantNext string
	}{
		{"33.0 kB 2.0 kB", &overhead, "33.0 kB", "2.0 kB"},
		{"6224.0 B 2.0 kB", &overhead, "6224.0  B", "2.0 kB"},
		{"33.0 kB", nil, "33.0 kB", ""},
		{"", &overhead, "9.8 kB", "2048 B"},
		{"", nil, "9.8 kB", ""},
		{"33.0 kB", &overhead, "9.8 kB", "2048 B"},
		{"33.0 kB 2.0 kB", nil, "9.8 kB", ""},
		{"123456789.0 kB 2.0 kB", &overhead, "9.8 kB", "2048 B"},
		{"33.0 kilobytes 2.0 kB", &overhead, "9.8 kB", "2048 B"},
	} {
		l := DocumentMemoryLine{Text: c.text, EffectiveBytes: 10_035.2, OverheadBytes: c.overhead}
		if first, next := l.numbers(); first != c.wantFirst || next != c.wantNext {
			t.Errorf("%q is printed as %q and %q, want %q and %q", c.text, first, next, c.wantFirst, c.wantNext)
		}
	}
}

// TestBefore says what was there before, and whether that is all.
func TestBefore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before DocumentBefore
		want   string
	}{
		{DocumentBefore{Bytes: 2048, Blocks: 1, Pages: 2}, "2048 B in 1 block and 2 pages were there when leakprof attached, without stacks"},
		{DocumentBefore{Bytes: 2048, Blocks: 1, Pages: 2, Unknown: "it moved"}, "2048 B in 1 block and 2 pages were there when leakprof attached, without stacks; there may be more: it moved"},
		{DocumentBefore{Unknown: "it moved"}, "what was there when leakprof attached is not known: it moved"},
	} {
		if got := c.before.sentence(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}
