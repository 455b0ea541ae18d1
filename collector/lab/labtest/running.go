// SPDX-License-Identifier: Apache-2.0

package labtest

import (
	"context"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
)

// Start starts a BIRD that runs until the test ends.
func Start(t testing.TB, c lab.Config) *lab.Bird {
	t.Helper()
	ctx := t.Context()
	b, err := lab.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Dial opens a connection to a BIRD's control socket until the test ends.
func Dial(t testing.TB, b *lab.Bird) *birdc.Conn {
	t.Helper()
	c, err := birdc.Dial(t.Context(), b.Control())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Patience is for how long tests wait for BIRD, on a loaded machine.
const Patience = 60 * time.Second

// WaitRoutes waits until BIRD has so many routes in all tables.
func WaitRoutes(t testing.TB, c *birdc.Conn, want uint64) {
	t.Helper()
	var sum uint64
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		counts, err := c.ShowRouteCount(t.Context(), "table all")
		if err != nil {
			t.Fatal(err)
		}
		sum = 0
		for _, n := range counts {
			sum += n.Total
		}
		if sum == want {
			return
		}
	}
	t.Fatalf("BIRD has %d routes after %v, want %d", sum, Patience, want)
}
