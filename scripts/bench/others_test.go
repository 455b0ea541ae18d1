// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestParseReports(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func([]byte) (int64, error)
		text  string
		want  int64 // negative: an error
	}{
		{"heaptrack", parseHeaptrack, "peak heap memory consumption: 9.99M after 00.1s\ntotal memory leaked: 1.60M\n", 1_600_000},
		{"heaptrack, bytes", parseHeaptrack, "total memory leaked: 72B\n", 72},
		{"heaptrack, nothing", parseHeaptrack, "calls to allocation functions: 0\n", -1},
		{"gperftools", parseGperftools, "heap profile:      7:    11208 [   107:    74608] @ heapprofile\n   1: 32 [ 1: 32] @ 0x1\n", 11208},
		{"gperftools, cut", parseGperftools, "heap pro", -1},
		{"jemalloc, unsampled", parseJemalloc, "heap_v2/1\n  t*: 3: 96 [0: 0]\n  t0: 3: 96 [0: 0]\n@ 0x1 0x2\n  t*: 2: 64 [0: 0]\n  t0: 2: 64 [0: 0]\n@ 0x3\n  t*: 1: 32 [0: 0]\n", 96},
		// 32 of 524288: each sample stands for 1/(1-exp(-32/524288)), 16384.5 objects.
		{"jemalloc, sampled", parseJemalloc, "heap_v2/524288\n  t*: 3: 96 [0: 0]\n@ 0x1\n  t*: 3: 96 [0: 0]\n\nMAPPED_LIBRARIES:\n", 1_572_912},
		{"jemalloc, nothing live", parseJemalloc, "heap_v2/524288\n  t*: 0: 0 [0: 0]\n", 0},
		{"jemalloc, another format", parseJemalloc, "heap_v3/1\n", -1},
		{"jemalloc, no rate", parseJemalloc, "heap_v2/0\n", -1},
		{"jemalloc, empty", parseJemalloc, "", -1},
	} {
		got, err := c.parse([]byte(c.text))
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("%s: %d, %v, want %d", c.name, got, err, c.want)
		}
	}
}

func TestAbsent(t *testing.T) {
	o := other{name: "none such", needs: []string{"/nonexistent/library.so", "leakprof-no-such-program"}, install: "apt-get install -y nothing"}
	if _, err := o.find(); !errors.Is(err, errAbsent) || err.Error() != "absent: apt-get install -y nothing" {
		t.Error(err)
	}
	if _, _, err := o.variant().begin(t.Context(), place{}); !errors.Is(err, errAbsent) {
		t.Error(err)
	}
}

func TestLibcOf(t *testing.T) {
	self, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	got, err := libcOf(os.Getpid(), "")
	if has := bytes.Contains(self, []byte("libc.so.6")); has != (err == nil) || has && !strings.HasSuffix(got, "/libc.so.6") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWriteLeaks(t *testing.T) {
	var leaks []leak
	for round := 1; round <= 2; round++ {
		for _, l := range []leak{
			{Variant: none, CPU: 0.01, Truth: 64e6}, {Variant: again, CPU: 0.01, Truth: 64e6},
			{Variant: "leakprof, blocks", CPU: 0.21, Truth: 64e6, Says: 64e6},
			{Variant: "memleak", CPU: 1.01, Truth: 64e6, Says: 32e6, ToolRSS: 14e6},
			{Variant: "heaptrack", CPU: 0.05, Truth: 64e6, Says: 64.1e6},
			{Variant: "jemalloc", CPU: 0.01, Truth: 64e6, Says: 60e6 + int64(round)*2e6},
			{Variant: "bpftrace", Error: "absent: apt-get install -y bpftrace"},
		} {
			l.Round, l.Kept, l.Pairs = round, 2_000_000, 4_000_000
			leaks = append(leaks, l)
		}
	}
	var got bytes.Buffer
	if err := writeLeaks(&got, leaks); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"leakprof, blocks 2 21.00 21.00-21.00 20 0.20", "64.00 64.00 right",
		"memleak 2 101.00 101.00-101.00 100 1.00 - 14", "32.00 64.00 WRONG",
		"right in 1 of 2",
		"bpftrace: 2 of 2 runs say nothing: absent: apt-get install -y bpftrace",
	} {
		if !strings.Contains(strings.Join(strings.Fields(got.String()), " "), want) {
			t.Errorf("there is no %q in\n%s", want, got.String())
		}
	}
}
