// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// newSink is a connection without a network, to be fed by consume.
func newSink(opts Options) *connection {
	opts.MaxEvents = 16
	s, err := newStation(context.Background(), opts)
	if err != nil {
		panic(err)
	}
	return newConnection(s.ctx, s, 1, netip.AddrPort{}, time.Now())
}

// FuzzConsume feeds a byte stream in one piece and in two, which must come to the same.
func FuzzConsume(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bmp")
	if err != nil || len(files) == 0 {
		f.Fatal("no recordings in testdata", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint(100))
	}
	h := peerHeader(PeerGlobal, 0, "127.0.0.2")
	f.Add(frame(TypeTermination, tlv(1, "\x00\x03"), tlv(0, "bye")), uint(7))
	f.Add(frame(TypePeerDown, h, []byte{2, 0, 1}), uint(3))
	f.Add(peerUp(f, h, "02 06 45 04 00010103", "02 06 45 04 00010103"), uint(60))
	f.Fuzz(func(t *testing.T, b []byte, cut uint) {
		whole := newSink(Options{})
		done, need, bad := whole.consume(b, time.Now())
		if done > len(b) || need != 0 && (need <= len(b)-done || need > DefaultMaxMessage) {
			t.Errorf("%d of %d bytes done, %d needed", done, len(b), need)
		}
		if done != int(whole.totals.Bytes) {
			t.Errorf("%d bytes done, %d counted", done, whole.totals.Bytes)
		}

		parts := newSink(Options{})
		first := b[:int(cut%uint(len(b)+1))]
		done1, _, bad1 := parts.consume(first, time.Now())
		if bad1 == nil {
			var done2 int
			done2, _, bad1 = parts.consume(b[done1:], time.Now())
			done1 += done2
		}
		whole.totals.LastMessage, parts.totals.LastMessage = parts.now, parts.now
		if done1 != done || (bad == nil) != (bad1 == nil) || whole.totals != parts.totals {
			t.Errorf("in one piece %d bytes, %v, %+v; cut after %d: %d bytes, %v, %+v", done, bad, whole.totals, len(first), done1, bad1, parts.totals)
		}
	})
}

// FuzzUpdate compares the counting of prefixes with their decoding.
func FuzzUpdate(f *testing.F) {
	for _, tt := range updates {
		f.Add(updateMessage(f, tt.withdrawn, tt.attrs, tt.nlri)[bgpHeaderLen:], len(tt.addPath) > 0)
	}
	f.Fuzz(func(t *testing.T, body []byte, paths bool) {
		if len(body) > 60000 {
			return
		}
		var addPath []Family
		if paths {
			addPath = []Family{IPv4Unicast, IPv6Unicast}
		}
		b := bgpFrame(2, body)
		c, err := countUpdate(b, addPath)
		u, decodeErr := DecodeRouteMonitoring(append(make([]byte, peerHeaderLen), b...), addPath...)
		if err != nil {
			if decodeErr == nil {
				t.Errorf("decoded but not counted: %v", err)
			}
			return
		}
		if decodeErr == nil && len(u.Opaque) == 0 && (len(u.Announced) != c.announced || len(u.Withdrawn) != c.withdrawn || u.EndOfRIB != c.endOfRIB) {
			t.Errorf("counted %+v, decoded %+v", c, u)
		}
	})
}

func FuzzTLVs(f *testing.F) {
	f.Add(append(tlv(1, "a router"), tlv(2, "")...))
	f.Add([]byte{0, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		tlvs, err := ParseTLVs(b)
		for _, v := range tlvs {
			size += 4 + len(v.Value)
		}
		if err == nil && size != len(b) {
			t.Errorf("%d of %d bytes parsed", size, len(b))
		}
		parseInitiation(b)
		parseTermination(b)
		ParsePeerHeader(b)
		ParsePeerUp(b)
		ParsePeerDown(b)
	})
}
