// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"testing"

	"leakprof/collector/bmp"
	"leakprof/collector/session"
)

func TestParseTreatment(t *testing.T) {
	for text, want := range map[string]Treatment{
		"normal": {}, "slow=64k": {Behavior: bmp.Slow(64 << 10)}, "stall": {Behavior: bmp.StallAfter(0)}, "stall=7": {Behavior: bmp.StallAfter(7)},
		"stall@flooding": {From: session.Flooding}, "stall@running": {From: session.Running}, "close@dropping": {From: session.Dropping, Close: true},
	} {
		var got Treatment
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %+v, error %v, want %+v", text, got, err, want)
		}
		if again, err := ParseTreatment(got.String()); err != nil || again != want {
			t.Errorf("%s becomes %s, and that %+v, error %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "fast", "stall@", "stall@settled", "stall@baseline", "stall=7@flooded", "slow@flooded", "close", "@flooded"} {
		if got, err := ParseTreatment(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}
