// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestTemporary: what a BIRD that is not ready yet does to a connection is no
// reason to give up.
func TestTemporary(t *testing.T) {
	system := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{system(syscall.ECONNREFUSED), true},
		{system(syscall.ECONNRESET), true},
		{system(syscall.ENETUNREACH), false},
		{fmt.Errorf("x: %w", errClosedEarly), true},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), true},
		{&NotificationError{Notification: Notification{Code: codeCease, Subcode: subConnectionRejected}}, true},
		{&NotificationError{Notification: Notification{Code: codeCease, Subcode: subConnectionRejected}, Sent: true}, false},
		{&NotificationError{Notification: Notification{Code: 2, Subcode: 2}}, false},
		{errors.New("x"), false},
	} {
		if got := temporary(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
