// SPDX-License-Identifier: Apache-2.0

package labtest

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// Discard accepts BMP connections until the test ends, and reads whatever comes.
func Discard(t testing.TB) netip.AddrPort {
	t.Helper()
	s := NewStation(t)
	close(s.Read)
	return netip.MustParseAddrPort(s.Addr().String())
}

// Station accepts BMP connections, and reads nothing until it is told to: BIRD
// has to keep what it sends.
type Station struct {
	net.Listener
	Up   chan struct{} // receives when BIRD has connected
	Read chan struct{} // closed to read
}

// NewStation listens on loopback until the test ends.
func NewStation(t testing.TB) *Station {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Station{Listener: l, Up: make(chan struct{}, 16), Read: make(chan struct{})}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// Accepted with a small buffer, so that BIRD has to keep the rest.
			c.(*net.TCPConn).SetReadBuffer(4096)
			select {
			case s.Up <- struct{}{}:
			default: // nobody waits for it
			}
			go func() {
				defer c.Close()
				<-s.Read
				c.(*net.TCPConn).SetReadBuffer(1 << 20)
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return s
}
