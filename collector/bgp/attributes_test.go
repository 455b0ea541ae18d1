// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var testIdentity = Identity{ASN: 65001, NextHop: netip.MustParseAddr("127.0.0.2"), NextHop6: netip.MustParseAddr("2001:db8::2")}

// Attributes as a dump has them, in hex: flags, type, length, value.
const (
	hexOrigin  = "40 01 01 00"
	hexPath    = "40 02 06 02 01 00000d1c" // AS 3356
	hexNextHop = "40 03 04 7f000002"       // ours
	hexOwnPath = "40 02 0a 02 02 0000fde9 00000d1c"
)

func TestImportAttributes(t *testing.T) {
	long := strings.Repeat("00000d1c", 255)
	for _, tt := range []struct {
		name, raw string
		ipv6      bool
		want      string // hex, or the error
	}{
		{"least", hexOrigin + hexPath, false, hexOrigin + hexOwnPath + hexNextHop},
		{"IPv6", hexOrigin + hexPath + "80 0e 11 10 2001:db8:0:0:0:0:0:9", true, hexOrigin + hexOwnPath},
		{"next hop of theirs", hexOrigin + hexPath + "40 03 04 c0000209", false, hexOrigin + hexOwnPath + hexNextHop},
		{"own network", hexOrigin + "40 02 00", false, hexOrigin + "40 02 06 02 01 0000fde9" + hexNextHop},
		{"set first", hexOrigin + "40 02 06 01 01 00000d1c", false, hexOrigin + "40 02 0c 02 01 0000fde9 01 01 00000d1c" + hexNextHop},
		{"full sequence", hexOrigin + "50 02 03fe 02 ff" + long, false, hexOrigin + "50 02 0404 02 01 0000fde9 02 ff" + long + hexNextHop},
		{"passed on", hexOrigin + hexPath + "80 04 04 00000005" + "c0 08 04 00010002" + "c0 20 0c 000000010000000200000003", false,
			hexOrigin + hexOwnPath + hexNextHop + "80 04 04 00000005" + "c0 08 04 00010002" + "c0 20 0c 000000010000000200000003"},
		{"flags put right", hexOrigin + hexPath + "e0 08 04 00010002", false, hexOrigin + hexOwnPath + hexNextHop + "c0 08 04 00010002"},
		{"left out", hexOrigin + hexPath + "40 05 04 00000064" + "80 09 04 01020304" + "80 0a 04 01020304" + "c0 11 02 0201" + "80 1a 01 00" + "c0 ff 01 00", false,
			hexOrigin + hexOwnPath + hexNextHop},
		{"unknown", hexOrigin + hexPath + "c0 63 01 aa" + "80 64 01 bb", false, hexOrigin + hexOwnPath + hexNextHop + "c0 63 01 aa"},
		{"twice", hexOrigin + hexPath + "40 01 01 02", false, hexOrigin + hexOwnPath + hexNextHop},

		{"no origin", hexPath, false, "no ORIGIN"},
		{"no path", hexOrigin, false, "no AS_PATH"},
		{"unknown origin", "40 01 01 03" + hexPath, false, "attribute 1 of 1 bytes: 03"},
		{"empty origin", "40 01 00" + hexPath, false, "attribute 1 of 0 bytes"},
		{"odd communities", hexOrigin + hexPath + "c0 08 05 0001000203", false, "attribute 8 of 5 bytes"},
		{"no communities", hexOrigin + hexPath + "c0 08 00", false, "attribute 8 of 0 bytes"},
		{"short aggregator", hexOrigin + hexPath + "c0 07 06 000100020003", false, "attribute 7 of 6 bytes"},
		{"cut", hexOrigin + hexPath + "c0 08 08 00010002", false, "attribute 8 of 8 bytes, 4 left"},
		{"cut header", hexOrigin + hexPath + "c0 08", false, "2 bytes left"},
		{"cut extended header", hexOrigin + hexPath + "d0 08 00", false, "3 bytes left"},
		{"loop", hexOrigin + "40 02 0a 02 02 00000d1c 0000fde8", false, "the daemon's AS number"},
		{"AS 0", hexOrigin + "40 02 06 02 01 00000000", false, "AS 0"},
		{"confederation", hexOrigin + "40 02 06 03 01 00000d1c", false, "segment of type 3"},
		{"empty segment", hexOrigin + "40 02 02 02 00", false, "empty segment"},
		{"cut segment", hexOrigin + "40 02 05 02 01 00000d", false, "cut or with"},
		{"too long", hexOrigin + hexPath + "d0 63 0fc0" + strings.Repeat("aa", 0x0fc0), false, "too many for a message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := strings.ReplaceAll(tt.raw, "2001:db8:0:0:0:0:0:9", "20010db8000000000000000000000009")
			got, err := appendImported(nil, unhex(t, raw), testIdentity, tt.ipv6, 65000)
			if want, notHex := hex.DecodeString(strings.ReplaceAll(tt.want, " ", "")); notHex == nil {
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("% x, error %v, want % x", got, err, want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, errMalformed) && !errors.Is(err, errLoop) {
				t.Errorf("% x, error %v, want one with %q", got, err, tt.want)
			}
		})
	}
}

// FuzzImportAttributes: what is made of any bytes is well-formed, has what every route
// needs, and comes out the same when it is imported again, but for the number in front.
func FuzzImportAttributes(f *testing.F) {
	for _, s := range []string{hexOrigin + hexPath, hexOrigin + hexPath + "c0 08 04 00010002" + "d0 63 0001 aa", hexOrigin + "40 02 06 01 01 00000d1c"} {
		f.Add(unhex(f, s), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, ipv6 bool) {
		once, err := appendImported(nil, raw, testIdentity, ipv6, 65000)
		if err != nil {
			return
		}
		if room(once, ipv6) < 17 {
			t.Fatalf("%d bytes leave no room for a prefix", len(once))
		}
		twice, err := appendImported(nil, once, testIdentity, ipv6, 65000)
		if err != nil {
			if strings.Contains(err.Error(), "too many") {
				return
			}
			t.Fatalf("% x does not import again: %v", once, err)
		}
		if len(twice) < len(once)+4 || len(twice) > len(once)+7 {
			t.Fatalf("% x becomes % x", once, twice)
		}
	})
}

func TestAcceptable(t *testing.T) {
	for prefix, want := range map[string]bool{
		"0.0.0.0/0": true, "1.0.0.0/24": true, "10.0.0.0/8": true, "240.0.0.0/4": true, "203.0.113.7/32": true, "0.0.0.0/8": true,
		"::/0": true, "2a00::/48": true, "fc00::/7": true, "64:ff9b::/96": true,
		"0.1.0.0/16": false, "127.0.0.0/8": false, "224.0.0.0/4": false, "255.255.255.255/32": false, "203.0.113.7/24": false,
		"::1/128": false, "::ffff:0:0/96": false, "fe80::/10": false, "ff00::/8": false,
	} {
		if got := Acceptable(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("Acceptable(%s) = %t", prefix, got)
		}
	}
}
