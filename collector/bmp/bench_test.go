// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// routeBlock is Route Monitoring of four peers in turns of a hundred, a prefix each.
func routeBlock(b *testing.B) (block []byte, messages int) {
	for peer := range 4 {
		m := oneRoute(b, peerHeader(PeerGlobal, 0, fmt.Sprintf("127.0.0.%d", 2+peer)))
		block = append(block, bytes.Repeat(m, 100)...)
	}
	return bytes.Repeat(block, 20), 20 * 4 * 100
}

// BenchmarkStation is Route Monitoring over a loopback connection, sender included, which
// takes about as much of a CPU as the station.
func BenchmarkStation(b *testing.B) {
	block, messages := routeBlock(b)
	s := listen(b, Options{})
	c := connect(b, s)
	b.SetBytes(int64(len(block)))
	b.ResetTimer()
	for range b.N {
		if _, err := c.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	for s.Counts().Messages < uint64(b.N*messages) {
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportMetric(float64(b.N*messages)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkConsume is the station's part of it without the network.
func BenchmarkConsume(b *testing.B) {
	block, messages := routeBlock(b)
	c := newSink(Options{})
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	for range b.N {
		if done, _, err := c.consume(block, time.Now()); done != len(block) || err != nil {
			b.Fatal(done, err)
		}
	}
	b.ReportMetric(float64(b.N*messages)/b.Elapsed().Seconds(), "messages/s")
}
