// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// readBuffer is the room for what one read takes, in bytes. It grows for a message that
// does not fit.
const readBuffer = 256 << 10

// connection reads one router's messages.
type connection struct {
	station *Station
	number  uint64
	conn    *net.TCPConn // nil in a replay
	remote  netip.AddrPort
	since   time.Time
	ctx     context.Context // ends with the connection
	cancel  context.CancelCauseFunc

	// mu is held while the messages that one read brought are counted, so that a snapshot
	// is never within a message and costs the reader one lock per read, not per message.
	mu         sync.Mutex
	now        time.Time // when the messages that are being counted were taken
	totals     Totals
	initiation *Initiation
	peers      map[peerKey]*peer
	order      []*peer
	lastKey    peerKey // cache: messages of one peer come in runs
	lastPeer   *peer
	others     peer // stands for the peers beyond the limit
}

func newConnection(ctx context.Context, s *Station, number uint64, remote netip.AddrPort, since time.Time) *connection {
	c := &connection{
		station: s,
		number:  number,
		remote:  remote,
		since:   since,
		peers:   make(map[peerKey]*peer),
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c
}

// run reads until the connection ends and says how it did.
func (c *connection) run() (Disconnected, time.Time) {
	defer context.AfterFunc(c.ctx, func() { c.conn.Close() })()
	defer c.conn.Close()
	c.record(recordOpen, c.since, []byte(c.remote.String()))
	c.emit(c.since, Connected{Remote: c.remote})
	rest, err := c.readLoop()
	if c.ctx.Err() != nil {
		err = fmt.Errorf("closed by the station: %w", context.Cause(c.ctx))
	}
	now := time.Now()
	var malformed *MalformedError
	switch {
	case errors.As(err, &malformed):
		c.record(recordMessages, now, rest) // to be found malformed again
	case len(rest) > 0:
		c.record(recordRest, now, rest)
	}
	var reason []byte
	if err != nil {
		reason = []byte(err.Error())
	}
	c.record(recordClose, now, reason)
	return c.end(err), now
}

// end is the connection's last event.
func (c *connection) end(err error) Disconnected {
	c.mu.Lock()
	defer c.mu.Unlock()
	var malformed *MalformedError
	if errors.As(err, &malformed) {
		c.station.malformed.Add(1)
	}
	up := 0
	for _, p := range c.order {
		if p.counts.Up && p.counts.Peer.IsBGP() {
			up++
		}
	}
	return Disconnected{Err: err, Offset: int64(c.totals.Bytes), PeersUp: up}
}

func (c *connection) emit(at time.Time, body EventBody) {
	c.station.emit(Event{At: at, Connection: c.number, Body: body})
}

func (c *connection) record(kind recordKind, at time.Time, b []byte) {
	if c.station.opts.Record == nil {
		return
	}
	if err := c.station.opts.Record.write(record{at, c.number, kind, b}); err != nil {
		c.station.cancel(err)
	}
}

// readLoop is the one place where a connection is read. It takes what there is, counts
// the whole messages in it, and keeps the rest for the next turn. The error is nil when
// the router closed after a whole message; rest is what was read and not counted.
func (c *connection) readLoop() (rest []byte, err error) {
	var (
		s    = c.station
		buf  = make([]byte, readBuffer)
		have = 0 // bytes of buf that are not yet counted
		pace pacer
		end  error // of reading
	)
	for {
		if err := s.gate.wait(c.ctx); err != nil {
			return buf[:have], err
		}
		now := time.Now()
		done, need, bad := c.consume(buf[:have], now)
		c.recordMessages(now, buf[:done])
		have = copy(buf, buf[done:have])
		if bad != nil && bad != errStalled {
			return buf[:have], &MalformedError{Offset: int64(c.totals.Bytes), Err: bad}
		}
		if need > len(buf) {
			buf = append(make([]byte, 0, need), buf[:have]...)[:need]
		}
		switch {
		case bad == errStalled || s.gate.shut.Load(): // first what is left of buf
			continue
		case end == io.EOF && have > 0:
			return buf[:have], fmt.Errorf("read BMP: %d bytes of a message: %w", have, io.ErrUnexpectedEOF)
		case end == io.EOF:
			return nil, nil
		case end != nil:
			return buf[:have], fmt.Errorf("read BMP: %w", end)
		}
		if s.opts.IdleTimeout > 0 {
			c.conn.SetReadDeadline(time.Now().Add(s.opts.IdleTimeout))
		}
		var n int
		n, end = c.conn.Read(buf[have : have+s.opts.Behavior.portion(len(buf)-have)])
		have += n
		pace.wait(c.ctx, s.opts.Behavior, n)
	}
}

// recordMessages records whole messages.
func (c *connection) recordMessages(now time.Time, b []byte) {
	if len(b) > 0 {
		c.record(recordMessages, now, b)
	}
}

// errStalled says that there is a whole message that may not pass.
var errStalled = errors.New("the station is stalled")

// consume counts the whole messages at the start of b, taken at the time now, until the
// station stalls. It returns how many bytes they have, the length of the message after
// them if its header is there, and what is wrong with that one, or errStalled.
func (c *connection) consume(b []byte, now time.Time) (done, need int, bad error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
	for len(b)-done >= commonLen {
		length, typ, err := parseCommon(b[done:], c.station.opts.MaxMessage)
		if err != nil {
			return done, 0, err
		}
		if length > len(b)-done {
			return done, length, nil
		}
		if !c.station.gate.pass() {
			return done, 0, errStalled
		}
		message := b[done : done+length]
		if c.station.opts.OnMessage != nil {
			c.station.opts.OnMessage(c.decodable(typ, message))
		}
		if err := c.message(typ, message[commonLen:]); err != nil {
			return done, 0, err
		}
		done += length
		c.totals.Bytes += uint64(length)
		c.totals.LastMessage = c.now
	}
	return done, 0, nil
}

// decodable is a message with what is needed to decode it.
func (c *connection) decodable(typ MessageType, message []byte) Message {
	m := Message{At: c.now, Connection: c.number, Offset: int64(c.totals.Bytes), Type: typ, Bytes: message}
	if typ == TypeRouteMonitoring {
		body := message[commonLen:]
		m.AddPath = c.peer(body).addPath(ribOf(body[0], body[1]))
	}
	return m
}

// message counts one message and tells of what it changes.
func (c *connection) message(typ MessageType, body []byte) error {
	if typ >= numTypes {
		c.totals.UnknownTypes++
		return nil
	}
	early := c.initiation == nil && typ != TypeInitiation
	unknown := 0
	switch typ {
	case TypeRouteMonitoring:
		c.routeMonitoring(body)
	case TypeStatisticsReport:
		r, err := ParseStatisticsReport(body)
		if err != nil {
			return err
		}
		unknown = r.UnknownTLVs
		c.trackedPeer(body).counts.Statistics = r.Statistics
		c.emit(c.now, r)
	case TypePeerUp:
		up, err := ParsePeerUp(body)
		if err != nil {
			return err
		}
		unknown = up.UnknownTLVs
		c.peerUp(body, up)
	case TypePeerDown:
		down, err := ParsePeerDown(body)
		if err != nil {
			return err
		}
		unknown = down.UnknownTLVs
		c.peerDown(body, down)
	case TypeInitiation:
		in, err := parseInitiation(body)
		if err != nil {
			return err
		}
		unknown = in.UnknownTLVs
		c.initiation = &in
		c.emit(c.now, in)
	case TypeTermination:
		term, err := parseTermination(body)
		if err != nil {
			return err
		}
		unknown = term.UnknownTLVs
		c.emit(c.now, term)
	case TypeRouteMirroring:
		m, err := ParseRouteMirroring(body)
		if err != nil {
			return err
		}
		unknown = m.UnknownTLVs
		c.trackedPeer(body)
		c.totals.MirroredMessages += uint64(len(m.Messages))
		if slices.Contains(m.Information, MessagesLost) {
			c.totals.MirroringLosses++
		}
	}
	c.totals.UnknownTLVs += uint64(unknown)
	c.totals.ByType[typ]++
	if early {
		c.totals.BeforeInitiation++
	}
	return nil
}

// snapshot copies the counters between two messages.
func (c *connection) snapshot() ConnectionCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ConnectionCounts{
		Connection: c.number,
		Remote:     c.remote,
		Since:      c.since,
		Initiation: c.initiation,
		Totals:     c.totals,
		Peers:      make([]PeerCounts, len(c.order)),
	}
	for i, p := range c.order {
		s.Peers[i] = p.counts
	}
	return s
}
