// SPDX-License-Identifier: Apache-2.0

package session

import "testing"

// TestResumed: the look once a station reads again comes when what BIRD had kept
// for it has gone, within the same cycle.
func TestResumed(t *testing.T) {
	w := newWorld(Options{Driven: true})
	w.run(3*settle, nil, nil)
	w.note(w.m.Begin(Flooding, 0, w.o.Time))
	w.run(3*settle, nil, nil)
	w.note(w.m.Begin(Dropping, 0, w.o.Time))
	w.run(3*settle, nil, nil)
	w.history = nil
	w.note(w.m.Begin(Resumed, 0, w.o.Time))
	w.run(10*settle, func(o *Observation) { o.LiveBytes -= 64 << 10 }, nil)
	w.expect(t, "began resumed 1")
	w.run(3*settle, nil, nil)
	w.expect(t, "look resumed 1")
	w.note(w.m.Begin(Flooding, 0, w.o.Time))
	w.expect(t, "began flooding 2")
}
