// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bufio"
	"errors"
	"fmt"
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
	switch os.Getenv(helperVariable) {
	case helperFreezer:
		pid, _ := strconv.Atoi(os.Getenv(pidVariable))
		if _, err := freeze(pid, time.Hour, func() {}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("frozen")
		time.Sleep(time.Hour)
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
	for large := 0; large < 5; {
		tree, err := Read(p, b, Options{Freeze: limit})
		if errors.Is(err, ErrTorn) || errors.Is(err, errTimeout) || err != nil && strings.Contains(err.Error(), "longer than") {
			continue // too busy to be read beside it, or too slow a machine
		} else if err != nil {
			return err
		}
		if !tree.Consistent || tree.Frozen <= 0 || tree.Frozen > limit+50*time.Millisecond {
			return fmt.Errorf("consistent %v, stopped for %v", tree.Consistent, tree.Frozen)
		}
		if len(tree.pages) > 1000 {
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
			b := start(t, lab.Config{Binary: birds(t)[name], Peers: peers})
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
			b.waitRoutes(t, peers*routes)
			if n, err := speakers.Dropped(); n > 0 {
				t.Errorf("%d sessions dropped: %v", n, err)
			}
		})
	}
}

// TestFreezeLimit lets go when the time is over, whoever has not finished.
func TestFreezeLimit(t *testing.T) {
	cmd, lines := helper(t, helperTarget, 0)
	next(t, lines, "ready")
	expired := make(chan struct{})
	begin := time.Now()
	s, err := freeze(cmd.Process.Pid, 100*time.Millisecond, func() { close(expired) })
	if err != nil {
		t.Fatal(err)
	}
	if all, traced := threads(t, cmd.Process.Pid); traced != all && time.Since(begin) < 80*time.Millisecond {
		t.Errorf("%d of %d threads are stopped", traced, all)
	}
	<-expired
	waitUntraced(t, cmd.Process.Pid)
	if lasted := s.release(); lasted < 100*time.Millisecond {
		t.Errorf("stopped for %v", lasted)
	}
}

// TestFreezeKilled kills the one who has stopped a BIRD.
func TestFreezeKilled(t *testing.T) {
	b := start(t, lab.Config{Binary: birds(t)["bird3-trixie"], Peers: 1})
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
			s, err := freeze(cmd.Process.Pid, time.Second, func() {})
			if err != nil {
				t.Error(err)
				<-stop
				stopped <- n
				return
			}
			s.release()
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
			pid := startWith(t, birds(t)[name], "router id 192.0.2.1;\nprotocol device { }\nprotocol bfd fast { }\n")
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
