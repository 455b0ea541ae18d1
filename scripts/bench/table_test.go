// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"leakprof/profiler/report"
)

var update = flag.Bool("update", false, "write golden files")

// TestTables: the tables of runs that were written and read again.
func TestTables(t *testing.T) {
	var raw bytes.Buffer
	for _, bird := range []struct{ name, version string }{{"bird2-sid", "2.20.0"}, {"mine", "2.19.2"}} {
		for round := 1; round <= 3; round++ {
			for order, v := range []struct {
				name        string
				flood, drop float64
				hits        uint64
				rss         int64
				err         string
			}{
				{name: "exact", flood: 1 + 0.1*float64(round), drop: 0.5, hits: 330_000, rss: 60e6},
				{name: none, flood: 0.2, drop: 0.1},
				{name: again, flood: 0.2 + 0.01*float64(round), drop: 0.1},
				{name: "floor of exact", flood: 0.6, drop: 0.2},
				{name: "walk", err: "leakprof has ended"},
				{name: "heaptrack", flood: 0.4, drop: 0.1, err: map[int]string{2: "not done after 1m0s"}[round]},
			} {
				r := run{
					Bird: bird.name, Version: bird.version, Variant: v.name, Round: round, Order: order + 1, Peers: 4, Routes: 80_000,
					Flood: phase{v.flood, 2 * v.flood}, Drop: phase{v.drop, 2 * v.drop}, ForeignPercent: 12,
					BirdRSS: 38e6, Hits: v.hits, ToolRSS: v.rss, Error: v.err,
				}
				if v.hits > 0 {
					r.HitsBy = []report.FunctionHits{{Function: "alloc_page", Entered: 200_000, Returned: 40_000}, {Function: "mb_free", Entered: 90_000}}
				}
				if err := json.NewEncoder(&raw).Encode(r); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	runs, err := readRuns(&raw)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := writeTables(&got, runs); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if err := writeRuns(&got, runs[:7]); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/tables.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("tables are not as in %s (-update writes it):\n%s", golden, got.String())
	}
}

func TestReadRunsCut(t *testing.T) {
	if _, err := readRuns(strings.NewReader("{\"bird\":\"a\"}\n{\"bird\":")); err == nil {
		t.Error("a line that was cut is read")
	}
}

func TestFromReport(t *testing.T) {
	var r run
	err := fromReport([]byte(`{"verdict":"clean","overhead":{"hits":12,"functions":[{"function":"free","entered":9,"returned":3}]},
		"phases":[{"name":"baseline","live_bytes":1,"live_objects":1},{"name":"flooding","live_bytes":null,"live_objects":null},
			{"name":"flooded","live_bytes":4096,"live_objects":7},{"name":"settled","live_bytes":2,"live_objects":2}],
		"health":[{"count":3,"harmless":false},{"count":50,"harmless":true}]}`), &r)
	want := run{Verdict: "clean", Hits: 12, HitsBy: []report.FunctionHits{{Function: "free", Entered: 9, Returned: 3}}, LiveBytes: 4096, LiveObjects: 7, Lost: 3}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if err := fromReport([]byte(`{"verdict":"clean","overhead":null,"phases":[],"health":[]}`), &r); err != nil {
		t.Error(err)
	}
	if err := fromReport([]byte(`{"verdict":`), &r); err == nil {
		t.Error("a report that was cut is read")
	}
}
