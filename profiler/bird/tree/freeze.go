// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// frozen walks while all threads of the process are stopped, for o.Freeze at
// most in all.
func (r *reader) frozen(pid int, o Options) (*Tree, error) {
	// Beside BIRD first, for what a stop would do to it.
	start := time.Now()
	t, err := r.quiet(o.Walks)
	if err != nil {
		return nil, fmt.Errorf("see whether BIRD can be stopped: %w", err)
	}
	if t.runsBFD() {
		return nil, fmt.Errorf("stop BIRD: %w", ErrBFD)
	}
	if needs := time.Since(start) / time.Duration(t.Walks); needs > o.Freeze {
		return nil, fmt.Errorf("stop BIRD: reading takes about %v, longer than the %v allowed", needs.Round(time.Millisecond), o.Freeze)
	}
	var stopped time.Duration
	for range o.Walks {
		f, err := freeze(pid, o.Freeze-stopped, func() { r.stop.Store(true) })
		if err != nil {
			return nil, fmt.Errorf("stop BIRD: %w", err)
		}
		t, err := r.walk()
		stopped += f.release()
		if r.stop.Load() {
			return nil, fmt.Errorf("read within the %v that BIRD may be stopped: %w", o.Freeze, errTimeout)
		}
		if errors.Is(err, ErrTorn) { // stopped in the middle of a change
			r.lastTorn = err
			continue
		} else if err != nil {
			return nil, err
		}
		r.account(t)
		t.Consistent, t.Frozen = true, stopped
		return t, nil
	}
	return nil, r.lastTorn
}

// stopped is a process whose threads stand still.
type stopped struct {
	let    chan struct{}
	lasted chan time.Duration
}

// freeze stops all threads of a process, until release is called or limit has
// passed, whichever is first; when it is the limit, expired is called before
// the threads run on. It does so by PTRACE_SEIZE and PTRACE_INTERRUPT, which,
// unlike SIGSTOP, the process's parent does not notice, and which end with the
// tracer, so that leakprof's death lets go as well.
func freeze(pid int, limit time.Duration, expired func()) (*stopped, error) {
	s := &stopped{let: make(chan struct{}), lasted: make(chan time.Duration, 1)}
	begun := make(chan error, 1)
	go s.run(pid, limit, expired, begun)
	if err := <-begun; err != nil {
		return nil, err
	}
	return s, nil
}

// release lets the threads run on and says for how long they stood.
func (s *stopped) release() time.Duration {
	close(s.let)
	return <-s.lasted
}

// run is the life of a stop. ptrace(2) answers only the thread that traces, and
// a thread that ends lets go of whatever it traces: so the goroutine keeps its
// thread and takes it along when it ends.
func (s *stopped) run(pid int, limit time.Duration, expired func(), begun chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The runtime does not end the first thread. While we hold it, another
		// goroutine gets another one.
		next := make(chan struct{})
		go func() { defer close(next); s.run(pid, limit, expired, begun) }()
		<-next
		runtime.UnlockOSThread()
		return
	}
	start := time.Now()
	tracees, err := stopThreads(pid, start.Add(limit))
	begun <- err
	if err == nil {
		timer := time.NewTimer(time.Until(start.Add(limit)))
		defer timer.Stop()
		select {
		case <-s.let:
		case <-timer.C:
			expired()
		}
	}
	for tid, signal := range tracees {
		// One that has not stopped yet cannot be detached; our end does it.
		unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0)
	}
	s.lasted <- time.Since(start)
}

// stopThreads stops every thread, those too that begin meanwhile. It returns
// the threads that are traced, also with an error, and the signal that each was
// about to take.
func stopThreads(pid int, deadline time.Time) (map[int]unix.Signal, error) {
	tracees := make(map[int]unix.Signal)
	for {
		threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "[0-9]*"))
		if err != nil {
			return tracees, err
		}
		var waiting []int
		for _, path := range threads {
			tid, err := strconv.Atoi(filepath.Base(path))
			if err != nil {
				continue
			}
			if _, traced := tracees[tid]; traced {
				continue
			}
			err = unix.PtraceSeize(tid)
			switch {
			case errors.Is(err, unix.ESRCH):
				continue // it has just ended
			case errors.Is(err, unix.EPERM):
				return tracees, fmt.Errorf("trace thread %d: %w: is a debugger or strace attached, or CAP_SYS_PTRACE missing?", tid, err)
			case err != nil:
				return tracees, fmt.Errorf("trace thread %d: %w", tid, err)
			}
			tracees[tid] = 0
			if err := unix.PtraceInterrupt(tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return tracees, fmt.Errorf("interrupt thread %d: %w", tid, err)
			}
			waiting = append(waiting, tid)
		}
		if len(waiting) == 0 {
			if len(tracees) == 0 {
				return tracees, os.ErrProcessDone
			}
			return tracees, nil
		}
		for _, tid := range waiting {
			signal, alive, err := awaitStop(tid, deadline)
			if err != nil {
				return tracees, err
			}
			if tracees[tid] = signal; !alive {
				delete(tracees, tid)
			}
		}
	}
}

// awaitStop waits until a seized thread has stopped, and returns the signal it
// was about to take if it stopped for one; that must be handed on, or it would
// be lost.
func awaitStop(tid int, deadline time.Time) (signal unix.Signal, alive bool, err error) {
	const eventStop = 128 // PTRACE_EVENT_STOP, include/uapi/linux/ptrace.h
	for pause := 10 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		var status unix.WaitStatus
		got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return 0, false, nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return 0, false, fmt.Errorf("wait for thread %d: %w", tid, err)
		case err == nil && got == tid && !status.Stopped():
			return 0, false, nil
		case err == nil && got == tid:
			if uint32(status)>>16 == eventStop {
				return 0, true, nil
			}
			return status.StopSignal(), true, nil
		}
		if time.Now().After(deadline) {
			return 0, false, fmt.Errorf("wait for thread %d to stop: %w", tid, errTimeout)
		}
		time.Sleep(pause)
	}
}
