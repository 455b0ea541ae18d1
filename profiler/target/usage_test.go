// SPDX-License-Identifier: Apache-2.0

package target

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const usageText = `55d0c8e00000-55d0c8e21000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
KernelPageSize:        4 kB
Rss:                  12 kB
Pss:                  12 kB
Private_Dirty:        12 kB
Anonymous:             8 kB
Swap:                  4 kB
THPeligible:           0
VmFlags: rd wr mr mw me ac sd
7f2c4a000000-7f2c4a021000 r-xp 00001000 fe:00 131                        /usr/sbin/a: b
Rss:                 100 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
`

func TestParseUsage(t *testing.T) {
	got, err := parseUsage(strings.NewReader(usageText))
	if err != nil {
		t.Fatal(err)
	}
	want := []Usage{
		{Mapping: Mapping{Start: 0x55d0c8e00000, End: 0x55d0c8e21000, Read: true, Write: true, Path: "[heap]"}, RSS: 12 << 10, Anonymous: 8 << 10, Swap: 4 << 10},
		{Mapping: Mapping{Start: 0x7f2c4a000000, End: 0x7f2c4a021000, Offset: 0x1000, Read: true, Exec: true, Device: unix.Mkdev(0xfe, 0), Inode: 131, Path: "/usr/sbin/a: b"}, RSS: 100 << 10},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	head := strings.SplitAfterN(usageText, "\n", 2)[0]
	for _, bad := range []string{"Rss: 4 kB\n", head + "Rss: 4\n", head + "Rss: x kB\n", head + "Rss: -4 kB\n", head + "Rss: 18446744073709551615 kB\n", "no mapping\n"} {
		if got, err := parseUsage(strings.NewReader(bad)); err == nil {
			t.Errorf("%q gives %+v", bad, got)
		}
	}
}

func FuzzParseUsage(f *testing.F) {
	f.Add(usageText)
	f.Add("Rss: 4 kB\n")
	f.Add("0-0 ---p 0 0:0 0\nSwap: 1 kB")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseUsage(strings.NewReader(text))
		if err == nil && len(all) > strings.Count(text, "\n")+1 {
			t.Errorf("%d mappings in %q", len(all), text)
		}
	})
}

// pagemap makes the file of that name for pages from 0x1000 on.
func pagemap(entries ...uint64) io.ReaderAt {
	b := make([]byte, 8, 8*(1+len(entries)))
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint64(b, e)
	}
	return bytes.NewReader(b)
}

func TestReadResidence(t *testing.T) {
	const own, zero, file = pagePresent | pageExclusive, uint64(pagePresent), pagePresent | pageFile
	u := func(pages, resident uint64) Usage {
		return Usage{Mapping: Mapping{Start: 0x1000, End: 0x1000 + pages*pageSize}, RSS: resident * pageSize}
	}
	// The zero page is no part of what is resident; a page that another
	// process has too, since fork(2), is.
	r, err := readResidence(pagemap(own, zero, 0, file, pageSwapped, own), u(6, 3))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := readResidence(pagemap(own, zero, 0, file, pageSwapped, own), u(6, 4))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r          *Residence
		start, end uint64
		want       uint64
	}{
		{r, 0, 1 << 40, 3 * pageSize},
		{shared, 0, 1 << 40, 4 * pageSize},
		{r, 0x1ff0, 0x2010, 16},
		{shared, 0x1ff0, 0x2010, 32},
		{r, 0x2000, 0x4000, 0},
		{r, 0x3fff, 0x6001, pageSize + 1},
		{r, 0x5000, 0x4000, 0},
	} {
		if got := c.r.Bytes(c.start, c.end); got != c.want {
			t.Errorf("%d bytes from 0x%x to 0x%x, want %d", got, c.start, c.end, c.want)
		}
	}
	for addr, want := range map[uint64]uint64{0: 0, 0x1000: 0x3000, 0x1234: 0x3000, 0x3000: 0x3000, 0x5800: 0x7000, 0x7000: 0x7000} {
		if got := r.Held(addr, 1<<40); got != want {
			t.Errorf("content from 0x%x to 0x%x, want 0x%x", addr, got, want)
		}
		if got := r.Held(addr, addr+8); got != min(want, addr+8) {
			t.Errorf("content from 0x%x to 0x%x, want 0x%x at most", addr, got, addr+8)
		}
	}
	if _, err := readResidence(pagemap(own), u(2, 1)); !errors.Is(err, ErrGone) {
		t.Errorf("a short page map gives %v", err)
	}
	if _, err := readResidence(pagemap(own), Usage{Mapping: Mapping{Start: 0x2000, End: 0x1000}}); err == nil {
		t.Error("a mapping that ends before it starts gives no error")
	}
}

// TestResidenceOfMany compares sums over many pages with sums page by page.
func TestResidenceOfMany(t *testing.T) {
	entries := make([]uint64, 1000)
	for i := range entries {
		if i < 200 || i%3 == 0 && i < 500 || i > 700 {
			entries[i] = pagePresent | pageExclusive
		}
	}
	r, err := readResidence(pagemap(entries...), Usage{Mapping: Mapping{Start: 0x1000, End: 0x1000 + 1000*pageSize}})
	if err != nil {
		t.Fatal(err)
	}
	for _, start := range []uint64{0x1000, 0x1000 + 64*pageSize, 0x1000 + 64*pageSize + 5, 0x1000 + 77*pageSize} {
		var want uint64
		for at := start; at < r.End; at += 64 {
			next := min(at+64, r.End)
			want += r.Bytes(at, next)
		}
		if got := r.Bytes(start, r.End); got != want {
			t.Errorf("%d bytes from 0x%x on, want %d", got, start, want)
		}
	}
}

// TestOwnMemory reads this process's: pages that were written, read, and
// neither.
func TestOwnMemory(t *testing.T) {
	const pages = 64
	b, err := unix.Mmap(-1, 0, 3*pages*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil { // splits it off its neighbours, too
		t.Fatal(err)
	}
	sum := byte(0)
	for i := range pages {
		b[i*pageSize] = 1
		sum += b[(2*pages+i)*pageSize]
	}
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	all, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(u Usage) bool { return u.End-u.Start == uint64(len(b)) && u.RSS == pages*pageSize })
	if i < 0 {
		t.Fatalf("no mapping of %d bytes with %d resident", len(b), pages*pageSize)
	}
	r, err := p.Residence(all[i])
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Bytes(r.Start, r.End); got != pages*pageSize || r.Held(r.Start, r.End) != r.Start+pages*pageSize {
		t.Errorf("%d bytes are resident, content up to page %d, want %d", got, (r.Held(r.Start, r.End)-r.Start)/pageSize, pages)
	}
	_ = sum
}
