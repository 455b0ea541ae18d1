// SPDX-License-Identifier: Apache-2.0

// Package bmp is a station of the BGP Monitoring Protocol (RFC 7854, with RFC 8671 and
// RFC 9069): routers connect to it and report their peers and routes. The station counts
// what goes by and tells of what changes; it never makes a router wait, unless it is told
// to (Behavior).
//
// Messages are read by own code: gobgp's decoder calls every Route Monitoring message of
// BIRD malformed (BIRD sends NEXT_HOP without the transitive flag) and does not know
// RFC 9069.
//
// # Recordings
//
// A recording (Recorder, Replay) is a header and records, all numbers big-endian. The
// header is the 12 bytes "leakprof BMP" and the format's version, 1, in 4 bytes. A record
// is
//
//	8 bytes  time, in nanoseconds since 1970-01-01 UTC
//	8 bytes  number of the connection, from 1, in order of opening
//	1 byte   kind
//	4 bytes  length of the data: at most 16 MiB, 4096 of kinds 1 and 4
//	         data
//
// with the kinds
//
//	1  a router connected; the data is its address and port, such as 127.0.0.1:40000
//	2  bytes of messages, in order, with the time when the station took them; a station
//	   writes whole messages, and a malformed one with all that was read after it
//	3  bytes that were read but not taken: of a message that was cut by the end of the
//	   connection, or after a stall
//	4  the connection ended; the data is the reason, empty if the router closed it
package bmp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultConnections = 64
	defaultPeers       = 16384
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
	// Listener, if set, is what routers connect to, in place of Addr and
	// ReceiveBuffer. The station closes it.
	Listener *net.TCPListener
	// MaxMessage is the longest message taken, in bytes, at most 16 MiB; 0 means
	// DefaultMaxMessage.
	MaxMessage int
	// MaxConnections is how many routers may be connected at once; 0 means 64.
	MaxConnections int
	// MaxPeers is how many peers of a connection are told apart; 0 means 16384. Messages
	// of further ones go into the totals only.
	MaxPeers int
	// MaxEvents is how many events wait to be read before new ones are dropped; 0 means 16384.
	MaxEvents int
	// IdleTimeout ends a connection on which nothing came for so long; 0 means never: BMP
	// has no keepalives, and a router whose peers are at rest says nothing. A router that
	// is gone is noticed by those of TCP, after some minutes.
	IdleTimeout time.Duration
	// ReceiveBuffer is the size of the kernel's buffer per connection, in bytes, of which
	// the kernel takes the double (socket(7), SO_RCVBUF); 0 means that the kernel sizes it,
	// to megabytes (tcp(7), tcp_rmem). What a station that stalls or is slow does not
	// take waits there first, and then in the router.
	ReceiveBuffer int
	// Behavior is how routers are treated.
	Behavior Behavior
	// Record, if set, gets everything that is read. If it cannot write, the station ends.
	Record *Recorder
	// OnMessage, if set, gets every whole message before it is counted, malformed ones too.
	// It is called by the goroutine that reads the connection, so it makes the router wait
	// for as long as it takes, and for several connections at once; it must not call the
	// Station. The bytes are valid during the call only.
	OnMessage func(Message)
	// OnEvent, if set, gets every event before Events does, under the rules of OnMessage:
	// Connected comes before a connection's first message, Disconnected after its last.
	OnEvent func(Event)
}

// Station listens for routers. Its methods may be called concurrently.
type Station struct {
	opts     Options
	listener *net.TCPListener // nil in a replay
	ctx      context.Context  // ends with the station, with its reason
	cancel   context.CancelCauseFunc
	events   chan Event
	patient  bool // waits for the reader of events
	gate     gate
	wg       sync.WaitGroup
	stopped  chan struct{} // closed when all goroutines have ended
	err      error         // set before stopped is closed

	refused, malformed, acceptErrors, eventsDropped atomic.Uint64

	mu       sync.Mutex
	accepted uint64
	conns    map[uint64]*connection
	closed   []*connection // the last few, oldest first
	past     Totals        // of the closed ones
	dropped  uint64        // closed ones that are in past only
}

