// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"leakprof/profiler/target"
)

// TestThreads compares thread pointers with what a program says of its own,
// while its threads come and go.
func TestThreads(t *testing.T) {
	for name, flags := range map[string][]string{"dynamic": nil, "static": {"-static"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startThreads(t, flags)
			found, err := newThreads(p.process)
			if err != nil {
				t.Fatal(err)
			}
			before := 0
			check := func(count int) {
				t.Helper()
				p.checkEnded(t, count < before)
				before = count
				all, err := found.list()
				if err != nil {
					t.Fatal(err)
				}
				if len(all) != count+1 {
					t.Errorf("%d threads, want %d and the first", len(all), count)
				}
				for _, th := range all {
					if want := p.pointers[th.id]; th.pointer != want {
						t.Errorf("of %d threads, thread %d: pointer 0x%x, want 0x%x", count+1, th.id, th.pointer, want)
					}
				}
			}
			for _, count := range []int{0, 7, 2, 40, 40, 3, 0} {
				fmt.Fprintln(p.input, count)
				p.listen(t)
				check(count)
			}
			// The number of a thread that has ended may be given to another one.
			fmt.Fprintln(p.input, 1)
			p.listen(t)
			check(1)
			pid := p.process.PID
			own := found.known[pid]
			for id, other := range found.known {
				if id != pid {
					found.known[pid] = other
					check(1)
				}
			}
			found.known[pid] = descriptor{own.pointer + 8, own.id}
			check(1)
		})
	}
}

// TestThreadsElsewhere: in a pid namespace of its own a process knows its threads
// by other numbers than we do.
func TestThreadsElsewhere(t *testing.T) {
	t.Parallel()
	p := startThreadsIn(t, syscall.CLONE_NEWPID, nil)
	fmt.Fprintln(p.input, 5)
	p.listen(t)
	pointers, _, err := ThreadPointers(p.process)
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.process.ThreadList()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 6 || len(pointers) != 6 {
		t.Fatalf("%d threads, pointers of %d, want 6", len(list), len(pointers))
	}
	for _, th := range list {
		if got, want := pointers[th.ID], p.pointers[th.Own]; got != want || want == 0 {
			t.Errorf("thread %d, %d where it is: pointer 0x%x, want 0x%x", th.ID, th.Own, got, want)
		}
	}
}

// checkEnded wants the threads that have ended to be told from those that have
// not. Their stacks are kept, if some have just ended.
func (p *threadProgram) checkEnded(t *testing.T, some bool) {
	t.Helper()
	pointers, ended, err := ThreadPointers(p.process)
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[uint64]bool)
	for id, pointer := range p.pointers {
		told[pointer] = pointers[id] != pointer
		if pointers[id] != pointer && pointers[id] != 0 {
			t.Errorf("thread %d: pointer 0x%x, want 0x%x", id, pointers[id], pointer)
		}
	}
	for id, pointer := range p.pointers {
		if pointers[id] == pointer {
			told[pointer] = false // another thread has taken the stack
		}
	}
	for _, pointer := range ended {
		if !told[pointer] {
			t.Errorf("thread pointer 0x%x is not of a thread that has ended", pointer)
		}
	}
	if some && len(ended) == 0 {
		t.Error("threads have ended, and no stack is kept")
	}
}

// threadProgram is testdata/threads.c as it runs.
type threadProgram struct {
	process  *target.Process
	input    io.Writer
	output   *bufio.Reader
	pointers map[int]uint64 // that it has told, by thread
}

func startThreads(t *testing.T, flags []string) *threadProgram {
	t.Helper()
	return startThreadsIn(t, 0, flags)
}

// startThreadsIn is startThreads in new namespaces (clone(2)).
func startThreadsIn(t *testing.T, namespaces uintptr, flags []string) *threadProgram {
	t.Helper()
	path := filepath.Join(t.TempDir(), "threads")
	args := append(flags, "-O2", "-pthread", "-o", path, "testdata/threads.c")
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s(apt-get install -y gcc libc6-dev)", err, out)
	}
	cmd := exec.Command(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
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
	p := &threadProgram{input: input, output: bufio.NewReader(output), pointers: make(map[int]uint64)}
	p.listen(t)
	if p.process, err = target.Open(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.process.Close() })
	return p
}

// listen hears the program out.
func (p *threadProgram) listen(t *testing.T) {
	t.Helper()
	for {
		line, err := p.output.ReadString('\n')
		if err != nil {
			t.Fatalf("threads: %v", err)
		}
		if line == ".\n" {
			return
		}
		var id int
		var pointer uint64
		if _, err := fmt.Sscanf(line, "%d %x\n", &id, &pointer); err != nil {
			t.Fatalf("threads says %q", line)
		}
		p.pointers[id] = pointer
	}
}
