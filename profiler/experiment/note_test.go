// SPDX-License-Identifier: Apache-2.0

package experiment

import "testing"

func TestSameMoment(t *testing.T) {
	const at = "Last reconfiguration on "
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{at + "2026-03-01 12:00:00.123", at + "2026-03-01 12:00:00.123", true},
		{at + "2026-03-01 12:00:00.123", at + "2026-03-01 12:00:00.122", true}, // as seen of BIRD 2.19.2
		{at + "2026-03-01 12:00:00.000", at + "2026-03-01 11:59:59.999", true},
		{at + "2026-03-01 12:00:00", at + "2026-03-01 11:59:59", true},
		{at + "2026-03-01 12:00:00.123", at + "2026-03-01 12:00:01.124", false},
		{at + "2026-03-01 12:00:00.123", at + "2026-03-02 12:00:00.123", false},
		{at + "12:00:00.123", at + "12:00:00.122", true},
		{at + "12:00:00.123", at + "12:00:03.122", false},
		{at + "12:00:00.123", at + "2026-03-01", false}, // another day, in the short format
		{at + "1 March", at + "1 March", true},
		{at + "1 March", at + "2 March", false},
		{"", "", true},
	} {
		if got := sameMoment(c.a, c.b); got != c.want {
			t.Errorf("sameMoment(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
		if got := sameMoment(c.b, c.a); got != c.want {
			t.Errorf("sameMoment(%q, %q) = %v, want %v", c.b, c.a, got, c.want)
		}
	}
}
