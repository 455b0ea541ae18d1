// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// await waits until the station's counts are as wanted.
func await(t testing.TB, s *Station, wanted func(Counts) bool) Counts {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		c := s.Counts()
		if wanted(c) {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s, counts %+v", c)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestParseBehavior(t *testing.T) {
	for text, want := range map[string]Behavior{
		"normal": Normal, "stall": StallAfter(0), "stall=0": StallAfter(0), "stall=12": StallAfter(12),
		"slow=1": Slow(1), "slow=64k": Slow(64 << 10), "slow=2M": Slow(2 << 20), "slow=1G": Slow(1 << 30),
		"stall=9223372036854775807": StallAfter(1<<63 - 1),
	} {
		var b Behavior
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: %v, error %v, want %v", text, b, err, want)
		}
		if again, err := ParseBehavior(b.String()); err != nil || again != b {
			t.Errorf("%s becomes %s, and that %v, error %v", text, b, again, err)
		}
	}
	for _, text := range []string{"", "fast", "normal=1", "slow", "slow=", "slow=0", "slow=-1", "slow=k", "slow=1x", "slow=9000000000G", "stall=", "stall=-1", "stall=x", "stall=1k"} {
		if b, err := ParseBehavior(text); err == nil {
			t.Errorf("%q is taken as %v", text, b)
		}
	}
}

// TestStallAfter wants exactly so many messages over two connections until Resume, and
// all of them after it.
func TestStallAfter(t *testing.T) {
	for _, n := range []int64{0, 1, 7} {
		s := listen(t, Options{Behavior: StallAfter(n)})
		a, b := connect(t, s), connect(t, s)
		a.Write(bytes.Repeat(initiation(), 5))
		if n > 5 {
			await(t, s, func(c Counts) bool { return c.ByType[TypeInitiation] == 5 })
		}
		b.Write(bytes.Repeat(initiation(), 5))
		await(t, s, func(c Counts) bool { return c.Accepted == 2 && c.ByType[TypeInitiation] == uint64(n) && s.Stalled() })
		select {
		case <-time.After(20 * time.Millisecond): // what must not happen cannot be waited for
		case <-s.Done():
		}
		if c := s.Counts(); c.ByType[TypeInitiation] != uint64(n) || len(s.conns) != 2 {
			t.Errorf("after %d: %+v", n, c)
		}
		s.Resume() // nothing else comes that could wake the readers
		await(t, s, func(c Counts) bool { return c.ByType[TypeInitiation] == 10 && !s.Stalled() })
		s.Close()
	}
}

// TestStall stalls and resumes on demand; the idle time does not run meanwhile.
func TestStall(t *testing.T) {
	s := listen(t, Options{ReceiveBuffer: 4096})
	c := connect(t, s)
	c.Write(initiation())
	await(t, s, func(c Counts) bool { return c.ByType[TypeInitiation] == 1 })
	s.Stall()
	s.Stall()
	// A router that writes without end has to stop.
	block := bytes.Repeat(initiation(), 1000)
	c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	sent := 0
	for {
		n, err := c.Write(block)
		sent += n
		if err != nil {
			break
		}
	}
	if sent > 64<<20 {
		t.Errorf("%d bytes were sent to a station that is stalled", sent)
	}
	// One read may have been under way.
	before := s.Counts().ByType[TypeInitiation]
	s.Resume()
	s.Resume()
	await(t, s, func(c Counts) bool { return c.ByType[TypeInitiation] > before })
	c.SetWriteDeadline(time.Time{})
	c.CloseWrite()
	if _, end := events(t, s); end.Offset != int64((sent+len(initiation()))/len(initiation())*len(initiation())) {
		t.Errorf("ended with %+v, want all of the %d bytes", end, sent)
	}
}

func TestSlow(t *testing.T) {
	s := listen(t, Options{Behavior: Slow(20_000)})
	message := frame(99, make([]byte, 194)) // 200 bytes
	start := time.Now()
	send(t, s, bytes.Repeat(message, 30))
	if _, end := events(t, s); end.Err != nil || end.Offset != 6000 {
		t.Errorf("ended with %+v", end)
	}
	if took := time.Since(start); took < 290*time.Millisecond {
		t.Errorf("6000 bytes took %v, want 300 ms", took)
	}
}

// TestPortion wants that a slow station does not take all at once and then rest.
func TestPortion(t *testing.T) {
	for _, tt := range []struct {
		b       Behavior
		n, want int
	}{{Normal, 1 << 20, 1 << 20}, {StallAfter(3), 9, 9}, {Slow(20_000), 1 << 20, 1000}, {Slow(20_000), 9, 9}, {Slow(1), 9, 1}} {
		if got := tt.b.portion(tt.n); got != tt.want {
			t.Errorf("%v reads %d of %d bytes at once, want %d", tt.b, got, tt.n, tt.want)
		}
	}
}

func TestReceiveBuffer(t *testing.T) {
	s := listen(t, Options{ReceiveBuffer: 64 << 10})
	raw, err := s.listener.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var size int
	if ctl := raw.Control(func(fd uintptr) {
		size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	}); ctl != nil || err != nil || size != 128<<10 { // the kernel doubles it
		t.Errorf("receive buffer of %d bytes, errors %v, %v", size, ctl, err)
	}
}

// TestCloseConnections closes what there is, stalled or not, and takes the next.
func TestCloseConnections(t *testing.T) {
	for _, behavior := range []Behavior{Normal, StallAfter(0), StallAfter(1), Slow(1)} {
		s := listen(t, Options{Behavior: behavior})
		a, b := connect(t, s), connect(t, s)
		a.Write(slices.Concat(initiation(), initiation()))
		await(t, s, func(c Counts) bool { return c.Accepted == 2 })
		s.CloseConnections()
		for range 2 {
			if _, end := events(t, s); !errors.Is(end.Err, ErrClosedByStation) {
				t.Errorf("%v: ended with %+v", behavior, end)
			}
		}
		b.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := b.Read(make([]byte, 1)); err == nil {
			t.Errorf("%v: the station speaks", behavior)
		}
		c := connect(t, s)
		s.Resume()
		if behavior == Slow(1) {
			continue
		}
		c.Write(initiation())
		c.CloseWrite()
		if _, end := events(t, s); end.Err != nil || end.Offset == 0 {
			t.Errorf("%v: the next connection ended with %+v", behavior, end)
		}
	}
}
