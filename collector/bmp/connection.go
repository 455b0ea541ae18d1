// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// readBuffer is the room for what one read takes, in bytes. It grows for a message
	// that does not fit.
	readBuffer = 256 << 10
	maxPeers   = 16384 // per connection
)

// connection reads one router's messages.
type connection struct {
	station *Station
	number  uint64
	conn    *net.TCPConn
	remote  netip.AddrPort
	since   time.Time

	// mu is held while the messages that one read brought are counted, so that a snapshot
	// is never within a message and costs the reader one lock per read, not per message.
	mu         sync.Mutex
	now        time.Time // of the last read
	totals     Totals
	initiation *Initiation
	peers      map[peerKey]*peer
	order      []*peer
	lastKey    peerKey // cache: messages of one peer come in runs
	lastPeer   *peer
}

// peer is what is known of a peer of this connection.
type peer struct {
	counts    PeerCounts
	pathsIn   []Family // with ADD-PATH, in the Adj-RIB-In
	pathsOut  []Family // and in the Adj-RIB-Out
	overLimit bool     // stands for all that are not tracked
}

func newConnection(s *Station, number uint64, conn *net.TCPConn) *connection {
	return &connection{
		station: s,
		number:  number,
		conn:    conn,
		remote:  conn.RemoteAddr().(*net.TCPAddr).AddrPort(),
		since:   time.Now(),
		peers:   make(map[peerKey]*peer),
	}
}

// run reads until the connection ends and says how it did.
func (c *connection) run(ctx context.Context) Disconnected {
	c.emit(time.Now(), Connected{Remote: c.remote})
	err := c.readLoop()
	c.conn.Close()
	if ctx.Err() != nil {
		err = fmt.Errorf("station closed: %w", context.Cause(ctx))
	}
	var malformed *MalformedError
	if errors.As(err, &malformed) {
		c.station.malformed.Add(1)
	}
	up := 0
	for _, p := range c.order {
		if p.counts.Up {
			up++
		}
	}
	return Disconnected{Err: err, Offset: int64(c.totals.Bytes), PeersUp: up}
}

func (c *connection) emit(at time.Time, body EventBody) {
	c.station.emit(Event{At: at, Connection: c.number, Body: body})
}

// readLoop is the one place where a connection is read. It takes what there is, counts
// the whole messages in it, and keeps the rest for the next turn. It returns nil when the
// router closed after a whole message.
func (c *connection) readLoop() error {
	buf := make([]byte, readBuffer)
	have := 0 // bytes of buf that are not yet counted
	for {
		if t := c.station.opts.IdleTimeout; t > 0 {
			c.conn.SetReadDeadline(time.Now().Add(t))
		}
		n, err := c.conn.Read(buf[have:])
		have += n
		done, need, bad := c.consume(buf[:have])
		if bad != nil {
			return &MalformedError{Offset: int64(c.totals.Bytes), Err: bad}
		}
		have = copy(buf, buf[done:have])
		if need > len(buf) {
			buf = append(make([]byte, 0, need), buf[:have]...)[:need]
		}
		switch {
		case err == io.EOF && have > 0:
			return fmt.Errorf("read BMP: %d bytes of a message: %w", have, io.ErrUnexpectedEOF)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read BMP: %w", err)
		}
	}
}

// consume counts the whole messages at the start of b. It returns how many bytes they
// have, the length of the message after them if its header is there, and what is wrong
// with that one.
func (c *connection) consume(b []byte) (done, need int, bad error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = time.Now()
	for len(b)-done >= commonLen {
		length, typ, err := parseCommon(b[done:], c.station.opts.MaxMessage)
		if err != nil {
			return done, 0, err
		}
		if length > len(b)-done {
			return done, length, nil
		}
		message := b[done : done+length]
		if c.station.opts.OnMessage != nil {
			c.station.opts.OnMessage(c.number, message)
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

// message counts one message and tells of what it changes.
func (c *connection) message(typ MessageType, body []byte) error {
	if typ >= numTypes {
		c.totals.UnknownTypes++
		return nil
	}
	early := c.initiation == nil && typ != TypeInitiation
	switch typ {
	case TypeRouteMonitoring:
		c.routeMonitoring(body)
	case TypePeerUp:
		up, err := ParsePeerUp(body)
		if err != nil {
			return err
		}
		c.peerUp(body, up)
	case TypePeerDown:
		down, err := ParsePeerDown(body)
		if err != nil {
			return err
		}
		c.peerDown(body, down)
	case TypeInitiation:
		in, err := parseInitiation(body)
		if err != nil {
			return err
		}
		c.initiation = &in
		c.emit(c.now, in)
	case TypeTermination:
		term, err := parseTermination(body)
		if err != nil {
			return err
		}
		c.emit(c.now, term)
	}
	c.totals.ByType[typ]++
	if early {
		c.totals.BeforeInitiation++
	}
	return nil
}

// peer finds the peer of a per-peer header, or makes it known. Beyond the limit it is one
// that stands for all others.
func (c *connection) peer(body []byte) *peer {
	key := keyOf(body)
	if c.lastPeer != nil && key == c.lastKey {
		return c.lastPeer
	}
	p := c.peers[key]
	switch {
	case p != nil:
	case len(c.peers) >= maxPeers:
		return &peer{overLimit: true}
	default:
		h, _ := ParsePeerHeader(body) // of a body that is long enough
		p = &peer{counts: PeerCounts{Peer: h.Peer}}
		c.peers[key] = p
		c.order = append(c.order, p)
	}
	c.lastKey, c.lastPeer = key, p
	return p
}

func (c *connection) routeMonitoring(body []byte) {
	p := c.peer(body)
	if p.overLimit {
		c.totals.UntrackedPeers++
	}
	rib := ribOf(body[0], body[1])
	paths := p.pathsIn
	if rib == AdjRIBOutPre || rib == AdjRIBOutPost {
		paths = p.pathsOut
	}
	p.counts.LastRoute = c.now
	p.counts.RIBs[rib].Messages++
	c.totals.RouteCounts.Messages++
	u, err := countUpdate(body[peerHeaderLen:], paths)
	if err != nil {
		c.totals.MalformedUpdates++
		return
	}
	d := RouteCounts{Announced: uint64(u.announced), Withdrawn: uint64(u.withdrawn)}
	if u.opaque {
		c.totals.OpaqueUpdates++
	}
	if u.endOfRIB {
		d.EndOfRIBs = 1
		h, _ := ParsePeerHeader(body)
		c.emit(c.now, EndOfRIB{PeerHeader: h, Family: u.family})
	}
	p.counts.RIBs[rib].add(d)
	c.totals.RouteCounts.add(d)
}

func (c *connection) peerUp(body []byte, up PeerUp) {
	p := c.peer(body)
	if p.overLimit {
		c.totals.UntrackedPeers++
	}
	p.counts.Peer = up.Peer
	p.counts.Up = true
	p.counts.Ups++
	p.pathsIn = addPathFamilies(up.Received, up.Sent)
	p.pathsOut = addPathFamilies(up.Sent, up.Received)
	if up.Err != nil {
		c.totals.MalformedUpDowns++
	}
	c.emit(c.now, up)
}

func (c *connection) peerDown(body []byte, down PeerDown) {
	p := c.peer(body)
	if p.overLimit {
		c.totals.UntrackedPeers++
	}
	p.counts.Up = false
	p.counts.Downs++
	if down.Err != nil {
		c.totals.MalformedUpDowns++
	}
	c.emit(c.now, down)
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
