// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Behavior is how a station treats its routers. The zero value, Normal, reads as fast as
// it can; the others make a router's queue grow.
type Behavior struct {
	rate  int64 // bytes per second and connection; 0: as fast as it can
	after int64 // messages until it stalls, plus one; 0: never
}

// Normal reads as fast as it can.
var Normal = Behavior{}

// Slow reads so many bytes per second from each connection, at least 1.
func Slow(bytesPerSecond int64) Behavior { return Behavior{rate: max(bytesPerSecond, 1)} }

// StallAfter takes so many messages, over all connections, and then none until
// Station.Resume.
func StallAfter(messages int64) Behavior {
	return Behavior{after: min(max(messages, 0), math.MaxInt64-1) + 1}
}

// String is what ParseBehavior takes.
func (b Behavior) String() string {
	switch {
	case b.rate > 0:
		return fmt.Sprintf("slow=%d", b.rate)
	case b.after > 1:
		return fmt.Sprintf("stall=%d", b.after-1)
	case b.after == 1:
		return "stall"
	}
	return "normal"
}

// ParseBehavior reads "normal", "slow=RATE" in bytes per second, with k, M or G for 2^10,
// 2^20 and 2^30, "stall=N" after N messages, or "stall" from the first one on.
func ParseBehavior(s string) (Behavior, error) {
	kind, value, given := strings.Cut(s, "=")
	switch {
	case kind == "normal" && !given:
		return Normal, nil
	case kind == "stall" && !given:
		return StallAfter(0), nil
	case kind == "stall":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			return StallAfter(n), nil
		}
	case kind == "slow" && given:
		shift := 0
		for i, unit := range []string{"k", "M", "G"} {
			if number, ok := strings.CutSuffix(value, unit); ok {
				value, shift = number, 10*(i+1)
				break
			}
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 && n <= math.MaxInt64>>shift {
			return Slow(n << shift), nil
		}
	}
	return Behavior{}, fmt.Errorf("parse behavior %q: want normal, slow=RATE such as slow=64k, stall or stall=N", s)
}

// MarshalText and UnmarshalText make a Behavior a flag.
func (b Behavior) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBehavior.
func (b *Behavior) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBehavior(string(text))
	return err
}

// turns is how many portions per second a slow station reads.
const turns = 20

// portion is how many of n bytes to read at once.
func (b Behavior) portion(n int) int {
	if b.rate > 0 {
		n = int(min(int64(n), max(1, b.rate/turns)))
	}
	return n
}

// pacer makes the readings of one connection last as long as its rate wants.
type pacer struct{ next time.Time }

// wait waits until n bytes that were read now are due at the rate of b, or for ctx.
func (p *pacer) wait(ctx context.Context, b Behavior, n int) {
	if b.rate == 0 {
		return
	}
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(b.rate) * float64(time.Second)))
	select {
	case <-time.After(time.Until(p.next)):
	case <-ctx.Done():
	}
}

// gate holds messages back while the station is stalled. The zero gate is open.
type gate struct {
	shut     atomic.Bool
	counting atomic.Bool // it shuts by itself
	mu       sync.Mutex
	left     int64         // messages until then
	clear    chan struct{} // closed when the gate opens; made when it shuts
}

// shutAfter shuts the gate after n messages.
func (g *gate) shutAfter(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = n
	g.counting.Store(n > 0)
	if n == 0 {
		g.shutLocked()
	}
}

func (g *gate) shutLocked() {
	if !g.shut.Load() {
		g.clear = make(chan struct{})
		g.shut.Store(true)
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shutLocked()
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counting.Store(false)
	if g.shut.Load() {
		g.shut.Store(false)
		close(g.clear)
	}
}

// pass says whether a message may pass, and counts it.
func (g *gate) pass() bool {
	if !g.counting.Load() {
		return !g.shut.Load()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut.Load() {
		return false
	}
	if g.counting.Load() {
		if g.left--; g.left == 0 {
			g.counting.Store(false)
			g.shutLocked()
		}
	}
	return true
}

// wait waits until the gate is open. The error is the cause of ctx's end.
func (g *gate) wait(ctx context.Context) error {
	for g.shut.Load() {
		g.mu.Lock()
		clear := g.clear
		g.mu.Unlock()
		select {
		case <-clear:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
