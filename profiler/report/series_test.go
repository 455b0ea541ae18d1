// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestRecorder: however long the run, the points are few, in order, and nothing
// that happened is missing from them.
func TestRecorder(t *testing.T) {
	for _, c := range []struct {
		name        string
		n, least    int
		every, idle time.Duration // idle: a pause in the middle
	}{
		{"short", 100, 100, 100 * time.Millisecond, 0},
		{"full", MaxPoints, MaxPoints, 100 * time.Millisecond, 0},
		{"one more", MaxPoints + 1, MaxPoints/2 + 1, 100 * time.Millisecond, 0},
		{"long", 100_000, MaxPoints / 3, 100 * time.Millisecond, 0},
		{"pause", 10_000, MaxPoints / 8, 100 * time.Millisecond, 2 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			peak := random.IntN(c.n)
			var r Recorder
			var last Point
			at := runStart
			for i := range c.n {
				if i == c.n/2 {
					at = at.Add(c.idle)
				}
				p := Point{Time: at, LiveBytes: int64(1000 + i%7), Routes: int64(i), PeerUps: uint64(i / 3), PeerDowns: uint64(i / 5)}
				if i == peak {
					p.LiveBytes = 1 << 40
				}
				r.Add(p)
				last = p
				at = at.Add(c.every)
			}
			points := r.Points()
			if len(points) > MaxPoints || len(points) < c.least {
				t.Errorf("%d points, want %d to %d", len(points), c.least, MaxPoints)
			}
			peaks := 0
			for i, p := range points {
				if p.LiveBytes == 1<<40 {
					peaks++
				}
				if i > 0 && (!p.Time.After(points[i-1].Time) || p.PeerUps < points[i-1].PeerUps) {
					t.Errorf("point %d is not after the one before: %+v, %+v", i, points[i-1], p)
				}
			}
			// No part of the run is coarser than the others.
			whole := points[len(points)-1].Time.Sub(points[0].Time) - c.idle
			for i := 1; i < len(points); i++ {
				if gap := points[i].Time.Sub(points[i-1].Time); gap > c.idle+8*whole/time.Duration(len(points)) {
					t.Errorf("%v between points %d and %d of %d in %v", gap, i-1, i, len(points), whole)
				}
			}
			if peaks != 1 {
				t.Errorf("the peak is there %d times", peaks)
			}
			end := points[len(points)-1]
			if !end.Time.Equal(last.Time) || end.PeerUps != last.PeerUps || end.PeerDowns != last.PeerDowns || end.Routes != last.Routes {
				t.Errorf("ends with %+v, want %+v", end, last)
			}
		})
	}
}

func BenchmarkRecorder(b *testing.B) {
	var r Recorder
	p := Point{Time: runStart}
	for b.Loop() {
		p.Time = p.Time.Add(100 * time.Millisecond)
		r.Add(p)
	}
}
