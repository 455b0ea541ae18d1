// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Speed is how fast a recording is played.
type Speed int

const (
	MaxSpeed  Speed = iota // as fast as it can
	RealSpeed              // with the pauses that it was recorded with
)

// errRecordingEnds is the end of connections that the recording does not tell of.
var errRecordingEnds = errors.New("the recording ends")

// Replay plays a recording: a station that gives the events, messages and counts of the
// one that recorded, with its times, and ends with the recording. Events must be read:
// it waits for its reader, and drops none. Connections beyond opts.MaxConnections are left
// out. Of the other options OnMessage, OnEvent and the other limits on size count. Close
// says whether the recording was read to its end; one that was cut is played until there.
func Replay(ctx context.Context, recording io.Reader, speed Speed, opts Options) (*Station, error) {
	r, err := newRecordingReader(recording)
	if err != nil {
		return nil, err
	}
	opts.Record, opts.Behavior = nil, Normal
	s, err := newStation(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("replay BMP: %w", err)
	}
	s.patient = true
	p := &player{station: s, conns: make(map[uint64]*playing)}
	go func() {
		s.finish(p.play(r, speed))
	}()
	return s, nil
}

// player plays one recording.
type player struct {
	station *Station
	conns   map[uint64]*playing
	last    uint64 // greatest connection number so far
	start   time.Time
	first   time.Time // of the records
}

// playing is a connection that is being played.
type playing struct {
	*connection
	pending []byte // of a message that has not come whole
}

func (p *player) play(r *recordingReader, speed Speed) error {
	var at time.Time
	defer func() {
		reason := errRecordingEnds
		if ctx := p.station.ctx; ctx.Err() != nil {
			reason = fmt.Errorf("closed by the station: %w", context.Cause(ctx))
		}
		for _, number := range sortedKeys(p.conns) {
			p.end(p.conns[number], at, reason)
		}
	}()
	for p.station.ctx.Err() == nil {
		rec, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		at = rec.at
		if speed == RealSpeed {
			p.await(at)
		}
		if err := p.apply(rec); err != nil {
			return r.bad(err)
		}
	}
	return nil
}

// await waits until it is as long since the start as it was when recorded.
func (p *player) await(at time.Time) {
	if p.start.IsZero() {
		p.start, p.first = time.Now(), at
	}
	select {
	case <-time.After(time.Until(p.start.Add(at.Sub(p.first)))):
	case <-p.station.ctx.Done():
	}
}

// apply plays one record.
func (p *player) apply(rec record) error {
	s := p.station
	if rec.kind == recordOpen {
		if rec.connection <= p.last {
			return fmt.Errorf("connection %d opens after connection %d", rec.connection, p.last)
		}
		p.last = rec.connection
		remote, err := netip.ParseAddrPort(string(rec.data))
		if err != nil {
			return fmt.Errorf("open connection %d: %w", rec.connection, err)
		}
		if len(p.conns) >= s.opts.MaxConnections {
			s.refused.Add(1)
			return nil
		}
		c := newConnection(s.ctx, s, rec.connection, remote, rec.at)
		s.mu.Lock()
		s.accepted++
		s.conns[c.number] = c
		s.mu.Unlock()
		p.conns[c.number] = &playing{connection: c}
		c.emit(rec.at, Connected{Remote: remote})
		return nil
	}
	c := p.conns[rec.connection]
	if c == nil {
		if rec.connection > p.last {
			return fmt.Errorf("connection %d was not opened", rec.connection)
		}
		return nil // left out, or ended by a malformed message
	}
	switch rec.kind {
	case recordMessages:
		b := rec.data
		if len(c.pending) > 0 {
			c.pending = append(c.pending, b...)
			b = c.pending
		}
		done, _, bad := c.consume(b, rec.at)
		if bad != nil {
			p.end(c, rec.at, &MalformedError{Offset: int64(c.totals.Bytes), Err: bad})
			return nil
		}
		c.pending = append(c.pending[:0], b[done:]...)
	case recordClose:
		var err error
		if len(rec.data) > 0 {
			err = errors.New(string(rec.data))
		}
		p.end(c, rec.at, err)
	}
	return nil
}

// end ends a connection.
func (p *player) end(c *playing, at time.Time, err error) {
	delete(p.conns, c.number)
	p.station.retire(c.connection, at, c.end(err))
}
