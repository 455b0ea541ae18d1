// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"testing"
	"time"

	"leakprof/collector/session"
)

// TestRoutesOfBaseline: what comes in while the baseline is not at rest yet counts
// in its routes, and so does what a command brings in the cycle's.
func TestRoutesOfBaseline(t *testing.T) {
	t.Parallel()
	w := startBird(t, "bird2-sid", 2, nil)
	done := w.follow(t, 1, func(c *Config) {
		c.Session.Settle = time.Second
		c.Command = func(ctx context.Context) error {
			_, err := w.dial(ctx, 1, 500)
			return err
		}
	})
	w.wait(t, "routes counted", func(s Status) bool { return s.Phase == session.Baseline && s.Routes == 0 })
	w.speak(t, 0, 1000)
	res := <-done
	if res == nil {
		t.FailNow()
	}
	for i, want := range []int64{1000, -1, 1500} {
		if p := res.Phases[i]; p.Routes != want {
			t.Errorf("%d routes at the end of %s, want %d", p.Routes, p.Name, want)
		}
	}
}
