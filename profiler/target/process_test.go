// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/target"
)

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

// program compiles a small program.
func program(t testing.TB, flags string) string {
	t.Helper()
	return fixture.Compile(t, "gcc", flags, "calloc_only.c")
}

func open(t testing.TB, pid int) *target.Process {
	t.Helper()
	p, err := target.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func modules(t testing.TB, p *target.Process) []*target.Module {
	t.Helper()
	all, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range all {
			m.Close()
		}
	})
	return all
}

func symbol(t testing.TB, m *target.Module, name string) uint64 {
	t.Helper()
	all, err := m.ELF.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s elf.Symbol) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("%s has no symbol %s", m.Name, name)
	}
	return all[i].Value
}

// TestModules: bias, file offset and bytes of a function agree with what is
// in memory, for programs at any address and at their own.
func TestModules(t *testing.T) {
	for _, c := range []struct {
		flags string
		bias  bool
	}{{"-O2 -pie -fPIE", true}, {"-O2 -no-pie -fno-pie", false}, {"-O2 -pie -fPIE -Wl,-z,noseparate-code", true}, {"-O2 -no-pie -fno-pie -Wl,-z,noseparate-code", false}} {
		t.Run(c.flags, func(t *testing.T) {
			t.Parallel()
			f := fixture.Start(t, program(t, c.flags))
			p := open(t, f.PID)
			all := modules(t, p)
			exe := all[0]
			if exe.Path != f.Path || exe.Name != "fixture" || p.Exe != f.Path {
				t.Errorf("first module is %s, %s, of %s; want %s", exe.Path, exe.Name, p.Exe, f.Path)
			}
			if (exe.Bias != 0) != c.bias {
				t.Errorf("bias is 0x%x", exe.Bias)
			}
			main := symbol(t, exe, "main")
			off, err := exe.FileOffset(main)
			if err != nil {
				t.Fatal(err)
			}
			var inMemory, inFile [32]byte
			if _, err := p.ReadAt(inMemory[:], int64(exe.Bias+main)); err != nil {
				t.Fatal(err)
			}
			if _, err := exe.Reader.ReadAt(inFile[:], int64(off)); err != nil {
				t.Fatal(err)
			}
			if inMemory != inFile {
				t.Errorf("main is %x in memory, %x in the file", inMemory, inFile)
			}
			if !exe.Contains(exe.Bias+main) || exe.Contains(exe.Bias+main+1<<40) {
				t.Error("the program does not contain its own main, or all else")
			}
			if _, err := exe.FileOffset(main + 1<<40); err == nil {
				t.Error("an address outside has a file offset")
			}
			names := make(map[string]bool)
			for _, m := range all {
				names[m.Name] = true
			}
			for _, want := range []string{"libc.so.6", "ld-linux-x86-64.so.2", "[vdso]"} {
				if !names[want] {
					t.Errorf("no module %s in %v", want, names)
				}
			}
		})
	}
}

// TestDeleted reads and probes a program whose file is gone, or replaced.
func TestDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	data, err := os.ReadFile(program(t, "-O2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	f := fixture.Start(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("another file"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := open(t, f.PID)
	exe := modules(t, p)[0]
	if exe.Name != "program" || exe.Path != path+" (deleted)" {
		t.Errorf("program is %q, %q", exe.Name, exe.Path)
	}
	got, err := io.ReadAll(io.NewSectionReader(exe.Reader, 0, 1<<30))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes of the deleted file, want %d (%v)", len(got), len(data), err)
	}
	attach, err := exe.AttachPath()
	if err != nil {
		t.Fatal(err)
	}
	ex, err := link.OpenExecutable(attach)
	if err != nil {
		t.Fatalf("open %s: %v", attach, err)
	}
	_ = ex
	got, err = os.ReadFile(attach)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s has %d bytes, want %d (%v)", attach, len(got), len(data), err)
	}
}

func TestVDSO(t *testing.T) {
	for _, m := range modules(t, open(t, os.Getpid())) {
		if m.Name != "[vdso]" {
			continue
		}
		if _, err := m.AttachPath(); err == nil {
			t.Error("the vDSO can be probed")
		}
		if syms, err := m.ELF.DynamicSymbols(); err != nil || len(syms) == 0 {
			t.Errorf("the vDSO has %d symbols (%v)", len(syms), err)
		}
		return
	}
	t.Error("no vDSO")
}

func TestBuildID(t *testing.T) {
	path := program(t, "-O2 -Wl,--build-id=0x0123456789abcdef")
	if id := modules(t, open(t, fixture.Start(t, path).PID))[0].BuildID(); id != "0123456789abcdef" {
		t.Errorf("build ID is %q", id)
	}
	path = program(t, "-O2 -Wl,--build-id=none")
	if id := modules(t, open(t, fixture.Start(t, path).PID))[0].BuildID(); id != "" {
		t.Errorf("build ID is %q, want none", id)
	}
}

