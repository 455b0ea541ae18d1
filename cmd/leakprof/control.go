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
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/profiler/experiment"
)

// A running attach takes marks at a Unix socket that is named by the pid of
// its target, in a directory of the user's own. One connection carries one
// line, "mark NAME", and one line of answer: "ok TEXT" or "error TEXT".
const (
	maxControlLine = 512 // bytes
	// controlPatience bounds how long an answer may take: a look at a large BIRD
	// may be under way.
	controlPatience = time.Minute
)

// runtimeDirectory is where the sockets are: the user's runtime directory, or
// /run/leakprof of root.
func runtimeDirectory() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		return filepath.Join(d, "leakprof")
	}
	return "/run/leakprof"
}

func controlPath(pid int) string {
	return filepath.Join(runtimeDirectory(), strconv.Itoa(pid)+".sock")
}

// makeRuntimeDirectory makes the directory, or makes sure that nobody else can
// write to the one that is there.
func makeRuntimeDirectory() error {
	dir := runtimeDirectory()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of our own with mode 0700", dir)
	}
	return nil
}

// listenControl takes marks for the attach to pid until ctx ends.
func listenControl(ctx context.Context, pid int) (<-chan experiment.Mark, func(), error) {
	path := controlPath(pid)
	if err := makeRuntimeDirectory(); err != nil {
		return nil, nil, fmt.Errorf("take marks: %w", err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, nil, fmt.Errorf("take marks at %s: another leakprof that is attached to pid %d does", path, pid)
	} else if errors.Is(err, unix.ECONNREFUSED) {
		os.Remove(path) // of one that was killed
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("take marks: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, nil, fmt.Errorf("take marks: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	marks := make(chan experiment.Mark)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveMark(ctx, c, marks)
		}
	}()
	return marks, func() { cancel(); l.Close() }, nil
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
	if err != nil {
		fmt.Fprintf(c, "error %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	fmt.Fprintf(c, "ok %s\n", answer.Text)
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
