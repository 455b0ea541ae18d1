// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
)

// Drop is a way to end a session.
type Drop int

const (
	// DropNotification sends Cease/Administrative Shutdown (RFC 4486) and waits until the
	// peer has closed: all that was sent before has then been read.
	DropNotification Drop = iota
	// DropReset resets the TCP connection without a word (SO_LINGER 0). What the peer has
	// not read yet may be lost.
	DropReset
	// DropSilence sends nothing any more and waits until the peer's hold timer has expired.
	DropSilence
)

func (d Drop) String() string {
	switch d {
	case DropNotification:
		return "notification"
	case DropReset:
		return "reset"
	case DropSilence:
		return "silence"
	}
	return fmt.Sprintf("Drop(%d)", int(d))
}

// MarshalText gives what String does.
func (d Drop) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes what String gives for the known ways.
func (d *Drop) UnmarshalText(text []byte) error {
	for known := DropNotification; known <= DropSilence; known++ {
		if known.String() == string(text) {
			*d = known
			return nil
		}
	}
	return fmt.Errorf("%q: want notification, reset or silence", text)
}

// Drop ends the session and returns when the connection is closed. If ctx ends before the
// peer has closed, the connection is closed all the same and the error says so. A session
// that has ended already is no error.
func (s *Speaker) Drop(ctx context.Context, how Drop) error {
	s.closing.Store(true)
	switch how {
	case DropNotification:
		m, err := notificationMessage(Notification{Code: codeCease, Subcode: subAdminShutdown})
		if err != nil {
			return fmt.Errorf("drop BGP session: encode NOTIFICATION: %w", err)
		}
		if err := s.send(ctx, m); err == nil {
			// Closing now, with unread data, would reset the connection and could take the
			// NOTIFICATION along; so only our half ends, and the read side goes on.
			s.conn.CloseWrite()
		}
	case DropReset:
		s.conn.SetLinger(0)
		s.end(nil)
	case DropSilence:
		s.silent.Store(true)
	default:
		return fmt.Errorf("drop BGP session: unknown way %d", int(how))
	}
	var err error
	select {
	case <-s.done:
	case <-ctx.Done():
		s.end(nil)
		err = fmt.Errorf("drop BGP session with %v by %v: peer has not closed: %w", s.cfg.Remote, how, context.Cause(ctx))
	}
	s.wg.Wait()
	return err
}
