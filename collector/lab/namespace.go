// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of the lab's own, with a loopback that is up and nothing
// else. It has no name: it is gone with its last process, socket and descriptor. The nil
// Namespace is the one that this process is in.
type Namespace struct {
	file *os.File
}

// NewNamespace makes a network namespace.
func NewNamespace() (*Namespace, error) {
	n := &Namespace{}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			if errors.Is(err, unix.EPERM) {
				return fmt.Errorf("%w: must run as root", err)
			}
			return err
		}
		if err := loopbackUp(); err != nil {
			return err
		}
		var err error
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	return n, nil
}

// Do calls f on a thread that is in the namespace: sockets that f makes, and processes that
// it starts, belong to it. What f hands to other goroutines does not.
func (n *Namespace) Do(f func() error) error {
	if n == nil {
		return f()
	}
	return onOwnThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return f()
	})
}

// enter moves the calling thread, to which its goroutine must be locked for good, into the
// namespace.
func (n *Namespace) enter() error {
	if n == nil {
		return nil
	}
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// Close gives up this hold on the namespace.
func (n *Namespace) Close() error {
	if n == nil {
		return nil
	}
	return n.file.Close()
}

// onOwnThread calls f on a thread that is not used for anything else afterwards.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	goOnOwnThread(func() { done <- f() })
	return <-done
}

// goOnOwnThread calls f in a goroutine that is locked to its thread and ends with it: Go
// ends the thread of a goroutine that ends without having unlocked it. It is not the main
// thread, which Go cannot end, and which is what /proc/self shows: in another namespace that
// would be held, and taken for the process's, until we end.
func goOnOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		// As long as we keep it, nobody else can get it.
		defer runtime.UnlockOSThread()
		elsewhere := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			f()
		}()
		<-elsewhere
	}()
}

// loopbackUp sets the loopback of the calling thread's namespace up (netdevice(7)).
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	return nil
}
