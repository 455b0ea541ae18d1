// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestChart: each point is where its median says, and the drawing is XML.
func TestChart(t *testing.T) {
	c := chart{
		title: "a < b & c", x: "objects", y: "ns", tick: short, ticks: []float64{1e4, 1e6},
		lines: []line{{"ours", "#000", []point{
			{1e4, spread{N: 3, Median: 0, Min: -5, Max: 10}},
			{1e5, spread{N: 3, Median: 50, Min: 40, Max: 60}},
			{1e6, spread{N: 3, Median: 100, Min: 90, Max: 100}},
		}}},
	}
	var shape struct {
		Title   string `xml:"title"`
		Circles []struct {
			X float64 `xml:"cx,attr"`
			Y float64 `xml:"cy,attr"`
		} `xml:"circle"`
	}
	if err := xml.Unmarshal([]byte(c.svg()), &shape); err != nil {
		t.Fatal(err)
	}
	if shape.Title != c.title || len(shape.Circles) != 4 { // three points, and the legend's
		t.Fatalf("%+v", shape)
	}
	for i, want := range [][2]float64{
		{marginLeft, marginTop + plotHeight},
		{marginLeft + plotWidth/2, marginTop + plotHeight/2},
		{marginLeft + plotWidth, marginTop},
	} {
		if got := shape.Circles[i]; math.Abs(got.X-want[0]) > 0.1 || math.Abs(got.Y-want[1]) > 0.1 {
			t.Errorf("point %d at %v, want %v", i, got, want)
		}
	}
}

// TestChartOfLittle: nothing, or one point, is drawn too.
func TestChartOfLittle(t *testing.T) {
	for _, points := range [][]point{nil, {{1e4, spread{N: 1, Median: 5, Min: 5, Max: 5}}}, {{1e4, spread{N: 1}}}} {
		text := chart{tick: short, lines: []line{{"ours", "#000", points}}}.svg()
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%v: %s", points, text)
		}
	}
}

func TestNiceStep(t *testing.T) {
	for v, want := range map[float64]float64{0.7: 1, 1: 1, 1.1: 2, 3: 5, 5.1: 10, 60: 100, 2000: 2000, 0.03: 0.05} {
		if got := niceStep(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}

// TestPlots: what a hit costs is what a run takes longer than that of its round without a
// profiler, for each hit that leakprof counts.
func TestPlots(t *testing.T) {
	var runs []run
	for round := 1; round <= 3; round++ {
		for i, routes := range []int{4000, 40_000} {
			of := func(variant string, cpu float64) run {
				return run{Variant: variant, Round: round, Routes: routes, Threads: i + 1, Flood: phase{CPU: cpu}}
			}
			alone := float64(round) // a machine that gets slower
			exact := of("exact", alone+0.002*float64(routes)/1000)
			exact.Hits, exact.LiveObjects = uint64(2*routes), int64(5*routes/2)
			runs = append(runs, exact, of(none, alone), of("floor of exact", alone+0.001*float64(routes)/1000))
		}
	}
	failed := runs[0]
	failed.Error, failed.Flood.CPU = "ended", 1000
	for _, c := range []chart{plotObjects("title", append(runs, failed)), plotThreads("title", runs)} {
		var got []string
		for _, l := range c.lines {
			for _, p := range l.points {
				got = append(got, fmt.Sprintf("%.0f:%.0f", p.x, p.y.Median))
			}
		}
		want := []string{"10000:1000", "100000:1000", "10000:500", "100000:500"}
		if strings.Contains(c.title, "threads") {
			want = []string{"1:1000", "2:1000", "1:500", "2:500"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", c.title, got, want)
		}
	}
	if c := plotThreads("title", nil); len(c.ticks) != 0 || !strings.Contains(c.svg(), "</svg>") {
		t.Error("runs that say nothing cannot be drawn")
	}
}
