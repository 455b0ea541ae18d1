// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird"
)

// The test binary runs itself as one of these.
const (
	helperVariable = "LEAKPROF_TREE_HELPER"
	helperFreezer  = "freezer" // stops the process LEAKPROF_TREE_PID and waits
	helperReader   = "reader"  // stops and reads it again and again
	helperTarget   = "target"  // prints a line for each SIGUSR1
	pidVariable    = "LEAKPROF_TREE_PID"
)

func TestMain(m *testing.M) {
	kind := os.Getenv(helperVariable)
	if kind != "" {
		go func() { // the test holds the other end
			io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	switch kind {
	case helperFreezer:
		pid, _ := strconv.Atoi(os.Getenv(pidVariable))
		fmt.Println(whileStopped(pid, time.Hour, func(end time.Time) error {
			fmt.Println("frozen")
			time.Sleep(time.Until(end))
			return nil
		}))
		os.Exit(1)
	case helperReader:
		pid, _ := strconv.Atoi(os.Getenv(pidVariable))
		fmt.Println(readFrozen(pid))
		os.Exit(0)
	case helperTarget:
		signals := make(chan os.Signal, 100)
		signal.Notify(signals, unix.SIGUSR1)
		fmt.Println("ready")
		for range signals {
			fmt.Println("signal")
		}
	}
	os.Exit(m.Run())
}

// helper starts this binary as a helper and returns the lines it prints.
func helper(t *testing.T, kind string, pid int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperVariable+"="+kind, pidVariable+"="+strconv.Itoa(pid))
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func next(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() || lines.Text() != want {
		t.Fatalf("helper says %q, want %q", lines.Text(), want)
	}
}

// threads returns how many threads a process has, and how many of them are
// stopped by a tracer or have one.
func threads(t *testing.T, pid int) (all, traced int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		all++
		if strings.Contains(string(text), "\nState:\tt") || !strings.Contains(string(text), "\nTracerPid:\t0\n") {
			traced++
		}
	}
	return all, traced
}

func waitUntraced(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		all, traced := threads(t, pid)
		if all > 0 && traced == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d threads are still stopped", traced, all)
		}
	}
}

// readFrozen reads a BIRD again and again, until a tree with many pages has
// been read five times, and returns what went wrong.
func readFrozen(pid int) error {
	const limit = 100 * time.Millisecond
	p, b, err := find(pid)
	if err != nil {
		return err
	}
	defer p.Close()
	var late []time.Duration // what a machine that stalls has made longer
	for large := 0; large < 5; {
		tree, err := Read(p, b, Options{Freeze: limit})
		if errors.Is(err, ErrTorn) || errors.Is(err, errTimeout) || err != nil && strings.Contains(err.Error(), "longer than") {
			continue // too busy to be read beside it, or too slow a machine
		} else if err != nil {
			return err
		}
		if !tree.Consistent || tree.Frozen <= 0 {
			return fmt.Errorf("consistent %v, stopped for %v", tree.Consistent, tree.Frozen)
		}
		if tree.Frozen > limit+20*time.Millisecond {
			if late = append(late, tree.Frozen); len(late) > 2 {
				return fmt.Errorf("stopped for %v", late)
			}
		}
		if len(tree.pages) > 500 {
			large++
		}
	}
	return nil
}

// TestFreeze reads a BIRD that is stopped for it while it is flooded. Another
// process reads, because a lab takes a stop of its child for the child's end.
func TestFreeze(t *testing.T) {
	for _, name := range []string{"bird3-trixie", "bird2-sid"} {
		t.Run(name, func(t *testing.T) {
			const peers, routes = 2, 20_000
			b := start(t, lab.Config{Binary: labtest.Binaries(t)[name], Peers: peers})
			speakers, err := lab.NewSpeakers(b.BGPAddr(), peers, lab.Flood{Routes: routes})
			if err != nil {
				t.Fatal(err)
			}
			_, lines := helper(t, helperReader, b.PID())
			if err := speakers.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			next(t, lines, "<nil>")
			if all, traced := threads(t, b.PID()); all == 0 || traced > 0 {
				t.Errorf("%d of %d threads are still stopped", traced, all)
			}
			labtest.WaitRoutes(t, b.control, peers*routes)
			if n, err := speakers.Dropped(); n > 0 {
				t.Errorf("%d sessions dropped: %v", n, err)
			}
		})
	}
}

// endless is memory in which a list never ends while the process is stopped.
type endless struct {
	*image
	stopped func() bool
	frozen  bool
}

func (m *endless) ReadAt(b []byte, off int64) (int, error) {
	if off >= base && off < base+int64(len(m.data)) {
		return m.image.ReadAt(b, off)
	}
	// Chunks of a linpool, each of which has the next one's address.
	clear(b)
	if m.frozen = m.frozen || m.stopped(); m.frozen {
		for at := -off & (pageSize - 1); at+8 <= int64(len(b)); at += pageSize {
			binary.LittleEndian.PutUint64(b[at:], uint64(off+at)+pageSize)
		}
	}
	return len(b), nil
}

