// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelTable counts the routes that BIRD has put into the kernel's main table.
type kernelTable struct {
	fd  int
	buf []byte
	seq uint32
}

const (
	// dumpBuffer is how much of a dump is read at once: the most that the kernel gives
	// (net/netlink/af_netlink.c, netlink_dump).
	dumpBuffer = 32 << 10
	// dumpTimeout is how long the kernel may take to go on with a dump.
	dumpTimeout = 10 * time.Second
	// kernelPoll is the least pause between two counts, and kernelShare how many times as
	// long as a count takes the pause is: a million routes take 0.15 s.
	kernelPoll  = 50 * time.Millisecond
	kernelShare = 4
)

// openKernelTable opens a socket to the routing tables of a namespace.
func openKernelTable(n *Namespace) (*kernelTable, error) {
	k := &kernelTable{buf: make([]byte, dumpBuffer)}
	err := n.Do(func() (err error) {
		k.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the kernel's routing table: %w", err)
	}
	timeout := unix.NsecToTimeval(dumpTimeout.Nanoseconds())
	// By this the kernel itself chooses what is asked for (Linux 4.20); without it there is
	// more to read, and the same is counted.
	_ = unix.SetsockoptInt(k.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.SetsockoptTimeval(k.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		unix.Close(k.fd)
		return nil, fmt.Errorf("open the kernel's routing table: %w", err)
	}
	return k, nil
}

func (k *kernelTable) close() { unix.Close(k.fd) }

// errChanged says that the table changed while it was read.
var errChanged = errors.New("the table changed meanwhile")

// count counts BIRD's routes of a family, AF_INET or AF_INET6 (rtnetlink(7), RTM_GETROUTE).
// What it counts while BIRD changes the table may be wrong, and is errChanged where the
// kernel says so.
func (k *kernelTable) count(family byte) (int, error) {
	k.seq++
	request := make([]byte, 0, unix.SizeofNlMsghdr+unix.SizeofRtMsg)
	request = binary.NativeEndian.AppendUint32(request, unix.SizeofNlMsghdr+unix.SizeofRtMsg)
	request = binary.NativeEndian.AppendUint16(request, unix.RTM_GETROUTE)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = binary.NativeEndian.AppendUint32(request, k.seq)
	request = binary.NativeEndian.AppendUint32(request, 0)
	message := unix.RtMsg{Family: family, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BIRD}
	request = append(request, (*[unix.SizeofRtMsg]byte)(unsafe.Pointer(&message))[:]...)
	if err := unix.Sendto(k.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask for the kernel's routes: %w", err)
	}
	count, changed := 0, false
	for {
		n, _, err := unix.Recvfrom(k.fd, k.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read the kernel's routes: %w", err)
		}
		for b := k.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			length := int(binary.NativeEndian.Uint32(b))
			if length < unix.SizeofNlMsghdr || length > len(b) {
				return 0, fmt.Errorf("read the kernel's routes: message of %d bytes, %d there", length, len(b))
			}
			m := b[:length]
			b = b[min((length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
			if binary.NativeEndian.Uint32(m[8:]) != k.seq {
				continue // of a dump that was given up
			}
			changed = changed || binary.NativeEndian.Uint16(m[6:])&unix.NLM_F_DUMP_INTR != 0
			body := m[unix.SizeofNlMsghdr:]
			switch binary.NativeEndian.Uint16(m[4:]) {
			case unix.NLMSG_DONE:
				if changed {
					return count, errChanged
				}
				return count, nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return 0, errors.New("read the kernel's routes: error without a number")
				}
				return 0, fmt.Errorf("read the kernel's routes: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(body))))
			case unix.RTM_NEWROUTE:
				// struct rtmsg: the table is the 5th octet, the protocol the 6th.
				if len(body) >= unix.SizeofRtMsg && body[4] == unix.RT_TABLE_MAIN && body[5] == unix.RTPROT_BIRD {
					count++
				}
			}
		}
	}
}

// routeCounts are routes by family.
type routeCounts struct{ ipv4, ipv6 int }

func (c routeCounts) total() int { return c.ipv4 + c.ipv6 }

// counts counts BIRD's routes of both families.
func (k *kernelTable) counts() (c routeCounts, err error) {
	if c.ipv4, err = k.count(unix.AF_INET); err != nil {
		return c, err
	}
	c.ipv6, err = k.count(unix.AF_INET6)
	return c, err
}

// await waits until enough says that BIRD has the right number of routes in the kernel's
// tables, or, if still is not 0, until the number has not changed for so long. Meanwhile it
// tells status how many there are.
func (k *kernelTable) await(ctx context.Context, enough func(routeCounts) bool, still time.Duration, status func(routeCounts)) error {
	var last routeCounts
	var since time.Time // last stands since then; the zero time before the first count
	for {
		start := time.Now()
		have, err := k.counts()
		switch {
		case err == nil && enough(have):
			return nil
		case err != nil && !errors.Is(err, errChanged):
			return err
		case err != nil || have != last || since.IsZero():
			last, since = have, start
		case still > 0 && start.Sub(since) >= still:
			return nil
		}
		status(have)
		select {
		case <-time.After(max(kernelPoll, kernelShare*time.Since(start))):
		case <-ctx.Done():
			return fmt.Errorf("wait for the kernel's routes: %w: there are %d", context.Cause(ctx), have.total())
		}
	}
}
