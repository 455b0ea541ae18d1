// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"leakprof/profiler/unwind"
)

// tracer runs a program from breakpoint to breakpoint. Its methods are for the
// goroutine that made it.
type tracer struct {
	t     testing.TB
	pid   int
	bias  uint64
	saved map[uint64]byte // what the breakpoints, by ELF address, replaced
	regs  syscall.PtraceRegs
	table *unwind.Table
}

func trace(t testing.TB, path string) *tracer {
	t.Helper()
	runtime.LockOSThread() // ptrace obeys one thread
	cmd := exec.Command(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tr := &tracer{t: t, pid: cmd.Process.Pid, saved: make(map[uint64]byte)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		runtime.UnlockOSThread()
	})
	if s := tr.wait(); !s.Stopped() {
		t.Fatalf("the program did not stop at exec: %v", s)
	}
	f := open(t, path)
	tr.bias = tr.start() - firstSegment(f)
	var err error
	if tr.table, err = unwind.NewTable(f); err != nil {
		t.Fatal(err)
	}
	return tr
}

// start returns the lowest address that the program is mapped at.
func (tr *tracer) start() uint64 {
	tr.t.Helper()
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(tr.pid) + "/maps")
	if err != nil {
		tr.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(maps), "-")
	addr, err := strconv.ParseUint(first, 16, 64)
	if err != nil {
		tr.t.Fatal(err)
	}
	return addr
}

func firstSegment(f *elf.File) uint64 {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			return p.Vaddr &^ 0xfff
		}
	}
	return 0
}

func (tr *tracer) wait() syscall.WaitStatus {
	tr.t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(tr.pid, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			tr.t.Fatal(err)
		}
		return status
	}
}

// stop puts a breakpoint at an ELF address.
func (tr *tracer) stop(addr uint64) {
	tr.t.Helper()
	if _, ok := tr.saved[addr]; !ok {
		tr.saved[addr] = tr.poke(addr, 0xcc)
	}
}

// poke replaces the byte at an ELF address and returns the old one.
func (tr *tracer) poke(addr uint64, b byte) byte {
	tr.t.Helper()
	var old [1]byte
	if _, err := syscall.PtracePeekText(tr.pid, uintptr(tr.bias+addr), old[:]); err != nil {
		tr.t.Fatal(err)
	}
	if _, err := syscall.PtracePokeText(tr.pid, uintptr(tr.bias+addr), []byte{b}); err != nil {
		tr.t.Fatal(err)
	}
	return old[0]
}

// next runs up to the next breakpoint and returns its ELF address, or false
// when the program ends.
func (tr *tracer) next() (uint64, bool) {
	tr.t.Helper()
	if at := tr.regs.Rip - tr.bias; tr.regs.Rip != 0 {
		tr.poke(at, tr.saved[at])
		if err := syscall.PtraceSingleStep(tr.pid); err != nil {
			tr.t.Fatal(err)
		}
		if s := tr.wait(); !s.Stopped() {
			return 0, false
		}
		tr.poke(at, 0xcc)
		if err := syscall.PtraceGetRegs(tr.pid, &tr.regs); err != nil {
			tr.t.Fatal(err)
		}
		if at := tr.regs.Rip - tr.bias; tr.isStop(at) {
			return at, true // one breakpoint right behind another
		}
	}
	if err := syscall.PtraceCont(tr.pid, 0); err != nil {
		tr.t.Fatal(err)
	}
	s := tr.wait()
	if s.Exited() && s.ExitStatus() == 0 {
		return 0, false
	}
	if !s.Stopped() || s.StopSignal() != syscall.SIGTRAP {
		tr.t.Fatalf("the program stopped with status %#x", s)
	}
	if err := syscall.PtraceGetRegs(tr.pid, &tr.regs); err != nil {
		tr.t.Fatal(err)
	}
	tr.regs.Rip--
	if err := syscall.PtraceSetRegs(tr.pid, &tr.regs); err != nil {
		tr.t.Fatal(err)
	}
	return tr.regs.Rip - tr.bias, true
}

func (tr *tracer) isStop(addr uint64) bool {
	_, ok := tr.saved[addr]
	return ok
}

// register returns the value of a register as in Arg.
func (tr *tracer) register(n int) uint64 {
	tr.t.Helper()
	r := &tr.regs
	switch n {
	case LoadBias:
		return tr.bias
	case CFA:
		rule := tr.table.Lookup(r.Rip - tr.bias)
		base := tr.register(int(rule.Reg)) + uint64(int64(rule.Off))
		switch rule.CFA {
		case unwind.CFARegister:
			return base
		case unwind.CFADeref:
			return tr.word(base) + uint64(int64(rule.Add))
		}
		tr.t.Fatalf("CFA rule %v at %#x", rule, r.Rip-tr.bias)
	}
	return [...]uint64{r.Rax, r.Rdx, r.Rcx, r.Rbx, r.Rsi, r.Rdi, r.Rbp, r.Rsp,
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15}[n]
}

// word returns 8 bytes of memory.
func (tr *tracer) word(addr uint64) uint64 {
	tr.t.Helper()
	var b [8]byte
	if _, err := syscall.PtracePeekData(tr.pid, uintptr(addr), b[:]); err != nil {
		tr.t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(b[:])
}

// value returns what an argument is, as far as it is known, and the bits that
// count.
func (tr *tracer) value(a Arg) (value, mask uint64, known bool) {
	tr.t.Helper()
	switch a.Kind {
	case Constant:
		value = uint64(a.Offset)
	case Register:
		value = tr.register(a.Register) + uint64(a.Offset)
	case Memory:
		value = tr.word(tr.register(a.Register) + uint64(a.Offset))
	default:
		return 0, 0, false
	}
	mask = ^uint64(0)
	if a.Size > 0 && a.Size < 8 {
		mask = 1<<(8*a.Size) - 1
	}
	return value, mask, true
}
