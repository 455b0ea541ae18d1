// SPDX-License-Identifier: Apache-2.0

// Package bgp plays the peers that flood a BGP daemon: it opens a session, announces a
// table of IPv4 and IPv6 unicast routes that was encoded beforehand, keeps the session alive, and
// drops it. It is no router: what the daemon announces is read and counted only.
package bgp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	defaultHoldTime = 240 * time.Second
	minHoldTime     = 3 * time.Second // RFC 4271 §4.2: zero or at least three seconds

	retryPause = 100 * time.Millisecond // between connection attempts
	closeGrace = time.Second            // for the peer's NOTIFICATION to arrive, or ours to leave
)

// Config describes one session.
type Config struct {
	// Local is the source address, such as 127.0.0.2:0; the zero value lets the kernel choose.
	Local netip.AddrPort
	// Remote is the daemon's address and BGP port.
	Remote netip.AddrPort
	// ASN is our 4-octet AS number (RFC 6793).
	ASN uint32
	// RemoteASN is the AS number that the peer must have; 0 accepts any.
	RemoteASN uint32
	// RouterID is our BGP identifier, an IPv4 address.
	RouterID netip.Addr
	// HoldTime is what we propose: whole seconds, at least 3; 0 means 240 s.
	HoldTime time.Duration
	// Patience is how much longer than the hold time we wait for a silent peer before we
	// end the session: a BIRD 2 that is busy with a flood may not get to its KEEPALIVEs
	// for seconds.
	Patience time.Duration
	// IPv6 announces that we speak IPv6 unicast too (RFC 4760).
	IPv6 bool
}

func (c *Config) validate() error {
	if c.HoldTime == 0 {
		c.HoldTime = defaultHoldTime
	}
	switch {
	case !c.Remote.IsValid():
		return errors.New("no remote address")
	case c.ASN == 0:
		return errors.New("AS number 0 is reserved (RFC 7607)")
	case !c.RouterID.Is4() || c.RouterID.IsUnspecified():
		return fmt.Errorf("router ID %v is not an IPv4 address", c.RouterID)
	case c.Patience < 0:
		return fmt.Errorf("patience %v: must not be negative", c.Patience)
	case c.HoldTime < minHoldTime || c.HoldTime > 0xffff*time.Second || c.HoldTime%time.Second != 0:
		return fmt.Errorf("hold time %v: want whole seconds from 3 to 65535", c.HoldTime)
	}
	return nil
}

// Speaker is one established BGP session. Its methods may be called concurrently.
type Speaker struct {
	cfg  Config
	conn *net.TCPConn
	in   *bufio.Reader
	out  writer
	peer Open
	hold time.Duration // negotiated; 0: neither keepalives nor expiry

	closing atomic.Bool // the end of the connection is our doing
	silent  atomic.Bool // neither keepalives nor expiry any more

	stats   counters
	endOnce sync.Once
	done    chan struct{}
	err     error // set before done is closed
	wg      sync.WaitGroup
}

// errClosedEarly marks a connection that the peer closed before it sent an OPEN. BIRD does
// so while the protocol is down or waits after an error.
var errClosedEarly = errors.New("connection closed before OPEN")

// Dial opens a session and returns when it is Established (RFC 4271 §8.2.2). While the
// peer does not take the connection (refused, closed before its OPEN, or Cease/Connection
// Rejected) it tries again until ctx ends. Any other NOTIFICATION, the peer's or ours,
// fails with a *NotificationError.
func Dial(ctx context.Context, cfg Config) (*Speaker, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("dial BGP peer %v: %w", cfg.Remote, err)
	}
	var last error // what came of the last attempt that ctx did not cut short
	for {
		s, err := dialOnce(ctx, cfg)
		if err == nil {
			return s, nil
		}
		if ctx.Err() == nil {
			if !temporary(err) {
				return nil, fmt.Errorf("dial BGP peer %v: %w", cfg.Remote, err)
			}
			last = err
		}
		select {
		case <-ctx.Done():
			if last == nil {
				last = err
			}
			return nil, fmt.Errorf("dial BGP peer %v: %w: last attempt: %w", cfg.Remote, context.Cause(ctx), last)
		case <-time.After(retryPause):
		}
	}
}

// temporary says whether the peer may yet take a connection.
func temporary(err error) bool {
	var n *NotificationError
	if errors.As(err, &n) {
		return !n.Sent && n.Code == codeCease && n.Subcode == subConnectionRejected
	}
	// BIRD resets a connection that it has no use for yet, also while it is being
	// made. The dialer's own clock may be ahead of ctx by a little: not temporary,
	// but ctx will say.
	return errors.Is(err, errClosedEarly) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

func dialOnce(ctx context.Context, cfg Config) (*Speaker, error) {
	var d net.Dialer
	if cfg.Local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(cfg.Local)
	}
	c, err := d.DialContext(ctx, "tcp", cfg.Remote.String())
	if err != nil {
		return nil, err
	}
	conn := c.(*net.TCPConn)
	s := &Speaker{
		cfg:  cfg,
		conn: conn,
		in:   bufio.NewReaderSize(conn, 64<<10),
		out:  newWriter(conn),
		done: make(chan struct{}),
	}
	if err := s.handshake(ctx); err != nil {
		s.sendRefusal(err)
		conn.Close()
		return nil, err
	}
	s.wg.Add(2)
	go s.readLoop()
	go s.keepaliveLoop()
	return s, nil
}

