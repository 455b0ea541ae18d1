// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stream is what a benchmark's router sends: how it begins, and then a block of Route
// Monitoring again and again.
type stream struct {
	begin, block []byte
	messages     int // in the block
}

// blockSize is about how long a block is, in bytes.
const blockSize = 1 << 20

// repeated is the stream of these messages of Route Monitoring.
func repeated(begin, routes []byte, messages int) stream {
	times := max(1, blockSize/len(routes))
	return stream{begin, bytes.Repeat(routes, times), messages * times}
}

// birdStream has what a BIRD sent (TestRecordedSessions) until the first session went down:
// the routes of four peers, six or so of each in turn. The flood of a real one has longer
// runs of a peer, which are easier. End-of-RIB, which there is one of, is left out.
func birdStream(tb testing.TB, name string) stream {
	b, err := os.ReadFile("testdata/" + name + ".bmp")
	if err != nil {
		tb.Fatal(err)
	}
	var begin, routes []byte
	messages := 0
	for len(b) > 0 {
		length, typ, err := parseCommon(b, DefaultMaxMessage)
		if err != nil {
			tb.Fatal(err)
		}
		m := b[:length]
		b = b[length:]
		switch typ {
		case TypePeerDown:
			return repeated(begin, routes, messages)
		case TypeRouteMonitoring:
			if u, err := countUpdate(m[commonLen+peerHeaderLen:], nil); err != nil || u.endOfRIB {
				continue
			}
			routes = append(routes, m...)
			messages++
		default:
			begin = append(begin, m...)
		}
	}
	tb.Fatalf("no Peer Down in %s", name)
	return stream{}
}

// manyPeers is the worst case of finding the peer: each message is of another one.
func manyPeers(tb testing.TB, peers int) stream {
	var routes []byte
	for i := range peers {
		routes = append(routes, oneRoute(tb, peerHeader(PeerGlobal, 0, fmt.Sprintf("10.0.%d.%d", i>>8, i&0xff)))...)
	}
	return repeated(initiation(), routes, peers)
}

// streams are those that the benchmarks take.
func streams(tb testing.TB) map[string]stream {
	return map[string]stream{
		"bird-2.19.2": birdStream(tb, "bird-2.19.2"),
		"bird-3.1.7":  birdStream(tb, "bird-3.1.7"),
		"1000-peers":  manyPeers(tb, 1000),
	}
}

// routerEnv makes this program a router: it writes what it reads from its standard input to
// the socket that it has as descriptor 3, as often as the variable says, and then whether each
// message is a write of its own, such as "8 false".
const routerEnv = "LEAKPROF_TEST_ROUTER"

func TestMain(m *testing.M) {
	if how := os.Getenv(routerEnv); how != "" {
		if err := route(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func route(how string) error {
	var times int
	var single bool
	if _, err := fmt.Sscan(how, &times, &single); err != nil {
		return err
	}
	block, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	c, err := net.FileConn(os.NewFile(3, "station"))
	if err != nil {
		return err
	}
	for range times {
		for b := block; len(b) > 0; {
			n := len(b)
			if single {
				n = int(binary.BigEndian.Uint32(b[1:]))
			}
			if _, err := c.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
	}
	return nil
}

// processTime is the CPU time that this process has used.
func processTime(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkStation is Route Monitoring from a router, a process of its own, over a loopback
// connection. The rate is that of a station with one core: by the CPU time of this process,
// the kernel's for it included.
func BenchmarkStation(b *testing.B) {
	all := streams(b)
	for _, bb := range []struct {
		name, stream string
		single       bool // each message is a write of its own, as by BIRD 2
	}{
		{"bird-2.19.2", "bird-2.19.2", false},
		{"bird-2.19.2-by-message", "bird-2.19.2", true},
		{"bird-3.1.7", "bird-3.1.7", false},
		{"1000-peers", "1000-peers", false},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkStation(b, all[bb.stream], bb.single) })
	}
}

func benchmarkStation(b *testing.B, st stream, single bool) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := listen(b, Options{})
	c := connect(b, s)
	if _, err := c.Write(st.begin); err != nil {
		b.Fatal(err)
	}
	socket, err := c.File()
	if err != nil {
		b.Fatal(err)
	}
	defer socket.Close()
	// Enough of them that starting the router does not count.
	const blocks = 8
	times := blocks * b.N
	router := exec.Command(os.Args[0])
	router.Env = append(os.Environ(), fmt.Sprintf("%s=%d %t", routerEnv, times, single))
	router.Stdin = bytes.NewReader(st.block)
	router.Stderr = os.Stderr
	router.ExtraFiles = []*os.File{socket}
	before := processTime(b)
	b.ResetTimer()
	if err := router.Run(); err != nil {
		b.Fatal(err)
	}
	c.CloseWrite()
	// To look again and again would cost more than the station takes.
	if _, end := events(b, s); end.Err != nil {
		b.Fatal(end.Err)
	}
	messages := times * st.messages
	if n := s.Counts().Messages; n != uint64(messages) {
		b.Fatalf("%d messages counted, want %d", n, messages)
	}
	used := processTime(b) - before
	b.ReportMetric(float64(messages)/used.Seconds(), "messages/s")
}

// BenchmarkConsume is the station's part of it without the network.
func BenchmarkConsume(b *testing.B) {
	all := streams(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		st := all[name]
		b.Run(name, func(b *testing.B) {
			c := newSink(Options{})
			b.SetBytes(int64(len(st.block)))
			b.ReportAllocs()
			before := processTime(b)
			for range b.N {
				if done, _, err := c.consume(st.block, time.Now()); done != len(st.block) || err != nil {
					b.Fatal(done, err)
				}
			}
			used := processTime(b) - before
			b.ReportMetric(float64(b.N*st.messages)/used.Seconds(), "messages/s")
		})
	}
}
