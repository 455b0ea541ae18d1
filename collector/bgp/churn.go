// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"time"
)

// churnTick is how often a churning peer sends.
const churnTick = 50 * time.Millisecond

// ChurnStats says what a churn did.
type ChurnStats struct {
	Prefixes int           // withdrawn, and announced again
	Elapsed  time.Duration // of the whole churn
}

// Churn withdraws rate prefixes of t per second, round and round its messages, and
// announces each again a moment later, with the same attributes. It returns after d, with
// all of t announced; if the peer takes less than rate, it does what the peer takes. When
// ctx ends, some prefixes stay withdrawn. t has been sent before (Flood).
func (s *Speaker) Churn(ctx context.Context, t *Table, rate float64, d time.Duration) (ChurnStats, error) {
	var st ChurnStats
	if !(rate > 0) || t.prefixes == 0 {
		return st, nil
	}
	start := time.Now()
	tick := time.NewTicker(churnTick)
	defer tick.Stop()
	next := churnCursor{table: t}
	var away []announcement // withdrawn and not yet announced again
	var out []byte
	var err error
	for due := 0.0; ; {
		elapsed := time.Since(start)
		ended := elapsed >= d
		out = out[:0]
		for _, a := range away {
			out = a.append(out)
		}
		away = away[:0]
		if !ended {
			// What could not be sent in its time is not made up for: a peer that takes less
			// than rate is not to be sent more and more at a time.
			due += rate * churnTick.Seconds()
			n := min(int(due), t.prefixes)
			due -= float64(int(due))
			for n > 0 {
				a, count := next.take(n)
				away = append(away, a)
				out = a.appendWithdrawal(out)
				st.Prefixes += count
				n -= count
			}
		}
		if err = s.sendAll(ctx, out); err != nil || ended {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	st.Elapsed = time.Since(start)
	if err != nil {
		return st, fmt.Errorf("churn at BGP peer %v: after %d prefixes: %w", s.cfg.Remote, st.Prefixes, s.writeError(ctx, err))
	}
	return st, nil
}

// churnCursor goes round the prefixes of a table.
type churnCursor struct {
	table *Table
	at    int // in the table's data: the message that is being taken from
	taken int // bytes of its prefixes
}

// take returns the next n prefixes, or those that are left in one message, and how many.
func (c *churnCursor) take(n int) (announcement, int) {
	m := messageAt(c.table.data[c.at:])
	a := parseAnnouncement(m)
	size, count := firstPrefixes(a.nlri[c.taken:], n, len(a.nlri))
	nlri := a.nlri[c.taken : c.taken+size]
	if c.taken += size; c.taken == len(a.nlri) {
		c.at, c.taken = c.at+len(m), 0
		if c.at == len(c.table.data) {
			c.at = 0
		}
	}
	a.nlri = nlri
	return a, count
}

// sendAll writes whole messages, in pieces between which a KEEPALIVE can pass.
func (s *Speaker) sendAll(ctx context.Context, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for len(data) > 0 {
		end, messages := 0, 0
		for end < len(data) && end < floodChunk {
			end += len(messageAt(data[end:]))
			messages++
		}
		n, err := s.out.write(ctx, data[:end])
		s.stats.sent(messages, n)
		if err != nil {
			return err
		}
		data = data[end:]
	}
	return nil
}
