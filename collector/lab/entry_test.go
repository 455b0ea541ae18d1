// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// compile builds testdata/program.c, with library.c as a shared library or
// linked statically.
func compile(t *testing.T, static bool) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	cc := func(args ...string) {
		t.Helper()
		out, err := exec.Command("gcc", args...).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatal("gcc is missing: apt-get install -y gcc libc6-dev")
		}
		if err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	if static {
		cc("-static", "-o", program, "testdata/program.c", "testdata/library.c")
		return program
	}
	library := filepath.Join(dir, "liblabtest.so")
	cc("-shared", "-fPIC", "-o", library, "testdata/library.c")
	cc("-o", program, "testdata/program.c", library)
	return program
}

// spawnPaused starts a program paused at its entry point, and returns it with
// the file it writes to.
func spawnPaused(t *testing.T, argv ...string) (*process, string, error) {
	t.Helper()
	output := filepath.Join(t.TempDir(), "output")
	f, err := os.Create(output)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := spawn(command{dir: "/", argv: argv, output: f, paused: true}, t.Context().Done())
	if err == nil {
		t.Cleanup(func() {
			p.terminate()
			<-p.exited
		})
	}
	return p, output, err
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPausedAtEntry(t *testing.T) {
	const before = "signal\ntrap\nconstructor\n"
	for _, test := range []struct {
		name   string
		static bool
		paused string // what it has said at its entry point
	}{
		// The C library's start code, not ld.so, runs a static program's constructors.
		{"dynamic", false, before},
		{"static", true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			program := compile(t, test.static)
			p, output, err := spawnPaused(t, program)
			if err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, output); got != test.paused {
				t.Errorf("at entry it has said %q, want %q", got, test.paused)
			}
			maps := readFile(t, fmt.Sprintf("/proc/%d/maps", p.pid))
			if !test.static && (!strings.Contains(maps, "liblabtest.so") || !strings.Contains(maps, "libc.so.6")) {
				t.Errorf("at entry a library is not mapped:\n%s", maps)
			}
			checkAtEntry(t, p.pid, program)
			if err := p.onThread(func() error {
				dr7, err := p.peekDebugReg(7)
				if err == nil && dr7 != 0 {
					err = fmt.Errorf("DR7 is %#x", dr7)
				}
				return err
			}); err != nil {
				t.Errorf("breakpoint is still set: %v", err)
			}

			if err := p.resume(); err != nil {
				t.Fatal(err)
			}
			<-p.exited
			if !p.succeeded() {
				t.Error(p.end())
			}
			if got, want := readFile(t, output), before+"main\n"; got != want {
				t.Errorf("after resume it has said %q, want %q", got, want)
			}
			if err := p.resume(); err == nil {
				t.Error("resume of an ended process: no error")
			}
		})
	}
}

// checkAtEntry fails the test if the process does not stand at the entry point
// of its program, or if the code there is not the file's.
func checkAtEntry(t *testing.T, pid int, program string) {
	t.Helper()
	entry, err := entryPoint(pid)
	if err != nil {
		t.Fatal(err)
	}
	// "-1 SP PC" for a process that is stopped outside of a system call.
	if got, want := readFile(t, fmt.Sprintf("/proc/%d/syscall", pid)), fmt.Sprintf(" 0x%x\n", entry); !strings.HasSuffix(got, want) {
		t.Errorf("it stands at %q, want %q", got, want)
	}

	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := make([]byte, 64)
	for _, s := range file.Progs {
		if s.Type == elf.PT_LOAD && s.Vaddr <= file.Entry && file.Entry < s.Vaddr+s.Filesz {
			if _, err := s.ReadAt(want, int64(file.Entry-s.Vaddr)); err != nil {
				t.Fatal(err)
			}
		}
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	got := make([]byte, len(want))
	if _, err := mem.ReadAt(got, int64(entry)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("code at entry is\n% x, in the file\n% x", got, want)
	}
}

func TestEndsBeforeEntry(t *testing.T) {
	program := compile(t, false)
	t.Setenv("LAB_TEST_EXIT", "1")
	_, _, err := spawnPaused(t, program)
	if err == nil || !strings.Contains(err.Error(), "exit status 7: trap") {
		t.Errorf("error is %v, want one with exit status and last line", err)
	}

	missing := filepath.Join(filepath.Dir(program), "liblabtest.so")
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	_, _, err = spawnPaused(t, program)
	if err == nil || !strings.Contains(err.Error(), "liblabtest.so") {
		t.Errorf("error is %v, want what the dynamic linker says", err)
	}
}

// A process that never comes to its entry point is not waited for without end.
func TestCancelBeforeEntry(t *testing.T) {
	t.Setenv("LAB_TEST_HANG", "1")
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cancel := make(chan struct{})
	go func() {
		defer close(cancel)
		for text := []byte(nil); !bytes.Contains(text, []byte("trap")); time.Sleep(time.Millisecond) {
			text, _ = os.ReadFile(output.Name())
		}
	}()
	_, err = spawn(command{dir: "/", argv: []string{compile(t, false)}, output: output, paused: true}, cancel)
	if err == nil || !strings.Contains(err.Error(), "killed by SIGKILL") {
		t.Errorf("error is %v", err)
	}
}

func TestTerminatePaused(t *testing.T) {
	p, output, err := spawnPaused(t, compile(t, false))
	if err != nil {
		t.Fatal(err)
	}
	p.terminate()
	<-p.exited
	if got := readFile(t, output); strings.Contains(got, "main") {
		t.Errorf("it ran on: %q", got)
	}
	if want := "killed by SIGKILL"; !strings.HasPrefix(p.end(), want) {
		t.Errorf("it ended with %q, want %q", p.end(), want)
	}
}
