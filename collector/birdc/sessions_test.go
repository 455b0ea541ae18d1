// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"reflect"
	"testing"
	"time"
)

func TestParseSessions(t *testing.T) {
	reply := &Reply{Lines: []Line{
		{Code: 2002, Text: "Name       Proto      Table      State  Since         Info"},
		{Code: codeProtocol, Text: "device1    Device     ---        up     12:00:00.000  "},
		{Code: codeProtocolDetail, Text: "    Routes:         9 imported, 0 exported, 9 preferred"},
		{Code: codeProtocol, Text: "peer1      BGP        ---        start  12:00:01.000  Active        Socket: Connection closed"},
		{Code: codeProtocolDetail, Text: "  BGP state:          Active"},
		{Code: codeProtocolDetail, Text: "    Neighbor address: 127.0.0.2"},
		{Code: codeProtocolDetail, Text: "    Neighbor graceful restart active"},
		{Code: codeProtocolDetail, Text: "    Restart timer:    83.512/-"},
		{Code: codeProtocolDetail, Text: "  Channel ipv4"},
		{Code: codeProtocolDetail, Text: "    Neighbor GR:    Regular"},
		{Code: codeProtocolDetail, Text: "    Routes:         3000 imported, 2 filtered, 0 exported, 3000 preferred"},
		{Code: codeProtocolDetail, Text: "  Channel ipv6"},
		{Code: codeProtocolDetail, Text: "    Routes:         4 imported, 0 exported, 4 preferred"},
		{Code: codeProtocol, Text: "peer2      BGP        ---        start  12:00:01.000  Active"},
		{Code: codeProtocolDetail, Text: "    Neighbor GR:    Long-lived"},
		{Code: codeProtocolDetail, Text: "    LL stale timer: 3599.9/-"},
		{Code: codeProtocol, Text: "peer3      BGP        ---        up     12:00:01.000  Established"},
		{Code: codeProtocolDetail, Text: "    Hold timer:       180.5/240"},
		{Code: codeProtocolDetail, Text: "    Restart timer:    NaN/-"},
		{Code: codeProtocolDetail, Text: "    Routes:         -1 imported"},
	}}
	got, err := parseSessions(reply)
	if err != nil {
		t.Fatal(err)
	}
	protocol := func(name, state, info string) Protocol {
		return Protocol{Name: name, Proto: "BGP", Table: "---", State: state, Since: "12:00:01.000", Info: info}
	}
	want := []Session{
		{Protocol: protocol("peer1", "start", "Active Socket: Connection closed"), Neighbor: "127.0.0.2", Imported: 3004, Restarting: true, Left: 83512 * time.Millisecond},
		{Protocol: protocol("peer2", "start", "Active"), LongLived: true, Left: 3599900 * time.Millisecond},
		{Protocol: protocol("peer3", "up", "Established")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if !got[2].Established() || got[0].Established() {
		t.Error("established is not what Info says")
	}
}

// TestRecordedSessions reads what real BIRDs say of a session that is up.
func TestRecordedSessions(t *testing.T) {
	for _, v := range versions(t) {
		_, text := recorded(t, v, "protocol-peer1.txt")
		r, err := read(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseSessions(r)
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %v, %v", v, got, err)
		}
		if s := got[0]; s.Imported != 2000 || s.Neighbor == "" || !s.Established() || s.Restarting || s.LongLived || s.Left != 0 {
			t.Errorf("%s: %+v, want 2000 routes of a session that is up", v, s)
		}
	}
}
