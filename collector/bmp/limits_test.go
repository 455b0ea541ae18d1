// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestNobodyReadsEvents wants that the sender never waits for a consumer.
func TestNobodyReadsEvents(t *testing.T) {
	s := listen(t, Options{MaxEvents: 10})
	send(t, s, bytes.Repeat(peerUp(t, peerHeader(PeerGlobal, 0, "127.0.0.2"), "", ""), 10_000))
	for {
		c := s.Counts()
		// Connected, the Peer Ups and Disconnected; ten of them wait.
		if c.ByType[TypePeerUp] == 10_000 && c.EventsDropped == 10_000+2-10 {
			break
		}
		if len(c.Connections) > 0 && t.Context().Err() != nil {
			t.Fatalf("counts %+v", c)
		}
		time.Sleep(time.Millisecond)
	}
	s.Close()
	n := 0
	for range s.Events() {
		n++
	}
	if n != 10 {
		t.Errorf("%d events were kept, want 10", n)
	}
}

func TestConnectionLimit(t *testing.T) {
	s := listen(t, Options{MaxConnections: 1})
	first := connect(t, s)
	for s.Counts().Accepted == 0 {
		time.Sleep(time.Millisecond)
	}
	second := connect(t, s)
	second.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection beyond the limit reads error %v", err)
	}
	if c := s.Counts(); c.Refused != 1 || c.Accepted != 1 {
		t.Errorf("counts %+v", c)
	}
	first.Close()
	events(t, s)
	send(t, s, initiation())
	if _, end := events(t, s); end.Err != nil || end.Offset == 0 {
		t.Errorf("the next connection ended with %+v", end)
	}
}

func TestClosedConnectionsAreForgotten(t *testing.T) {
	s := listen(t, Options{})
	for range keptClosed + 3 {
		send(t, s, initiation())
		events(t, s)
	}
	c := s.Counts()
	if len(c.Connections) != keptClosed || c.ConnectionsDropped != 3 || c.ByType[TypeInitiation] != keptClosed+3 {
		t.Errorf("%d connections, %d dropped, %d messages", len(c.Connections), c.ConnectionsDropped, c.ByType[TypeInitiation])
	}
}

func TestPeerLimit(t *testing.T) {
	s := listen(t, Options{MaxPeers: 16})
	var b bytes.Buffer
	for i := range 16 + 5 {
		b.Write(oneRoute(t, peerHeader(PeerGlobal, 0, fmt.Sprintf("10.0.0.%d", i))))
	}
	// What one of those beyond the limit has negotiated says nothing of the next.
	const paths = "02 06 45 04 00010103"
	b.Write(peerUp(t, peerHeader(PeerGlobal, 0, "10.0.0.20"), paths, paths))
	b.Write(oneRoute(t, peerHeader(PeerGlobal, 0, "10.0.0.19")))
	send(t, s, b.Bytes())
	events(t, s)
	c := s.Counts()
	if len(c.Connections[0].Peers) != 16 || c.UntrackedPeers != 5+2 || c.Announced != 16+5+1 || c.MalformedUpdates != 0 {
		t.Errorf("%d peers, %d untracked, %d announced, %d malformed", len(c.Connections[0].Peers), c.UntrackedPeers, c.Announced, c.MalformedUpdates)
	}
}

func TestIdleTimeout(t *testing.T) {
	s := listen(t, Options{IdleTimeout: 50 * time.Millisecond})
	connect(t, s)
	if _, end := events(t, s); !errors.Is(end.Err, os.ErrDeadlineExceeded) {
		t.Errorf("ended with %v", end.Err)
	}
}

func TestBadLimits(t *testing.T) {
	for _, o := range []Options{
		{MaxMessage: 5}, {MaxMessage: 16<<20 + 1}, {MaxConnections: -1}, {MaxPeers: -1}, {MaxEvents: -1}, {IdleTimeout: -1}, {ReceiveBuffer: -1},
	} {
		if s, err := Listen(t.Context(), o); err == nil {
			t.Errorf("%+v is taken", o)
			s.Close()
		}
	}
}
