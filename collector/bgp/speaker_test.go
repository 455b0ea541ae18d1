// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDial(t *testing.T) {
	s, c := session(t, 90*time.Second)
	if got := c.RemoteAddr().String(); !strings.HasPrefix(got, "127.0.0.2:") {
		t.Errorf("source address %s", got)
	}
	if s.HoldTime() != 90*time.Second {
		t.Errorf("hold time %v, want the lesser, 90 s", s.HoldTime())
	}
	if s.Peer().ASN != 65000 || s.Err() != nil {
		t.Errorf("peer %+v, error %v", s.Peer(), s.Err())
	}
	if st := s.Stats(); st.MessagesSent != 2 || st.MessagesReceived != 2 || st.KeepalivesReceived != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestDialRejects(t *testing.T) {
	p := newTestPeer(t)
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no remote", func(c *Config) { c.Remote = netip.AddrPort{} }, "no remote address"},
		{"no AS", func(c *Config) { c.ASN = 0 }, "AS number 0"},
		{"no router ID", func(c *Config) { c.RouterID = netip.Addr{} }, "router ID"},
		{"hold time", func(c *Config) { c.HoldTime = time.Second }, "hold time 1s"},
		{"foreign source", func(c *Config) { c.Local = netip.MustParseAddrPort("203.0.113.1:0") }, "cannot assign"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := p.config()
			tt.change(&c)
			if _, err := Dial(t.Context(), c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestDialHandshake has a peer that misbehaves: the error of Dial, and the NOTIFICATION
// that the peer gets, both by name.
func TestDialHandshake(t *testing.T) {
	for _, tt := range []struct {
		name       string
		peer       func(*peerConn)
		want, sent string
	}{
		{"bad peer AS", func(c *peerConn) { c.read(TypeOpen); c.notify(codeOpen, subBadPeerAS) },
			"received NOTIFICATION OPEN Message Error/Bad Peer AS (2/2)", ""},
		{"keepalive for OPEN", func(c *peerConn) { c.write(keepaliveMessage); c.read(TypeOpen) },
			"KEEPALIVE instead of OPEN", "Receive Unexpected Message in OpenSent State"},
		{"UPDATE for KEEPALIVE", func(c *peerConn) {
			c.read(TypeOpen)
			c.open(90 * time.Second)
			c.read(TypeKeepalive)
			c.write(endOfRIBMessage)
		},
			"UPDATE instead of KEEPALIVE", "Receive Unexpected Message in OpenConfirm State"},
		{"hold time", func(c *peerConn) { c.read(TypeOpen); c.open(time.Second) },
			"Unacceptable Hold Time", "Unacceptable Hold Time"},
		{"no BGP", func(c *peerConn) { c.read(TypeOpen); c.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
			"Connection Not Synchronized", "Connection Not Synchronized"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newTestPeer(t)
			sent := make(chan string, 1)
			go func() {
				c := p.accept()
				tt.peer(c)
				if tt.sent != "" {
					n, err := ParseNotification(c.read(TypeNotification))
					if err != nil {
						t.Error(err)
					}
					sent <- n.Name()
				}
			}()
			_, err := Dial(t.Context(), p.config())
			var n *NotificationError
			if !errors.As(err, &n) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if tt.sent != "" {
				if name := <-sent; !strings.Contains(name, tt.sent) {
					t.Errorf("peer got %q, want %q", name, tt.sent)
				}
			}
		})
	}
}

// TestDialRetries meets what a starting BIRD does: nothing listens, then connections are
// closed without a word, then one is rejected, then one is taken.
func TestDialRetries(t *testing.T) {
	p := newTestPeer(t)
	go func() {
		p.accept().Close()
		c := p.accept()
		c.read(TypeOpen)
		c.notify(codeCease, subConnectionRejected)
		p.accept().establish(90 * time.Second)
	}()
	s, err := Dial(t.Context(), p.config())
	if err != nil {
		t.Fatal(err)
	}
	s.Drop(t.Context(), DropReset)

	p.l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, p.config())
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v, want the deadline and the refusal", err)
	}
}

func TestDialEndsWithContext(t *testing.T) {
	p := newTestPeer(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		p.accept().read(TypeOpen)
		cancel() // and no answer
	}()
	if _, err := Dial(ctx, p.config()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestFlood(t *testing.T) {
	s, c := session(t, 90*time.Second)
	table := encode(t, testRoutes(100_000, 5000))
	got := make(chan []byte, 1)
	go func() {
		b := make([]byte, table.Bytes()+len(endOfRIBMessage))
		if _, err := io.ReadFull(c.in, b); err != nil {
			t.Error(err)
		}
		got <- b
	}()
	st, err := s.Flood(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EndOfRIB(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st.Messages != 5000 || st.Prefixes != 100_000 || st.Bytes != table.Bytes() || st.Blocked > st.Elapsed {
		t.Errorf("stats %+v", st)
	}
	if want := append(bytes.Clone(table.data), endOfRIBMessage...); !bytes.Equal(<-got, want) {
		t.Error("the peer read something else than the table")
	}
	if n := s.Stats().MessagesSent; n != 5003 {
		t.Errorf("%d messages sent, want OPEN, KEEPALIVE, 5000 UPDATEs, End-of-RIB", n)
	}
}

// TestFloodStops has a peer that does not read: the flood ends with its context, most
// likely within a message, and the session goes on with whole messages.
func TestFloodStops(t *testing.T) {
	s, c := session(t, 90*time.Second)
	table := encode(t, testRoutes(4_000_000, 4_000_000/1000))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	st, err := s.Flood(ctx, table)
	if !errors.Is(err, context.Canceled) || st.Bytes == 0 || st.Bytes >= table.Bytes() {
		t.Fatalf("error %v after %+v", err, st)
	}
	if end, messages, prefixes := wholeMessages(table.data, st.Bytes); st.Messages != messages || st.Prefixes != prefixes || end > st.Bytes {
		t.Errorf("stats %+v, want %d messages with %d prefixes", st, messages, prefixes)
	}
	whole := make(chan int, 1)
	go func() {
		n := 0
		for {
			typ, body, err := readMessage(c.in, c.buf[:])
			if err != nil || typ != TypeUpdate {
				t.Errorf("peer reads %v, error %v after %d messages", typ, err, n)
				break
			}
			if len(body) == 4 { // End-of-RIB
				break
			}
			n++
		}
		whole <- n
	}()
	if err := s.EndOfRIB(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := <-whole; n != st.Messages && n != st.Messages+1 {
		t.Errorf("peer got %d whole messages, stats say %d and perhaps one cut", n, st.Messages)
	}
}

// TestFloodPeerGone wants the peer's own reason, not "broken pipe".
func TestFloodPeerGone(t *testing.T) {
	s, c := session(t, 90*time.Second)
	c.notify(codeCease, 1)
	c.CloseWrite()
	go io.Copy(io.Discard, c.in)
	<-s.Done()
	_, err := s.Flood(t.Context(), encode(t, testRoutes(10, 1)))
	if err == nil || !strings.Contains(err.Error(), "Cease/Maximum Number of Prefixes Reached (6/1)") {
		t.Errorf("error %v", err)
	}
	if s.Err() == nil {
		t.Error("no error although the peer ended the session")
	}
}

func TestDropNotification(t *testing.T) {
	s, c := session(t, 90*time.Second)
	table := encode(t, testRoutes(10_000, 100))
	if _, err := s.Flood(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	// The peer is sending too, and must still get the NOTIFICATION after all the routes.
	c.write(endOfRIBMessage)
	got := make(chan Notification, 1)
	go func() {
		for range table.Messages() {
			c.read(TypeUpdate)
		}
		n, _ := ParseNotification(bytes.Clone(c.read(TypeNotification)))
		got <- n
		c.Close()
	}()
	if err := s.Drop(t.Context(), DropNotification); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n.Name() != "Cease/Administrative Shutdown" {
		t.Errorf("peer got %v", n)
	}
	<-s.Done()
	if s.Err() != nil {
		t.Errorf("error %v after our own drop", s.Err())
	}
	if err := s.Drop(t.Context(), DropNotification); err != nil {
		t.Errorf("second drop: %v", err)
	}
}

func TestDropNotificationUnheard(t *testing.T) {
	s, _ := session(t, 90*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Drop(ctx, DropNotification); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
	<-s.Done()
}

func TestDropReset(t *testing.T) {
	s, c := session(t, 90*time.Second)
	if err := s.Drop(t.Context(), DropReset); err != nil {
		t.Fatal(err)
	}
	if _, err := c.in.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("peer reads error %v, want a reset", err)
	}
}

// TestDropWhileBlocked drops a session while a flood waits for a peer that does not read.
func TestDropWhileBlocked(t *testing.T) {
	s, _ := session(t, 90*time.Second)
	flood := make(chan error, 1)
	go func() {
		_, err := s.Flood(t.Context(), encode(t, testRoutes(4_000_000, 0)))
		flood <- err
	}()
	for sent := uint64(0); sent == 0 || sent != s.Stats().BytesSent; {
		sent = s.Stats().BytesSent
		time.Sleep(20 * time.Millisecond)
	}
	if err := s.Drop(t.Context(), DropReset); err != nil {
		t.Fatal(err)
	}
	if err := <-flood; err == nil || !strings.Contains(err.Error(), "session was dropped") {
		t.Errorf("flood ended with %v", err)
	}
}

func TestKeepalives(t *testing.T) {
	t.Parallel() // with the other test that waits for a hold timer
	s, c := session(t, minHoldTime)
	start := time.Now()
	c.read(TypeKeepalive)
	c.read(TypeKeepalive)
	// Two periods of a third of the hold time, one at least whole.
	if d := time.Since(start); d < minHoldTime/3 {
		t.Errorf("two keepalives within %v", d)
	}
	// We have sent nothing, so the speaker ends the session.
	for {
		typ, body, err := readMessage(c.in, c.buf[:])
		if err != nil {
			t.Fatal(err)
		}
		if typ == TypeNotification {
			if n, _ := ParseNotification(body); n.Name() != "Hold Timer Expired" {
				t.Errorf("peer got %v", n)
			}
			break
		}
	}
	if d := time.Since(start); d < minHoldTime-100*time.Millisecond {
		t.Errorf("expired after %v", d)
	}
	<-s.Done()
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "sent NOTIFICATION Hold Timer Expired") {
		t.Errorf("error %v", err)
	}
}

// TestPatience: a daemon that is too busy for its KEEPALIVEs is waited for.
func TestPatience(t *testing.T) {
	t.Parallel() // with the other tests that wait for a hold timer
	p := newTestPeer(t)
	ready := make(chan *peerConn, 1)
	go func() {
		c := p.accept()
		c.establish(minHoldTime)
		ready <- c
	}()
	config := p.config()
	config.Patience = time.Second
	start := time.Now()
	s, err := Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, (<-ready).in)
	<-s.Done()
	if d := time.Since(start); d < minHoldTime+config.Patience-100*time.Millisecond {
		t.Errorf("expired after %v", d)
	}
}

func TestDropText(t *testing.T) {
	for _, want := range []Drop{DropNotification, DropReset, DropSilence} {
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got := Drop(-1)
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Errorf("%s becomes %v, error %v", text, got, err)
		}
	}
	if err := new(Drop).UnmarshalText([]byte("bang")); err == nil || !strings.Contains(err.Error(), "notification, reset or silence") {
		t.Errorf("error %v", err)
	}
}

func TestDropSilence(t *testing.T) {
	t.Parallel() // with the other test that waits for a hold timer
	s, c := session(t, minHoldTime)
	dropped := make(chan error, 1)
	go func() { dropped <- s.Drop(t.Context(), DropSilence) }()
	// More than the hold time of silence from both sides, then the peer's timer expires.
	c.SetReadDeadline(time.Now().Add(minHoldTime + 500*time.Millisecond))
	for {
		typ, _, err := readMessage(c.in, c.buf[:])
		if errors.Is(err, errTimeout) {
			break
		}
		if err != nil || typ != TypeKeepalive { // one may have been under way
			t.Fatalf("peer reads %v, error %v", typ, err)
		}
	}
	c.notify(codeHoldTimer, 0)
	c.Close()
	if err := <-dropped; err != nil {
		t.Error(err)
	}
}

// TestFloodInPlace wants that messages which were made beforehand cost no memory when they
// are sent: a write of many of them may.
func TestFloodInPlace(t *testing.T) {
	s, c := session(t, 90*time.Second)
	go io.Copy(io.Discard, c)
	r := testRoutes(20_000, 0)
	r.PerUpdate = 1
	table := encode(t, r)
	n := testing.AllocsPerRun(5, func() {
		if st, err := s.Flood(t.Context(), table); err != nil || st.Messages != table.Messages() {
			t.Errorf("%+v, error %v", st, err)
		}
	})
	if writes := float64(table.Bytes()/floodChunk + 1); n > 16*writes {
		t.Errorf("%v allocations for %d messages in %v writes", n, table.Messages(), writes)
	}
}
