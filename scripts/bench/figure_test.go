// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseBenchmarks(t *testing.T) {
	const out = `goos: linux
goarch: amd64
pkg: leakprof/collector/bmp
BenchmarkStation/bird-2.19.2-2         	       4	 281234567 ns/op	   1234567 messages/s
BenchmarkStation/bird-2.19.2-2         	       4	 281234567 ns/op	   1334567 messages/s
BenchmarkStation/bird-2.19.2-by-message-2 	 4	 281234567 ns/op	   734567.5 messages/s	  12 B/op
BenchmarkMemory/blocks=1000/bytes=32   	       1	        96.50 kernel-B/block	   131.0 with-snapshot-B/block
some_test.go:12: a line of somebody's
PASS
`
	for _, c := range []struct {
		unit   string
		names  []string
		values map[string][]float64
	}{
		{"messages/s", []string{"Station/bird-2.19.2", "Station/bird-2.19.2-by-message"},
			map[string][]float64{"Station/bird-2.19.2": {1234567, 1334567}, "Station/bird-2.19.2-by-message": {734567.5}}},
		{"kernel-B/block", []string{"Memory/blocks=1000/bytes=32"}, map[string][]float64{"Memory/blocks=1000/bytes=32": {96.5}}},
		{"MB/s", nil, map[string][]float64{}},
	} {
		names, values, err := parseBenchmarks(strings.NewReader(out), c.unit)
		if err != nil || !slices.Equal(names, c.names) || !maps.EqualFunc(values, c.values, slices.Equal) {
			t.Errorf("%s: %q, %v, %v", c.unit, names, values, err)
		}
	}
	if _, _, err := parseBenchmarks(strings.NewReader("BenchmarkA 1 x MB/s\n"), "MB/s"); err == nil {
		t.Error("a value that is no number is read")
	}
}

func TestWriteFigures(t *testing.T) {
	var got bytes.Buffer
	err := writeFigures(&got, []figure{
		{What: "attach", Unit: "s", Values: []float64{0.2, 0.31, 0.25}, Limit: 0.3},
		{What: "detach", Unit: "s", Values: []float64{0.21}, Limit: 0.2},
		{What: "station", Unit: "messages/s", Values: []float64{1.2e6, 1.1e6}, Limit: 1e6, AtLeast: true},
		{What: "speakers", Unit: "prefixes/s", Values: []float64{1.9e6}, Limit: 2e6, AtLeast: true},
		{What: "noted", Unit: "kB", Values: []float64{12345}},
		{What: "snapshot", Unit: "s", Limit: 2, Error: "bird has ended"},
	})
	const want = `what      n  median  min-max      unit        limit
attach    3  0.25    0.2-0.31     s           at most 0.3: within
detach    1  0.21    0.21-0.21    s           at most 0.2: NOT within
station   2  1.15 M  1.1 M-1.2 M  messages/s  at least 1 M: within
speakers  1  1.9 M   1.9 M-1.9 M  prefixes/s  at least 2 M: NOT within
noted     1  12.3 k  12.3 k-12.3 k  kB          -
snapshot: nothing measured: bird has ended
`
	if err != nil || strings.Join(strings.Fields(got.String()), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("%v\n%s", err, got.String())
	}
}
