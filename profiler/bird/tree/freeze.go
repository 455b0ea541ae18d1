// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// frozen walks while all threads of the process are stopped, for o.Freeze at
// most in all.
func (r *Reader) frozen(o Options) (*Tree, error) {
	// Beside BIRD first, for what a stop would do to it.
	if _, err := r.quiet(o.Walks); err != nil {
		return nil, fmt.Errorf("see whether BIRD can be stopped: %w", err)
	}
	var stopped time.Duration
	for range o.Walks {
		var t *Tree
		lasted, err := r.WhileStopped(o.Freeze-stopped, func(time.Time) (err error) {
			t, err = r.walk()
			return err
		})
		stopped += lasted
		switch {
		case err == nil:
			r.account(t)
			t.Consistent, t.Frozen = true, stopped
			return t, nil
		case errors.Is(err, errTimeout):
			return nil, fmt.Errorf("read within the %v that BIRD may be stopped: %w", o.Freeze, err)
		case !errors.Is(err, ErrTorn):
			return nil, err
		}
		r.lastTorn = err // stopped in the middle of a change
	}
	return nil, r.lastTorn
}

// WhileStopped calls f while all threads of the process stand still, and says
// for how long they did: not longer than limit, if f is done by the time it is
// given; walks end by then on their own. f runs on a thread that goes before
// others. A walk must have gone before, for what a stop would do to BIRD: it is
// refused where BFD runs (ErrBFD), and where walks take longer.
func (r *Reader) WhileStopped(limit time.Duration, f func(end time.Time) error) (lasted time.Duration, err error) {
	switch {
	case r.fastest == 0:
		return 0, errors.New("stop BIRD: its tree has not been read beside it")
	case r.bfd:
		return 0, fmt.Errorf("stop BIRD: %w", ErrBFD)
	case r.fastest > limit:
		return 0, fmt.Errorf("stop BIRD: reading takes %v, longer than the %v allowed", r.fastest.Round(time.Millisecond), limit)
	}
	gcMutex.Lock()
	defer gcMutex.Unlock()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no pause of ours in BIRD's
	deadline := r.deadline
	defer func() { r.deadline, r.stopped = deadline, false }()
	return whileStopped(r.pid, limit, func(end time.Time) error {
		r.deadline, r.stopped = end, true
		return f(end)
	})
}

// gcMutex is held while the garbage collector is switched off.
var gcMutex sync.Mutex

// whileStopped calls f while all threads of the process stand still, and says
// for how long they did. f must be done by the time it is given, limit after the
// first was asked to stop; if they do not all stop by then, it is not called.
//
// They are stopped by PTRACE_SEIZE and PTRACE_INTERRUPT, which, unlike SIGSTOP,
// the process's parent does not notice (unless it is this process). ptrace(2)
// answers only the thread that traces, and a thread that ends lets go of
// whatever it traces: so everything is done on one thread, which then ends, and
// leakprof's death lets go as well. On a machine that is busy, whoever has
// stopped a router must not queue up for a processor: the thread goes before all
// ordinary ones, if it may.
func whileStopped(pid int, limit time.Duration, f func(end time.Time) error) (lasted time.Duration, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread ends with its goroutine
		if unix.Gettid() == unix.Getpid() {
			// The runtime does not end the first thread. While it is held here,
			// another goroutine gets another one.
			lasted, err = whileStopped(pid, limit, f)
			runtime.UnlockOSThread()
			return
		}
		unix.SchedSetAttr(0, &unix.SchedAttr{
			Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
		}, 0)
		begin := time.Now()
		end := begin.Add(limit)
		var tracees map[int]unix.Signal
		if tracees, err = stopThreads(pid, end); err != nil {
			err = fmt.Errorf("stop BIRD: %w", err)
		} else {
			err = f(end)
		}
		for tid, signal := range tracees {
			// One that has not stopped yet cannot be detached; our end does it.
			unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0)
		}
		lasted = time.Since(begin)
	}()
	<-done
	return lasted, err
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
		wait := unix.NsecToTimespec(int64(pause))
		unix.Nanosleep(&wait, nil)
	}
}
