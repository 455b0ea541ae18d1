// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/profiler/experiment"
)

// A running attach takes marks at a Unix socket that is named by the pid of
// its target. One connection carries one line, "mark NAME", and one line of
// answer: "ok TEXT" or "error TEXT". The socket is in the network namespace and
// not in the file system (unix(7), "Abstract sockets"), so that nothing of it
// is left when leakprof is killed; and as no file's mode says who may connect,
// the kernel is asked who does.
const (
	controlPrefix  = "@leakprof/"
	maxControlLine = 512 // bytes
	// controlPatience bounds how long an answer may take: a look at a large BIRD
	// may be under way.
	controlPatience = time.Minute
	// maxMarks bounds how many marks wait for their answer at once.
	maxMarks = 16
	// acceptPause is how long to wait when no connection can be taken.
	acceptPause = 100 * time.Millisecond
)

func controlName(pid int) string { return controlPrefix + strconv.Itoa(pid) }

// peer is the user at the other end of a connection.
func peer(c net.Conn) (uid int, err error) {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	if outer := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); outer != nil || err != nil {
		return 0, errors.Join(outer, err)
	}
	return int(credentials.Uid), nil
}

// mayMark lets our own user mark, and root.
func mayMark(c net.Conn) error {
	uid, err := peer(c)
	if err == nil && uid != 0 && uid != os.Geteuid() {
		err = fmt.Errorf("user %d may not set marks", uid)
	}
	return err
}

// listenControl takes marks for the attach to pid until ctx ends.
func listenControl(ctx context.Context, pid int) (<-chan experiment.Mark, func(), error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: controlName(pid), Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, nil, fmt.Errorf("take marks: another leakprof that is attached to pid %d does", pid)
	} else if err != nil {
		return nil, nil, fmt.Errorf("take marks: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	marks := make(chan experiment.Mark)
	go func() {
		if err := acceptMarks(ctx, l, marks); err != nil {
			say(os.Stderr, "warning: marks are not taken any more: %v", err)
		}
	}()
	return marks, func() { cancel(); l.Close() }, nil
}

// acceptMarks answers connections until ctx ends. What passes, such as being out
// of file descriptors, is waited for; what does not is the error.
func acceptMarks(ctx context.Context, l net.Listener, marks chan<- experiment.Mark) error {
	serving := make(chan struct{}, maxMarks)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case err != nil && !passes(err):
			return fmt.Errorf("take marks: %w", err)
		case err != nil:
			sleep(ctx, acceptPause)
			continue
		}
		// Anybody can connect: who is refused is so at once, and holds no place.
		if err := mayMark(c); err != nil {
			refuseMark(c, err)
			continue
		}
		select {
		case serving <- struct{}{}:
			go func() {
				defer func() { <-serving }()
				serveMark(ctx, c, marks)
			}()
		default:
			refuseMark(c, fmt.Errorf("%d others are being set; try again", maxMarks))
		}
	}
}

// passes says of an error of accept(2) whether the next one may come out
// otherwise.
func passes(err error) bool {
	return slices.ContainsFunc([]error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EINTR, unix.EAGAIN, unix.EPERM},
		func(e error) bool { return errors.Is(err, e) })
}

// refuseMark answers without reading, which would be to wait.
func refuseMark(c net.Conn, why error) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(acceptPause))
	answerMark(c, "", why)
}

// answerMark writes the one line of the answer.
func answerMark(c net.Conn, text string, err error) {
	if err != nil {
		fmt.Fprintf(c, "error %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	fmt.Fprintf(c, "ok %s\n", text)
}

// serveMark answers one connection.
func serveMark(ctx context.Context, c net.Conn, marks chan<- experiment.Mark) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(controlPatience))
	name, err := readControlLine(c, "mark ")
	if err == nil {
		err = checkMark(name)
	}
	var answer experiment.MarkAnswer
	if err == nil {
		answered := make(chan experiment.MarkAnswer, 1)
		select {
		case marks <- experiment.Mark{Name: name, Answer: answered}:
			select {
			case answer = <-answered:
				err = answer.Err
			case <-ctx.Done():
				err = errors.New("the run is ending")
			}
		case <-ctx.Done():
			err = errors.New("the run is ending")
		}
	}
	answerMark(c, answer.Text, err)
}

// readControlLine reads one line and takes off its prefix.
func readControlLine(r io.Reader, prefix string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxControlLine)).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read line: %w", err)
	}
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), prefix)
	if !ok {
		return "", fmt.Errorf("read line %q: want %q first", line, prefix)
	}
	return rest, nil
}
