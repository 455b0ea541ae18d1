// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

// eachKind has a message of every kind, and of every form that one can have.
func eachKind(t testing.TB) [][]byte {
	h := peerHeader(PeerGlobal, FlagPostPolicy, "127.0.0.2")
	v6 := peerHeader(PeerRD, FlagIPv6|FlagAdjRIBOut, "2001:db8::2")
	v6[5], v6[9] = 1, 5 // distinguisher 1:5
	locRIB := peerHeader(PeerLocRIB, FlagFiltered, "0.0.0.0")
	addPath := "02 06 45 04 00010103"
	return [][]byte{
		initiation(),
		frame(TypeInitiation, tlv(2, "\x1b[2J\xff"), tlv(9, "new")),
		peerUp(t, h, addPath, addPath),
		frame(TypePeerUp, locRIB, make([]byte, 20), openMessage(t, ""), openMessage(t, ""), tlv(3, "master4"), tlv(4, "label"), tlv(9, "new")),
		frame(TypePeerUp, peerHeader(PeerLocal, 0, "127.0.0.3"), make([]byte, 20), openMessage(t, ""), []byte("no OPEN")),
		frame(TypeRouteMonitoring, h, updateMessage(t, "00000001 18 010204", "400101 00 4002 10 0202 0000fde9 000f4240 0101 00000007 400304 7f000002 800404 00000005 400504 00000064 c00804 42400001", "00000002 18 010203")),
		frame(TypeRouteMonitoring, v6, updateMessage(t, "", "400101 03 4002 0c 0301 00000001 0401 00000002 800e 1a 0002 01 10 20010db8000000000000000000000001 00 20 20010db8 800f 07 0019 46 0302 0102", "")),
		frame(TypeRouteMonitoring, locRIB, updateMessage(t, "", "", "")),
		frame(TypeRouteMonitoring, h, []byte("no UPDATE")),
		frame(TypeStatisticsReport, h, []byte{0, 0, 0, 3}, tlv(0, "\x00\x00\x00\x05"), tlv(9, "\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x06"), tlv(99, "new")),
		frame(TypeRouteMirroring, h, tlv(1, "\x00\x01"), tlv(0, "PDU"), tlv(9, "new")),
		frame(TypePeerDown, h, []byte{1}, bgpFrame(3, []byte{6, 2})),
		frame(TypePeerDown, h, []byte{2, 0, 24}),
		frame(TypePeerDown, h, []byte{3}, bgpFrame(3, []byte{4, 0})),
		frame(TypePeerDown, h, []byte{4}),
		frame(TypePeerDown, h, []byte{5}),
		frame(TypePeerDown, locRIB, []byte{6}, tlv(3, "master4"), tlv(9, "new")),
		frame(TypePeerDown, h, []byte{1}),
		frame(99, []byte("new")),
		frame(TypeTermination, tlv(1, "\x00\x03"), tlv(0, "bye"), tlv(9, "new")),
		frame(TypeTermination, tlv(1, "x")), // malformed
	}
}

// TestJSON holds a line of JSON for each kind of message, and for the beginning and the
// end of a connection.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	remote := netip.MustParseAddrPort("127.0.0.1:40000")
	lines.Encode(Event{at, 7, Connected{remote}})
	c := newSink(Options{OnMessage: func(m Message) {
		m.At = at
		if err := lines.Encode(m); err != nil {
			t.Error(err)
		}
	}})
	messages := slices.Concat(eachKind(t)...)
	done, _, bad := c.consume(messages, at)
	if want := len(messages) - commonLen - 5; bad == nil || done != want {
		t.Errorf("%d bytes done, want %d; error %v", done, want, bad)
	}
	lines.Encode(Event{at, 7, Disconnected{Err: &MalformedError{int64(done), bad}, Offset: int64(done), PeersUp: 1}})
	lines.Encode(Event{at, 7, Disconnected{}})
	lines.Encode(Event{at, 7, Termination{}})

	const golden = "testdata/messages.jsonl"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("differs from %s (rewrite it with -update):\n%s", golden, b.Bytes())
	}
}

// TestCutAtEveryByte ends a stream of every kind of message after every byte: whole
// messages count, and nothing else.
func TestCutAtEveryByte(t *testing.T) {
	messages := eachKind(t)
	messages = messages[:len(messages)-1]
	stream := slices.Concat(messages...)
	boundary, whole := 0, 0
	for cut := range len(stream) + 1 {
		if whole < len(messages) && cut == boundary+len(messages[whole]) {
			boundary, whole = cut, whole+1
		}
		c := newSink(Options{})
		done, need, bad := c.consume(stream[:cut], time.Now())
		if bad != nil || done != boundary {
			t.Fatalf("cut at %d: %d bytes done, want %d; error %v", cut, done, boundary, bad)
		}
		if cut-boundary >= commonLen && need != len(messages[whole]) {
			t.Errorf("cut at %d: %d bytes needed, want %d", cut, need, len(messages[whole]))
		}
	}
}

// TestCutMessages cuts every kind of message at every byte and gives it the length that is
// left, and so with every byte changed: it is taken, or ends the connection at its offset.
func TestCutMessages(t *testing.T) {
	first := initiation()
	feed := func(m []byte) {
		t.Helper()
		c := newSink(Options{OnMessage: func(m Message) {
			if _, err := m.MarshalJSON(); err != nil {
				t.Errorf("%x: %v", m.Bytes, err)
			}
		}})
		stream := slices.Concat(first, m, first)
		done, _, bad := c.consume(stream, time.Now())
		switch {
		case bad != nil && done != len(first):
			t.Errorf("%x: malformed at %d, want %d: %v", m, done, len(first), bad)
		case errors.Is(bad, errStalled):
			t.Errorf("%x: %v", m, bad)
		case done != int(c.totals.Bytes):
			t.Errorf("%x: %d bytes done, %d counted", m, done, c.totals.Bytes)
		}
	}
	for _, m := range eachKind(t) {
		for cut := commonLen; cut < len(m); cut++ {
			feed(frame(MessageType(m[5]), m[commonLen:cut]))
		}
		for at := commonLen; at < len(m); at++ {
			for _, x := range []byte{0x01, 0x80, 0xff} {
				changed := slices.Clone(m)
				changed[at] ^= x
				feed(changed)
			}
		}
	}
}
