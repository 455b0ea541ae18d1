// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"net"
	"os"
	"time"
)

var errTimeout = os.ErrDeadlineExceeded

// writer keeps messages whole on a connection whose writes may be given up midway: the
// rest of a message that was cut goes out before anything else.
type writer struct {
	conn net.Conn
	turn chan struct{} // holds a token while somebody writes, who may be blocked
	rest []byte
}

func newWriter(conn net.Conn) writer {
	return writer{conn: conn, turn: make(chan struct{}, 1)}
}

// write sends p, whole messages, until ctx ends, and returns how many bytes of p were
// sent. After a cut the session can go on: the next write completes the message.
func (w *writer) write(ctx context.Context, p []byte) (int, error) {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, errTimeout
	}
	defer func() { <-w.turn }()
	defer deadlineFrom(ctx, w.conn.SetWriteDeadline)()

	if len(w.rest) > 0 {
		n, err := w.conn.Write(w.rest)
		w.rest = w.rest[n:]
		if err != nil {
			return 0, err
		}
	}
	n, err := w.conn.Write(p)
	if err != nil && n > 0 {
		w.rest = p[n:cutEnd(p, n)]
	}
	return n, err
}

// cutEnd is where the message ends of which the first n bytes of p hold a part; n itself
// if they end with a message.
func cutEnd(p []byte, n int) int {
	end := 0
	for end < n {
		end += int(p[end+16])<<8 | int(p[end+17])
	}
	return end
}

// deadlineFrom makes the end of ctx a deadline of a connection, by set, until the
// returned function is called; that clears the deadline.
func deadlineFrom(ctx context.Context, set func(time.Time) error) (release func()) {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		set(time.Unix(1, 0))
		close(fired)
	})
	return func() {
		if !stop() {
			<-fired
		}
		set(time.Time{})
	}
}
