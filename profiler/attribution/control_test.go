// SPDX-License-Identifier: Apache-2.0

package attribution

import "testing"

func TestIsControl(t *testing.T) {
	for pool, want := range map[string]bool{
		"Root/CLI/CLI":         true,
		"Root/CLI/CLI/Tmp":     true,
		"Root/CLI":             false, // what listens
		"Root/CLImate/CLI":     false,
		"Root/Protocols/CLI/x": false,
		"":                     false,
	} {
		if got := isControl(pool); got != want {
			t.Errorf("pool %q is of a control connection: %v, want %v", pool, got, want)
		}
	}
}