// newStation makes a station that does nothing yet.
func newStation(ctx context.Context, opts Options) (*Station, error) {
	for _, l := range []struct {
		value            *int
		byDefault, least int
	}{
		{&opts.MaxMessage, DefaultMaxMessage, commonLen},
		{&opts.MaxConnections, defaultConnections, 1},
		{&opts.MaxPeers, defaultPeers, 1},
		{&opts.MaxEvents, defaultEvents, 1},
		{&opts.ReceiveBuffer, 0, 0},
	} {
		*l.value = cmp.Or(*l.value, l.byDefault)
		if *l.value < l.least {
			return nil, errors.New("a limit is negative or too small")
		}
	}
	switch {
	case opts.MaxMessage > maxRecord:
		return nil, fmt.Errorf("messages of up to %d bytes: want at most %d", opts.MaxMessage, maxRecord)
	case opts.IdleTimeout < 0:
		return nil, errors.New("the idle timeout is negative")
	}
	s := &Station{
		opts:    opts,
		events:  make(chan Event, opts.MaxEvents),
		stopped: make(chan struct{}),
		conns:   make(map[uint64]*connection),
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	if after := opts.Behavior.after; after > 0 {
		s.gate.shutAfter(after - 1)
	}
	return s, nil
}

// Listen starts a station. It ends with ctx or by Close.
func Listen(ctx context.Context, opts Options) (*Station, error) {
	s, err := newStation(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("listen for BMP: %w", err)
	}
	if s.listener = opts.Listener; s.listener == nil {
		if s.listener, err = listenTCP(s.ctx, opts); err != nil {
			s.cancel(nil)
			return nil, fmt.Errorf("listen for BMP: %w", err)
		}
	}
	s.wg.Add(1)
	go s.acceptLoop()
	go func() {
		<-s.ctx.Done()
		s.listener.Close()
		s.wg.Wait()
		var err error
		if opts.Record != nil {
			err = opts.Record.failure()
		}
		s.finish(err)
	}()
	return s, nil
}

func listenTCP(ctx context.Context, opts Options) (*net.TCPListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		// On the listening socket, since the window's scale is settled by the handshake.
		if size := opts.ReceiveBuffer; size > 0 {
			err = errors.Join(raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
			}), err)
		}
		return err
	}}
	if !opts.Addr.IsValid() {
		opts.Addr = DefaultAddr
	}
	l, err := lc.Listen(ctx, "tcp", opts.Addr.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// finish ends the station, all of whose connections have ended.
func (s *Station) finish(err error) {
	s.cancel(nil)
	s.err = err
	close(s.events)
	close(s.stopped)
}

// acceptLoop takes connections until the listener is closed.
func (s *Station) acceptLoop() {
	defer s.wg.Done()
	for {
		conn, err := s.listener.AcceptTCP()
		if s.ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil { // out of file descriptors, or reset before we took it
			s.acceptErrors.Add(1)
			select {
			case <-s.ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		s.serve(conn)
	}
}

// serve starts to read a connection, unless there are too many.
func (s *Station) serve(conn *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.opts.MaxConnections {
		s.refused.Add(1)
		conn.Close()
		return
	}
	s.accepted++
	c := newConnection(s.ctx, s, s.accepted, conn.RemoteAddr().(*net.TCPAddr).AddrPort(), time.Now())
	c.conn = conn
	s.conns[c.number] = c
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		end, at := c.run()
		s.retire(c, at, end)
	}()
}

// retire moves a connection that has ended to the closed ones, and then tells of its end.
func (s *Station) retire(c *connection, at time.Time, end Disconnected) {
	c.cancel(nil)
	s.mu.Lock()
	delete(s.conns, c.number)
	s.past.add(&c.totals)
	s.closed = append(s.closed, c)
	if len(s.closed) > keptClosed {
		s.closed = append(s.closed[:0], s.closed[1:]...)
		s.dropped++
	}
	s.mu.Unlock()
	c.emit(at, end)
}

// emit hands on an event, without ever making a router wait.
func (s *Station) emit(e Event) {
	if s.opts.OnEvent != nil {
		s.opts.OnEvent(e)
	}
	select {
	case s.events <- e:
		return
	default:
	}
	if s.patient {
		select {
		case s.events <- e:
			return
		case <-s.ctx.Done():
		}
	}
	s.eventsDropped.Add(1)
}

// Stall takes no more messages, of no connection, until Resume. What comes meanwhile
// waits in the kernel and in the routers; that a router has closed is noticed after
// Resume only.
func (s *Station) Stall() { s.gate.close() }

// Resume ends a stall, and puts off for good one that StallAfter asked for.
func (s *Station) Resume() { s.gate.open() }

// Stalled says whether messages are held back.
func (s *Station) Stalled() bool { return s.gate.shut.Load() }

// ErrClosedByStation is the end of a connection by CloseConnections.
var ErrClosedByStation = errors.New("on demand")

// CloseConnections ends all connections. The station goes on to listen, and routers come
// back in their own time: BIRD from 2.14 on after 10 s.
func (s *Station) CloseConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.cancel(ErrClosedByStation)
	}
}

// Addr is the address that the station listens at; the zero AddrPort in a replay.
func (s *Station) Addr() netip.AddrPort {
	if s.listener == nil {
		return netip.AddrPort{}
	}
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
	for _, number := range sortedKeys(s.conns) {
		snap := s.conns[number].snapshot()
		snap.Open = true
		c.Totals.add(&snap.Totals)
		c.Connections = append(c.Connections, snap)
	}
	return c
}

// Done is closed when the station has ended.
func (s *Station) Done() <-chan struct{} { return s.stopped }

// Close ends all connections and the station, and waits for it. The error says what was
// lost: a recording that could not be written, or be read to its end.
func (s *Station) Close() error {
	s.cancel(nil)
	<-s.stopped
	return s.err
}

func sortedKeys[V any](m map[uint64]V) []uint64 { return slices.Sorted(maps.Keys(m)) }
