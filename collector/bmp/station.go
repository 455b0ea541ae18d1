// SPDX-License-Identifier: Apache-2.0

// Package bmp is a station of the BGP Monitoring Protocol (RFC 7854, with RFC 8671 and
// RFC 9069): routers connect to it and report their peers and routes. The station counts
// what goes by and tells of what changes; it never makes a router wait.
//
// Messages are read by own code: gobgp's decoder calls every Route Monitoring message of
// BIRD malformed (BIRD sends NEXT_HOP without the transitive flag) and does not know
// RFC 9069.
package bmp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultConnections = 64
	defaultEvents      = 1 << 14
	keptClosed         = 16 // closed connections with counts of their own
	acceptPause        = 100 * time.Millisecond
)

// DefaultAddr is where a station listens unless told otherwise: loopback only, since BMP
// has no authentication.
var DefaultAddr = netip.MustParseAddrPort("127.0.0.1:11019")

// Options change what a station does. The zero value is a good choice.
type Options struct {
	// Addr is where to listen; the zero value means DefaultAddr.
	Addr netip.AddrPort
	// MaxMessage is the longest message taken, in bytes; 0 means DefaultMaxMessage.
	MaxMessage int
	// MaxConnections is how many routers may be connected at once; 0 means 64.
	MaxConnections int
	// MaxEvents is how many events wait to be read before new ones are dropped; 0 means 16384.
	MaxEvents int
	// IdleTimeout ends a connection on which nothing came for so long; 0 means never.
	IdleTimeout time.Duration
	// OnMessage, if set, gets every whole message, common header included, before it is
	// counted. It is called by the goroutine that reads the connection, so it makes the
	// router wait for as long as it takes; it must not call the Station. The bytes are
	// valid during the call only.
	OnMessage func(connection uint64, message []byte)
}

// Station listens for routers. Its methods may be called concurrently.
type Station struct {
	opts     Options
	listener *net.TCPListener
	cancel   context.CancelFunc
	events   chan Event
	wg       sync.WaitGroup
	stopped  chan struct{} // closed when all goroutines have ended

	refused, malformed, acceptErrors, eventsDropped atomic.Uint64

	mu       sync.Mutex
	accepted uint64
	conns    map[uint64]*connection
	closed   []*connection // the last few, oldest first
	past     Totals        // of the closed ones
	dropped  uint64        // closed ones that are in past only
}

// Listen starts a station. It ends with ctx or by Close.
func Listen(ctx context.Context, opts Options) (*Station, error) {
	if !opts.Addr.IsValid() {
		opts.Addr = DefaultAddr
	}
	setDefault(&opts.MaxMessage, DefaultMaxMessage)
	setDefault(&opts.MaxConnections, defaultConnections)
	setDefault(&opts.MaxEvents, defaultEvents)
	if opts.MaxMessage < commonLen || opts.MaxConnections < 0 || opts.MaxEvents < 0 || opts.IdleTimeout < 0 {
		return nil, errors.New("listen for BMP: a limit is negative or too small")
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(opts.Addr))
	if err != nil {
		return nil, fmt.Errorf("listen for BMP: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Station{
		opts:     opts,
		listener: l,
		cancel:   cancel,
		events:   make(chan Event, opts.MaxEvents),
		stopped:  make(chan struct{}),
		conns:    make(map[uint64]*connection),
	}
	s.wg.Add(1)
	go s.acceptLoop(ctx)
	go func() {
		<-ctx.Done()
		l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.conn.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
		close(s.events)
		close(s.stopped)
	}()
	return s, nil
}

func setDefault(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

// acceptLoop takes connections until the listener is closed.
func (s *Station) acceptLoop(ctx context.Context) {
	defer s.wg.Done()
	for {
		conn, err := s.listener.AcceptTCP()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil { // out of file descriptors, or reset before we took it
			s.acceptErrors.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		s.serve(ctx, conn)
	}
}

// serve starts to read a connection, unless there are too many.
func (s *Station) serve(ctx context.Context, conn *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.opts.MaxConnections || ctx.Err() != nil {
		s.refused.Add(1)
		conn.Close()
		return
	}
	s.accepted++
	c := newConnection(s, s.accepted, conn)
	s.conns[c.number] = c
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		end := c.run(ctx)
		s.retire(c)
		c.emit(time.Now(), end) // after Counts knows
	}()
}

// retire moves a connection that has ended to the closed ones.
func (s *Station) retire(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.number)
	s.past.add(&c.totals)
	s.closed = append(s.closed, c)
	if len(s.closed) > keptClosed {
		s.closed = append(s.closed[:0], s.closed[1:]...)
		s.dropped++
	}
}

// emit hands on an event without ever waiting.
func (s *Station) emit(e Event) {
	select {
	case s.events <- e:
	default:
		s.eventsDropped.Add(1)
	}
}

// Addr is the address that the station listens at.
func (s *Station) Addr() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

// Events gives what happened, in order per connection. It is closed when the station has
// ended. If nobody reads, events beyond Options.MaxEvents are dropped and counted.
func (s *Station) Events() <-chan Event { return s.events }

// Counts is a snapshot of all counters.
func (s *Station) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counts{
		Totals:             s.past,
		Accepted:           s.accepted,
		Refused:            s.refused.Load(),
		MalformedMessages:  s.malformed.Load(),
		AcceptErrors:       s.acceptErrors.Load(),
		EventsDropped:      s.eventsDropped.Load(),
		ConnectionsDropped: s.dropped,
	}
	for _, conn := range s.closed {
		c.Connections = append(c.Connections, conn.snapshot())
	}
	for _, number := range slices.Sorted(maps.Keys(s.conns)) {
		snap := s.conns[number].snapshot()
		snap.Open = true
		c.Totals.add(&snap.Totals)
		c.Connections = append(c.Connections, snap)
	}
	return c
}

// Close ends all connections and the station, and waits for it.
func (s *Station) Close() error {
	s.cancel()
	<-s.stopped
	return nil
}
