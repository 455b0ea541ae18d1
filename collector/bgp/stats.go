// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"sync/atomic"
	"time"
)

// Stats counts what a session has sent and received since the TCP connection was made.
type Stats struct {
	MessagesSent, MessagesReceived uint64
	BytesSent, BytesReceived       uint64
	UpdatesReceived                uint64
	KeepalivesReceived             uint64
	LastReceived                   time.Time // of any whole message
}

type counters struct {
	messagesOut, messagesIn, bytesOut, bytesIn, updatesIn, keepalivesIn atomic.Uint64
	lastIn                                                              atomic.Int64 // Unix nanoseconds
}

func (c *counters) sent(messages, bytes int) {
	c.messagesOut.Add(uint64(messages))
	c.bytesOut.Add(uint64(bytes))
}

func (c *counters) received(t MessageType, bytes int) {
	c.messagesIn.Add(1)
	c.bytesIn.Add(uint64(bytes))
	switch t {
	case TypeUpdate:
		c.updatesIn.Add(1)
	case TypeKeepalive:
		c.keepalivesIn.Add(1)
	}
	c.lastIn.Store(time.Now().UnixNano())
}

// Stats is a snapshot of the counters.
func (s *Speaker) Stats() Stats {
	return Stats{
		MessagesSent:       s.stats.messagesOut.Load(),
		MessagesReceived:   s.stats.messagesIn.Load(),
		BytesSent:          s.stats.bytesOut.Load(),
		BytesReceived:      s.stats.bytesIn.Load(),
		UpdatesReceived:    s.stats.updatesIn.Load(),
		KeepalivesReceived: s.stats.keepalivesIn.Load(),
		LastReceived:       time.Unix(0, s.stats.lastIn.Load()),
	}
}
