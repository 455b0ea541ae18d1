// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"net/netip"
	"slices"
	"testing"
)

func TestParseBFDSessions(t *testing.T) {
	r := &Reply{Lines: []Line{
		{Code: codeBFD, Text: "bfd1:"},
		{Code: codeBFD, Text: "IP address                Interface  State      Since         Interval  Timeout"},
		{Code: codeBFD, Text: "192.0.2.1                 eth0       Up         12:00:00.123    0.100    0.500"},
		{Code: codeBFD, Text: "192.0.2.2                 ---        Down       2026-11-22 12:00:00    1.000    0.000"},
		{Code: codeBFD, Text: "2001:db8::1               eth0       Up         2026-11-21      0.100    0.500"},
		{Code: codeProtocol, Text: "192.0.2.3 x Up"},
		{Code: codeBFD, Text: ""},
	}}
	want := []BFDSession{
		{netip.MustParseAddr("192.0.2.1"), "eth0", "Up", "12:00:00.123"},
		{netip.MustParseAddr("192.0.2.2"), "---", "Down", "2026-11-22 12:00:00"},
		{netip.MustParseAddr("2001:db8::1"), "eth0", "Up", "2026-11-21"},
	}
	if got := parseBFDSessions(r); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
