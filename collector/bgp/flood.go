// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// floodChunk is how much one write of a flood hands to the kernel, in bytes. Between two
// writes a KEEPALIVE can pass.
const floodChunk = 256 << 10

// FloodStats says what a flood sent and how long the peer made it wait.
type FloodStats struct {
	Messages int           // UPDATE messages sent whole
	Prefixes int           // in them
	Bytes    int           // sent, with those of a message that was cut
	Elapsed  time.Duration // of the whole flood
	Blocked  time.Duration // of that, inside write
}

// Flood sends a table. When ctx ends it stops where it is, and the session lasts: a
// message that was cut is completed by whatever is sent next. The statistics hold in any
// case.
func (s *Speaker) Flood(ctx context.Context, t *Table) (FloodStats, error) {
	var st FloodStats
	start := time.Now()
	var err error
	for rest := t.data; len(rest) > 0 && err == nil; {
		if err = ctx.Err(); err != nil {
			break
		}
		end, messages, prefixes := wholeMessages(rest, floodChunk)
		before := time.Now()
		var n int
		n, err = s.out.write(ctx, rest[:end])
		st.Blocked += time.Since(before)
		if n < end {
			_, messages, prefixes = wholeMessages(rest[:end], n)
		}
		st.Messages += messages
		st.Prefixes += prefixes
		st.Bytes += n
		s.stats.sent(messages, n)
		rest = rest[end:]
	}
	st.Elapsed = time.Since(start)
	if err != nil {
		return st, fmt.Errorf("flood BGP peer %v: after %d of %d messages: %w",
			s.cfg.Remote, st.Messages, t.messages, s.writeError(ctx, err))
	}
	return st, nil
}

// EndOfRIB sends the End-of-RIB markers (RFC 4724 §2) of the families that we speak.
func (s *Speaker) EndOfRIB(ctx context.Context) error {
	markers := [][]byte{endOfRIBMessage}
	if s.cfg.IPv6 {
		markers = append(markers, endOfRIBIPv6Message)
	}
	for _, m := range markers {
		if err := s.send(ctx, m); err != nil {
			return fmt.Errorf("send End-of-RIB to BGP peer %v: %w", s.cfg.Remote, s.writeError(ctx, err))
		}
	}
	return nil
}

// send writes one message.
func (s *Speaker) send(ctx context.Context, m []byte) error {
	n, err := s.out.write(ctx, m)
	whole := 0
	if n == len(m) {
		whole = 1
	}
	s.stats.sent(whole, n)
	return err
}

// writeError says why a write did not succeed: ctx ended, or else the session, for which
// the read side may know the reason (the peer's NOTIFICATION).
func (s *Speaker) writeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-s.done:
	case <-time.After(closeGrace):
		s.end(err)
	}
	if s.err != nil {
		return s.err
	}
	return errors.New("session was dropped")
}
