// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"net"
	"net/netip"
	"testing"
	"time"
)

// testPeer is the daemon's side of the sessions in these tests: a TCP listener and, per
// connection, just enough of BGP, driven by the test.
type testPeer struct {
	t testing.TB
	l *net.TCPListener
}

func newTestPeer(t testing.TB) *testPeer {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &testPeer{t, l}
}

func (p *testPeer) config() Config {
	return Config{
		Local:     netip.MustParseAddrPort("127.0.0.2:0"),
		Remote:    p.l.Addr().(*net.TCPAddr).AddrPort(),
		ASN:       65001,
		RemoteASN: 65000,
		RouterID:  netip.MustParseAddr("127.0.0.2"),
	}
}

// peerConn is one connection on the daemon's side.
type peerConn struct {
	t testing.TB
	*net.TCPConn
	in  *bufio.Reader
	buf [maxMessage]byte
}

// accept takes a connection; nil if the listener was closed.
func (p *testPeer) accept() *peerConn {
	c, err := p.l.AcceptTCP()
	if err != nil {
		return nil
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	return &peerConn{t: p.t, TCPConn: c, in: bufio.NewReader(c)}
}

// read wants a message of this type and returns its body.
func (c *peerConn) read(want MessageType) []byte {
	typ, body, err := readMessage(c.in, c.buf[:])
	if err != nil || typ != want {
		c.t.Errorf("peer reads %v, error %v, want %v", typ, err, want)
	}
	return body
}

func (c *peerConn) write(m []byte) {
	if _, err := c.Write(m); err != nil {
		c.t.Errorf("peer writes: %v", err)
	}
}

func (c *peerConn) notify(code, subcode uint8, data ...byte) {
	m, err := notificationMessage(Notification{Code: code, Subcode: subcode, Data: data})
	if err != nil {
		c.t.Error(err)
	}
	c.write(m)
}

// open sends an OPEN of AS 65000 with this hold time.
func (c *peerConn) open(hold time.Duration) {
	m, err := openMessage(Config{ASN: 65000, RouterID: netip.MustParseAddr("127.0.0.1"), HoldTime: hold})
	if err != nil {
		c.t.Error(err)
	}
	c.write(m)
}

// establish plays the passive side up to Established.
func (c *peerConn) establish(hold time.Duration) {
	c.read(TypeOpen)
	c.open(hold)
	c.write(keepaliveMessage)
	c.read(TypeKeepalive)
}

// session gives both ends of an established session.
func session(t testing.TB, hold time.Duration) (*Speaker, *peerConn) {
	t.Helper()
	p := newTestPeer(t)
	ready := make(chan *peerConn, 1)
	go func() {
		c := p.accept()
		c.establish(hold)
		ready <- c
	}()
	s, err := Dial(t.Context(), p.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Drop(t.Context(), DropReset) })
	return s, <-ready
}
