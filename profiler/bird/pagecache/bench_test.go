// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"encoding/binary"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"leakprof/profiler/target"
)

// BenchmarkRead reads lists as long as BIRD 3 has them at most before it makes
// pages cold, 16,384 pages, and 20 index pages, from this process's memory.
func BenchmarkRead(b *testing.B) {
	const kept, indexes = 16384, 20
	mem, err := unix.Mmap(-1, 0, (1+kept+indexes)*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Munmap(mem)
	base := uint64(uintptr(unsafe.Pointer(&mem[0])))
	put := func(at, v uint64) { binary.LittleEndian.PutUint64(mem[at-base:], v) }
	p, err := target.Open(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()

	c := cacheAt(newImage(), 3, 0)
	c.memory = p
	c.at.Cold, c.at.Indexes, c.at.Total = 0, 0, 0
	c.at.Stack, c.at.Index, c.at.Kept, c.at.KeptLocally = base, base+8, base+16, base+24
	put(c.at.Kept, kept)
	page := func(i int) uint64 { return base + uint64(1+i)*pageSize }
	for i := range kept { // not in the order of addresses
		put(page(i*7919%kept), binary.LittleEndian.Uint64(mem))
		put(c.at.Stack, page(i*7919%kept))
	}
	cold := uint64(highest)
	for i := kept; i < kept+indexes; i++ {
		put(page(i), binary.LittleEndian.Uint64(mem[8:]))
		put(page(i)+8, uint64(c.full()))
		for n := range c.full() {
			cold -= pageSize
			put(page(i)+16+8*uint64(n), cold)
		}
		put(c.at.Index, page(i))
	}
	for b.Loop() {
		if p, err := c.Read(); err != nil || len(p.Kept) != kept || len(p.Index) != indexes {
			b.Fatal(p, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(kept+float64(indexes*c.full())), "ns/page")
}
