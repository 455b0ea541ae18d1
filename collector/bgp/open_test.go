// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func TestOpenMessage(t *testing.T) {
	for _, asn := range []uint32{65001, 4_200_000_000} {
		b, err := openMessage(Config{ASN: asn, RouterID: netip.MustParseAddr("127.0.0.2"), HoldTime: 90 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bgp.ParseBGPMessage(b); err != nil {
			t.Fatalf("gobgp: %v", err)
		}
		o, err := ParseOpen(b[headerLen:])
		if err != nil {
			t.Fatal(err)
		}
		if o.Version != 4 || o.ASN != asn || !o.FourOctetAS || o.HoldTime != 90*time.Second || o.RouterID.String() != "127.0.0.2" {
			t.Errorf("parsed as %+v", o)
		}
		if len(o.Capabilities) != 2 || o.Capabilities[0].Code != 1 || !bytes.Equal(o.Capabilities[0].Value, []byte{0, 1, 0, 1}) {
			t.Errorf("capabilities %+v", o.Capabilities)
		}
	}
}

// opens are OPEN bodies: version, AS, hold time, identifier, optional parameters.
var opens = []struct {
	name, hex string
	asn       uint32
	caps      int
	err       string
}{
	{"plain", "04 fde8 00f0 7f000001 00", 65000, 0, ""},
	{"4-octet AS", "04 5ba0 00f0 7f000001 08 02 06 4104 fa56ea00", 4_200_000_000, 1, ""},
	{"two parameters", "04 fde8 00f0 7f000001 0c 02 06 0104 00010001 02 02 0200", 65000, 2, ""},
	{"unknown parameter", "04 fde8 00f0 7f000001 03 07 01 00", 65000, 0, ""},
	{"extended length", "04 fde8 00f0 7f000001 ff ff 0007 02 0004 0200 0200", 65000, 2, ""},
	{"short", "04 fde8 00f0 7f0000", 0, 0, "need 10"},
	{"parameters cut", "04 fde8 00f0 7f000001 08 02 06 4104", 0, 0, "of 8 bytes, 4 there"},
	{"parameter cut", "04 fde8 00f0 7f000001 02 02 06", 0, 0, "of 6 bytes, 0 left"},
	{"parameter header cut", "04 fde8 00f0 7f000001 01 02", 0, 0, "cut after 1 bytes"},
	{"capability cut", "04 fde8 00f0 7f000001 04 02 02 4104", 0, 0, "capability cut"},
	{"extended length cut", "04 fde8 00f0 7f000001 ff ff 0009 02 0004 0200 0200", 0, 0, "of 9 bytes, 7 there"},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseOpen(t *testing.T) {
	for _, tt := range opens {
		t.Run(tt.name, func(t *testing.T) {
			o, err := ParseOpen(unhex(t, tt.hex))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.ASN != tt.asn || len(o.Capabilities) != tt.caps {
				t.Errorf("parsed as %+v", o)
			}
		})
	}
}

func TestCheckOpen(t *testing.T) {
	good := Open{Version: 4, ASN: 65000, FourOctetAS: true, HoldTime: 3 * time.Second, RouterID: netip.MustParseAddr("1.2.3.4")}
	for _, tt := range []struct {
		name   string
		change func(*Open)
		remote uint32
		want   string
	}{
		{"good", func(*Open) {}, 65000, ""},
		{"any AS", func(*Open) {}, 0, ""},
		{"no hold timer", func(o *Open) { o.HoldTime = 0 }, 0, ""},
		{"version 3", func(o *Open) { o.Version = 3 }, 0, "Unsupported Version Number"},
		{"other AS", func(*Open) {}, 65001, "Bad Peer AS"},
		{"2-octet AS only", func(o *Open) { o.FourOctetAS = false }, 0, "Unsupported Capability"},
		{"hold time 2", func(o *Open) { o.HoldTime = 2 * time.Second }, 0, "Unacceptable Hold Time"},
		{"no identifier", func(o *Open) { o.RouterID = netip.IPv4Unspecified() }, 0, "Bad BGP Identifier"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			err := o.check(tt.remote)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNotification(t *testing.T) {
	for _, tt := range []struct{ hex, want string }{
		{"0602", "Cease/Administrative Shutdown (6/2)"},
		{"0602 03 627965", `Cease/Administrative Shutdown (6/2): "bye"`},
		{"0602 09 627965", "Cease/Administrative Shutdown (6/2)"}, // length beyond the data
		{"0602 02 ff fe", "Cease/Administrative Shutdown (6/2)"},  // not UTF-8
		{"0400", "Hold Timer Expired (4/0)"},
		{"0202 fde8", "OPEN Message Error/Bad Peer AS (2/2)"},
		{"0699", "Cease/unassigned (6/153)"},
		{"6301", "unassigned (99/1)"},
	} {
		n, err := ParseNotification(unhex(t, tt.hex))
		if err != nil {
			t.Fatal(err)
		}
		if n.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.hex, n, tt.want)
		}
	}
	if _, err := ParseNotification([]byte{6}); err == nil {
		t.Error("one byte is taken for a NOTIFICATION")
	}
}

func TestReadMessage(t *testing.T) {
	marker := strings.Repeat("ff", 16)
	for _, tt := range []struct{ name, hex, want string }{
		{"keepalive", marker + "001304", ""},
		{"end of RIB", marker + "001702 0000 0000", ""},
		{"marker", "00" + marker[2:] + "001304", "Connection Not Synchronized"},
		{"short length", marker + "001204", "Bad Message Length"},
		{"long length", marker + "100102", "Bad Message Length"},
		{"keepalive with body", marker + "001404 00", "Bad Message Length"},
		{"short OPEN", marker + "001c01 000000000000000000", "Bad Message Length"},
		{"type 0", marker + "001300", "Bad Message Type"},
		{"type 6", marker + "001306", "Bad Message Type"},
		{"cut", marker + "001702 0000", "unexpected EOF"},
		{"end", "", "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readMessage(bufio.NewReader(bytes.NewReader(unhex(t, tt.hex))), make([]byte, maxMessage))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzParseOpen(f *testing.F) {
	for _, tt := range opens {
		f.Add(unhex(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOpen(b)
		if err != nil {
			return
		}
		size := 0
		for _, c := range o.Capabilities {
			size += 2 + len(c.Value)
		}
		if size > len(b)-10 {
			t.Errorf("%d bytes of capabilities in %d bytes", size, len(b))
		}
	})
}

func FuzzReadMessage(f *testing.F) {
	f.Add(keepaliveMessage)
	f.Add(endOfRIBMessage)
	f.Add(append(bytes.Clone(keepaliveMessage), endOfRIBMessage...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, buf := bufio.NewReader(bytes.NewReader(b)), make([]byte, maxMessage)
		for {
			typ, body, err := readMessage(r, buf)
			if err != nil {
				var n *NotificationError
				if errors.As(err, &n) && n.Code != codeHeader {
					t.Errorf("header error has code %d", n.Code)
				}
				return
			}
			switch typ {
			case TypeNotification:
				n, err := ParseNotification(body)
				if err != nil {
					t.Error(err)
				}
				_ = n.String()
			case TypeOpen:
				ParseOpen(body)
			}
		}
	})
}
