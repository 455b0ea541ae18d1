// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/bgp"
)

// addRoutes puts blackhole routes into the main table of a namespace, as if the daemon
// with this number had done so: count IPv4 prefixes or IPv6 prefixes from the first-th on.
func addRoutes(t testing.TB, n *Namespace, protocol, family byte, first, count int) {
	t.Helper()
	var fd int
	if err := n.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const batch = 200 // messages in one write
	var out []byte
	for i := range count {
		prefix := bgp.Prefix(first + i)
		if family == unix.AF_INET6 {
			prefix = bgp.Prefix6(first + i)
		}
		address := prefix.Addr().AsSlice()
		length := unix.SizeofNlMsghdr + unix.SizeofRtMsg + unix.SizeofRtAttr + len(address)
		out = binary.NativeEndian.AppendUint32(out, uint32(length))
		out = binary.NativeEndian.AppendUint16(out, unix.RTM_NEWROUTE)
		out = binary.NativeEndian.AppendUint16(out, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		out = append(out, 0, 0, 0, 0, 0, 0, 0, 0)
		out = append(out, family, byte(prefix.Bits()), 0, 0, unix.RT_TABLE_MAIN, protocol, unix.RT_SCOPE_UNIVERSE, unix.RTN_BLACKHOLE, 0, 0, 0, 0)
		out = binary.NativeEndian.AppendUint16(out, uint16(unix.SizeofRtAttr+len(address)))
		out = binary.NativeEndian.AppendUint16(out, unix.RTA_DST)
		out = append(out, address...)
		if i%batch == batch-1 || i == count-1 {
			if err := unix.Sendto(fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
				t.Fatal(err)
			}
			out = out[:0]
		}
	}
}

func openTestTable(t testing.TB) (*Namespace, *kernelTable) {
	t.Helper()
	n, err := NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	k, err := openKernelTable(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	return n, k
}

// TestKernelTable counts BIRD's routes and nobody else's, over many reads, whether or not
// the kernel does the choosing.
func TestKernelTable(t *testing.T) {
	n, k := openTestTable(t)
	for _, strict := range []int{1, 0} {
		if err := unix.SetsockoptInt(k.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, strict); err != nil {
			t.Fatal(err)
		}
		want := routeCounts{}
		if strict == 0 {
			want = routeCounts{5000, 3000}
		}
		if got, err := k.counts(); err != nil || got != want {
			t.Errorf("strict %d: %+v, error %v, want %+v", strict, got, err, want)
		}
		addRoutes(t, n, unix.RTPROT_STATIC, unix.AF_INET, 5000, 700)
		addRoutes(t, n, unix.RTPROT_STATIC, unix.AF_INET6, 3000, 800)
		addRoutes(t, n, unix.RTPROT_BIRD, unix.AF_INET, 0, 5000)
		addRoutes(t, n, unix.RTPROT_BIRD, unix.AF_INET6, 0, 3000)
		if got, err := k.counts(); err != nil || got != (routeCounts{5000, 3000}) {
			t.Errorf("strict %d: %+v, error %v, want 5000 and 3000", strict, got, err)
		}
	}
}

// TestKernelAwait: the right number ends it, or one that stands still for long enough.
func TestKernelAwait(t *testing.T) {
	n, k := openTestTable(t)
	var seen []int
	status := func(c routeCounts) {
		if seen = append(seen, c.total()); len(seen) == 2 {
			addRoutes(t, n, unix.RTPROT_BIRD, unix.AF_INET, 0, 10)
		}
	}
	ten := func(c routeCounts) bool { return c == routeCounts{10, 0} }
	if err := k.await(t.Context(), ten, 0, status); err != nil || len(seen) < 2 || seen[0] != 0 {
		t.Errorf("error %v after %v", err, seen)
	}
	never := func(routeCounts) bool { return false }
	const still = 200 * time.Millisecond
	start := time.Now()
	if err := k.await(t.Context(), never, still, status); err != nil || time.Since(start) < still {
		t.Errorf("error %v after %v", err, time.Since(start))
	}
	ctx, cancel := context.WithTimeout(t.Context(), still)
	defer cancel()
	if err := k.await(ctx, never, 0, status); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

func BenchmarkKernelTable(b *testing.B) {
	const routes = 100_000
	n, k := openTestTable(b)
	addRoutes(b, n, unix.RTPROT_BIRD, unix.AF_INET, 0, routes)
	for b.Loop() {
		if got, err := k.count(unix.AF_INET); err != nil || got != routes {
			b.Fatalf("%d routes, error %v", got, err)
		}
	}
	b.ReportMetric(routes*float64(b.N)/b.Elapsed().Seconds(), "routes/s")
}
