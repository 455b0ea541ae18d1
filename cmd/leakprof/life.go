// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/profiler/experiment"
	"leakprof/profiler/terminal"
)

const (
	// lifeFlag is what the process of a life is told its number by.
	lifeFlag = "life"
	// listenerFile is the file descriptor of its listening socket.
	listenerFile = 3
)

// run runs the process of a life to its end and returns its exit status. When
// ctx ends it takes its last look; if we end before that, so does it.
func (w *follower) run(ctx context.Context, number int, life *life, first bool) (int, error) {
	args := append([]string{"attach", "--pid", strconv.Itoa(life.pid), "--out", filepath.Join(w.out, strconv.Itoa(number)), "--" + lifeFlag, strconv.Itoa(number)}, w.args...)
	// Who has just started has nothing to count yet, and what it allocates while
	// we count would have no stack.
	if !first && !w.estimate {
		args = append(args, "--estimate=0")
	}
	c := exec.Command("/proc/self/exe", args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	// ^C is for us: it would come twice, and the second one ends at once.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if w.listener != nil {
		c.ExtraFiles = []*os.File{w.listener} // as listenerFile
	}
	in, err := c.StdinPipe()
	if err != nil {
		return 0, fmt.Errorf("follow pid %d: %w", life.pid, err)
	}
	stop := context.AfterFunc(ctx, func() { in.Close() })
	defer stop()
	// The signal comes with the end of the thread that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, fmt.Errorf("follow pid %d: %w", life.pid, err)
	}
	if status := c.ProcessState.ExitCode(); status >= 0 {
		return status, nil
	}
	say(os.Stderr, "following pid %d: %v", life.pid, err)
	return exitError, nil
}

// inheritedListener is the socket of listenForLives, in the process of a life.
func inheritedListener() (*net.TCPListener, error) {
	file := os.NewFile(listenerFile, "listener")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen for BMP: take over socket: %w", err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, errors.New("listen for BMP: take over socket: it is not of TCP")
	}
	return tcp, nil
}

// untilEOF returns a context that ends with ctx or with what is read.
func untilEOF(ctx context.Context, in io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	return ctx, cancel
}

// attachToLife is attach in the process of a life. One that ends before it could
// be followed is no error.
func (f *attachFlags) attachToLife(ctx context.Context, stdout io.Writer) error {
	ctx, cancel := untilEOF(ctx, os.Stdin)
	defer cancel()
	err := f.attach(ctx, stdout)
	if _, reported := os.Stat(f.out); err != nil && reported != nil {
		if l, gone := openLife(f.pid); gone != nil || !l.alive() {
			fmt.Fprintf(stdout, "life %d: pid %d ended before it could be followed\n", f.life, f.pid)
			return nil
		}
	}
	return err
}

// concludeLife runs the experiment, writes its files, and prints one line.
func (f *attachFlags) concludeLife(ctx context.Context, stdout io.Writer, c experiment.Config) error {
	// BIRD's next life may connect while this one's last look is taken: it has to
	// wait for its own station.
	ended := make(chan struct{})
	defer close(ended)
	if c.Station != nil {
		go func() {
			if c.Process.Wait(ended) {
				c.Station.Close()
			}
		}()
	}
	began := time.Now()
	result, err := f.measure(ctx, c, &f.out)
	if result == nil {
		return err
	}
	version, end := result.Target.Version, "still runs"
	if version == "" {
		version = strconv.Itoa(int(c.Profiler.BIRD.Generation))
	}
	if !c.Process.Alive() {
		end = c.Process.Ending()
	}
	fmt.Fprintf(stdout, "life %d: pid %d, BIRD %s, %v, %s: %s; %s\n", f.life, f.pid, terminal.Line(version), time.Since(began).Round(time.Second), end, result.Verdict.Kind, f.out)
	return errors.Join(err, f.judge(result))
}