// handshake goes from Connect to Established.
func (s *Speaker) handshake(ctx context.Context) error {
	release := deadlineFrom(ctx, s.conn.SetReadDeadline)
	defer release()

	open, err := openMessage(s.cfg)
	if err != nil {
		return fmt.Errorf("encode OPEN: %w", err)
	}
	if err := s.send(ctx, open); err != nil {
		return earlyEnd(err)
	}
	buf := make([]byte, maxMessage)
	body, err := s.expect(TypeOpen, subUnexpectedOpenSent, buf)
	if err != nil {
		return earlyEnd(err)
	}
	// The capabilities outlive buf.
	if s.peer, err = ParseOpen(append([]byte(nil), body...)); err != nil {
		return errors.Join(err, reject(codeOpen, 0))
	}
	if err := s.peer.check(s.cfg.RemoteASN); err != nil {
		return err
	}
	s.hold = min(s.cfg.HoldTime, s.peer.HoldTime)
	if err := s.send(ctx, keepaliveMessage); err != nil {
		return fmt.Errorf("write KEEPALIVE: %w", err)
	}
	if _, err := s.expect(TypeKeepalive, subUnexpectedOpenConfirm, buf); err != nil {
		return err
	}
	return nil
}

// expect reads a message of type want; another type is an error of the state machine.
func (s *Speaker) expect(want MessageType, subcode uint8, buf []byte) ([]byte, error) {
	typ, body, err := s.readMessage(buf)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %v: %w", want, err)
	case typ != want:
		return nil, fmt.Errorf("%w: %v instead of %v", reject(codeFSM, subcode, byte(typ)), typ, want)
	}
	return body, nil
}

// readMessage reads the next message and counts it. A NOTIFICATION becomes an error.
func (s *Speaker) readMessage(buf []byte) (MessageType, []byte, error) {
	typ, body, err := readMessage(s.in, buf)
	if err != nil {
		return 0, nil, err
	}
	s.stats.received(typ, headerLen+len(body))
	if typ == TypeNotification {
		n, err := ParseNotification(append([]byte(nil), body...))
		if err != nil {
			return 0, nil, err
		}
		return 0, nil, &NotificationError{Notification: n}
	}
	return typ, body, nil
}

// earlyEnd marks the errors that mean that the peer hung up.
func earlyEnd(err error) error {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", errClosedEarly, err)
		}
	}
	return err
}

// readLoop takes in what the peer sends, so that it never waits for us, until the
// connection ends. The hold timer is the read deadline (RFC 4271 §4.4, §6.5).
func (s *Speaker) readLoop() {
	defer s.wg.Done()
	buf := make([]byte, maxMessage)
	for {
		if s.hold > 0 && !s.silent.Load() {
			s.conn.SetReadDeadline(time.Now().Add(s.hold + s.cfg.Patience))
		}
		typ, _, err := s.readMessage(buf)
		if errors.Is(err, errTimeout) {
			if s.silent.Load() { // the deadline was set before
				s.conn.SetReadDeadline(time.Time{})
				continue
			}
			err = reject(codeHoldTimer, 0)
		}
		if err == nil && typ == TypeOpen {
			err = reject(codeFSM, subUnexpectedEstablished, byte(typ))
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// keepaliveLoop sends a KEEPALIVE every third of the hold time (RFC 4271 §4.4).
func (s *Speaker) keepaliveLoop() {
	defer s.wg.Done()
	if s.hold == 0 {
		return
	}
	tick := time.NewTicker(s.hold / 3)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
		}
		if s.silent.Load() || s.closing.Load() {
			return
		}
		// An error here ends the read side too, which knows better why.
		s.send(context.Background(), keepaliveMessage)
	}
}

// end closes the session for good. A NOTIFICATION that is due is sent first.
func (s *Speaker) end(err error) {
	s.endOnce.Do(func() {
		s.sendRefusal(err)
		if s.closing.Load() {
			err = nil
		}
		s.err = err
		s.conn.Close()
		close(s.done)
	})
}

// sendRefusal sends the NOTIFICATION that err says is due, if the peer takes it in time.
func (s *Speaker) sendRefusal(err error) {
	var n *NotificationError
	if !errors.As(err, &n) || !n.Sent {
		return
	}
	if m, err := notificationMessage(n.Notification); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		s.send(ctx, m)
	}
}

// Done is closed when the session has ended, whoever ended it.
func (s *Speaker) Done() <-chan struct{} { return s.done }

// Err is nil while the session lasts and after our own Drop; otherwise it says why the
// session ended, with a *NotificationError where a NOTIFICATION ended it.
func (s *Speaker) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Peer is the peer's OPEN.
func (s *Speaker) Peer() Open { return s.peer }

// HoldTime is the negotiated hold time; 0 means that the session does not expire.
func (s *Speaker) HoldTime() time.Duration { return s.hold }
