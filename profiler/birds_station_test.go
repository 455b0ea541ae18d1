// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"
)

// bmpStation accepts a router's BMP connections, and reads from them unless it
// is stalled.
type bmpStation struct {
	listener  net.Listener
	connected chan struct{} // receives for each connection

	mu      sync.Mutex
	reading *sync.Cond
	stalls  bool
	conns   []net.Conn
}

func newBMPStation(t *testing.T) *bmpStation {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &bmpStation{listener: l, connected: make(chan struct{}, 64)}
	s.reading = sync.NewCond(&s.mu)
	t.Cleanup(func() {
		l.Close()
		s.cut()
	})
	go s.accept()
	return s
}

func (s *bmpStation) addr() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }

func (s *bmpStation) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.stalls {
			// Little room here, so that the router has to keep the rest.
			c.(*net.TCPConn).SetReadBuffer(4096)
		}
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.connected <- struct{}{}
		go s.read(c)
	}
}

func (s *bmpStation) read(c net.Conn) {
	b := make([]byte, 64<<10)
	for {
		s.mu.Lock()
		for s.stalls {
			s.reading.Wait()
		}
		s.mu.Unlock()
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// stall stops reading, from the next connection on.
func (s *bmpStation) stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls = true
}

// cut closes all connections, and ends a stall.
func (s *bmpStation) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns, s.stalls = nil, false
	s.reading.Broadcast()
}