// TestReadBatch reads at addresses of which some are not mapped.
func TestReadBatch(t *testing.T) {
	f := fixture.Start(t, program(t, "-O2"))
	p := open(t, f.PID)
	exe := modules(t, p)[0]
	main := exe.Bias + symbol(t, exe, "main")
	var want [24]byte
	if _, err := p.ReadAt(want[:], int64(main)); err != nil {
		t.Fatal(err)
	}
	end := exe.Areas[len(exe.Areas)-1].End // nothing is mapped up there, or not as one
	for _, c := range []struct {
		name string
		good func(i int) bool
		n    int
	}{
		{"none", nil, 0},
		{"all", func(int) bool { return true }, 3000},
		{"no one", func(int) bool { return false }, 100},
		{"each other", func(i int) bool { return i%2 == 0 }, 2500},
		{"first is bad", func(i int) bool { return i > 0 }, 1025},
		{"last is bad", func(i int) bool { return i < 1023 }, 1024},
		{"last of a call is bad", func(i int) bool { return i != 1023 }, 2048},
		{"first of a call is bad", func(i int) bool { return i != 1024 }, 2048},
	} {
		addrs := make([]uint64, c.n)
		for i := range addrs {
			addrs[i] = 8 // below vm.mmap_min_addr
			if c.good(i) {
				addrs[i] = main
			}
		}
		data, ok, err := p.ReadBatch(addrs, len(want))
		if err != nil || len(ok) != c.n || len(data) != c.n*len(want) {
			t.Errorf("%s: %d results of %d bytes (%v)", c.name, len(ok), len(data), err)
			continue
		}
		for i := range addrs {
			got := data[i*len(want) : (i+1)*len(want)]
			if ok[i] != c.good(i) || ok[i] && !bytes.Equal(got, want[:]) {
				t.Errorf("%s: address %d: %v, %x", c.name, i, ok[i], got)
				break
			}
		}
	}
	// One that begins in a page and ends in none.
	if _, ok, err := p.ReadBatch([]uint64{end - 8, main}, 24); err != nil || !ok[1] {
		t.Errorf("behind one that ends outside: %v (%v)", ok, err)
	}
	f.Kill()
	if _, _, err := p.ReadBatch([]uint64{main}, 8); !errors.Is(err, target.ErrGone) {
		t.Errorf("of a dead process: %v, want %v", err, target.ErrGone)
	}
}

func TestGone(t *testing.T) {
	f := fixture.Start(t, program(t, "-O2"))
	p := open(t, f.PID)
	if !p.Alive() {
		t.Error("a running process is not alive")
	}
	stop := make(chan struct{})
	close(stop)
	if p.Wait(stop) {
		t.Error("a running process has ended")
	}
	f.Kill()
	if p.Alive() {
		t.Error("a killed process is alive")
	}
	if !p.Wait(nil) {
		t.Error("a killed process has not ended")
	}
	if _, err := p.Mappings(); err == nil {
		t.Error("a killed process has mappings")
	}
	if _, err := target.Open(f.PID); !errors.Is(err, target.ErrGone) {
		t.Errorf("open it again: %v, want %v", err, target.ErrGone)
	}
}

// TestNoProcess: numbers that are no process's are told apart.
func TestNoProcess(t *testing.T) {
	// Only the first thread has the number of the process, and while it is held
	// here a goroutine has another.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	if thread == os.Getpid() {
		other := make(chan int)
		go func() {
			runtime.LockOSThread() // it ends with the goroutine
			other <- unix.Gettid()
			<-other
		}()
		thread = <-other
		defer close(other)
	}
	if _, err := target.Open(thread); err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("it is a thread of process %d; give that number", os.Getpid())) {
		t.Errorf("a thread of ours: %v", err)
	}
	const nobody = 1<<22 + 1 // PID_MAX_LIMIT is 1<<22
	if _, err := target.Open(nobody); !errors.Is(err, target.ErrGone) || !strings.HasSuffix(err.Error(), "no process has this number") {
		t.Errorf("nobody: %v", err)
	}
}

func TestString(t *testing.T) {
	f := fixture.Start(t, program(t, "-O2"))
	p := open(t, f.PID)
	exe := modules(t, p)[0]
	data, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	text := "ready\n\x00"
	off := uint64(bytes.Index(data, []byte(text)))
	for _, s := range exe.ELF.Progs {
		if s.Type != elf.PT_LOAD || off < s.Off || off >= s.Off+s.Filesz {
			continue
		}
		at := exe.Bias + s.Vaddr + off - s.Off
		if got, ok := p.String(at, 64); !ok || got != strings.TrimSuffix(text, "\x00") {
			t.Errorf("got %q, %v", got, ok)
		}
		if got, ok := p.String(at, 3); ok {
			t.Errorf("a string longer than the limit is %q", got)
		}
		if _, ok := p.String(8, 3); ok {
			t.Error("there is a string where nothing is mapped")
		}
		return
	}
	t.Fatal("no such string in the fixture")
}