// TestFreezeLimit reads what never ends: the process is let go in time.
func TestFreezeLimit(t *testing.T) {
	const limit = 200 * time.Millisecond
	cmd, lines := helper(t, helperTarget, 0)
	next(t, lines, "ready")
	pid := cmd.Process.Pid
	m := newImage(bird.BIRD2, 8, 32, 16, longSlabHead)
	pool := m.linpool(m.root, 1, 0)
	r := m.reader()
	r.pid = pid
	if tree, err := r.frozen(Options{Freeze: limit, Walks: 2}); err != nil || tree.Frozen <= 0 {
		t.Fatal(tree, err)
	}
	waitUntraced(t, pid)

	m.u64(pool+m.l.first, base/2)
	m.u64(pool+m.l.current, base/2)
	m.u64(pool+m.l.ptr, base/2)
	endless := &endless{image: m, stopped: func() bool {
		all, traced := threads(t, pid)
		return all > 0 && traced == all
	}}
	r.source = endless
	begin := time.Now()
	_, err := r.frozen(Options{Freeze: limit, Walks: 2})
	if took := time.Since(begin); !errors.Is(err, errTimeout) || !endless.frozen || took > limit+5*time.Second {
		t.Errorf("it took %v: %v; stopped: %v", took, err, endless.frozen)
	}
	waitUntraced(t, pid)
	if _, err := whileStopped(pid, 0, func(time.Time) error { return nil }); !errors.Is(err, errTimeout) {
		t.Errorf("stopped without any time for it: %v", err)
	}
	waitUntraced(t, pid)
	if _, err := whileStopped(1<<30, limit, func(time.Time) error { return nil }); err == nil {
		t.Error("stopped no process")
	}
}

// TestFreezeKilled kills the one who has stopped a BIRD.
func TestFreezeKilled(t *testing.T) {
	b := start(t, lab.Config{Binary: labtest.Binaries(t)["bird3-trixie"], Peers: 1})
	cmd, lines := helper(t, helperFreezer, b.PID())
	next(t, lines, "frozen")
	if all, traced := threads(t, b.PID()); all < 2 || traced != all {
		t.Fatalf("%d of %d threads are stopped", traced, all)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitUntraced(t, b.PID())
	if _, err := b.control.ShowMemory(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestFreezeSignals sends signals to a process that is stopped all the time:
// none is lost.
func TestFreezeSignals(t *testing.T) {
	cmd, lines := helper(t, helperTarget, 0)
	next(t, lines, "ready")
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				stopped <- n
				return
			default:
			}
			if _, err := whileStopped(cmd.Process.Pid, time.Second, func(time.Time) error { return nil }); err != nil {
				t.Error(err)
				<-stop
				stopped <- n
				return
			}
			n++
		}
	}()
	for range 500 {
		if err := cmd.Process.Signal(unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		next(t, lines, "signal")
	}
	close(stop)
	t.Logf("stopped %d times", <-stopped)
}

// TestFreezeRefusedWithBFD reads a BIRD that runs BFD, and does not stop it.
func TestFreezeRefusedWithBFD(t *testing.T) {
	for _, name := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		t.Run(name, func(t *testing.T) {
			pid := startWith(t, labtest.Binaries(t)[name], "router id 192.0.2.1;\nprotocol device { }\nprotocol bfd fast { }\n")
			p, b := open(t, pid)
			var tree *Tree
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				var err error
				if tree, err = Read(p, b, Options{}); err == nil && tree.runsBFD() {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("no BFD in the tree: %v", err)
				}
			}
			for _, n := range tree.Root.Child(protocolsPool).Children {
				if n.Protocol == bfdProtocol && n.Name != "fast" {
					t.Errorf("BFD's pool is %q", n.Path())
				}
			}
			if _, err := Read(p, b, Options{Freeze: time.Second}); !errors.Is(err, ErrBFD) {
				t.Errorf("error %v, want %v", err, ErrBFD)
			}
		})
	}
}

// startWith starts a BIRD with a configuration that is not a lab's.
func startWith(t *testing.T, b *lab.Binary, config string) (pid int) {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(b.Root, "run"), "leakprof-tree-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	inside := strings.TrimPrefix(dir, b.Root)
	cmd := exec.Command(strings.TrimPrefix(b.Path, b.Root), "-f", "-c", inside+"/bird.conf", "-s", inside+"/bird.ctl", "-P", inside+"/bird.pid")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: b.Root}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "bird.ctl")); err == nil {
			return cmd.Process.Pid
		}
		if time.Now().After(deadline) {
			t.Fatal("BIRD does not come up")
		}
	}
}
