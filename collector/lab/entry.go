// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// atEntry is AT_ENTRY, the auxiliary vector's tag for the program's entry
	// point (include/uapi/linux/auxvec.h).
	atEntry = 9
	// userDebugReg is offsetof(struct user, u_debugreg) on x86-64
	// (arch/x86/include/asm/user_64.h).
	userDebugReg = 848
	// debugExec0 in DR7 makes DR0 the address of an instruction that traps
	// before it is executed: L0 set, R/W0 and LEN0 zero (Intel SDM vol. 3B §18.2.4).
	debugExec0 = 1
	// debugHit0 in DR6 says that DR0 was met (§18.2.3).
	debugHit0 = 1
)

// runToEntry takes a child that traces itself (PTRACE_TRACEME) from its exec to
// its ELF entry point, where the dynamic linker has mapped and initialised
// every library and nothing of the program itself has run, and leaves it there
// in a ptrace stop. A hardware breakpoint marks the place, so the child's
// memory is not written to. It must run on the thread that started the child.
func (p *process) runToEntry() error {
	if _, err := p.waitStop(); err != nil { // the exec itself
		return err
	}
	// Should we die now, the child must not run on.
	if err := unix.PtraceSetOptions(p.pid, unix.PTRACE_O_EXITKILL); err != nil {
		return fmt.Errorf("set ptrace options: %w", err)
	}
	entry, err := entryPoint(p.pid)
	if err != nil {
		return err
	}
	// The address before what enables it.
	if err := p.pokeDebugReg(0, entry); err != nil {
		return err
	}
	if err := p.pokeDebugReg(7, debugExec0); err != nil {
		return err
	}

	deliver := 0
	for {
		if err := unix.PtraceCont(p.pid, deliver); err != nil {
			return fmt.Errorf("continue: %w", err)
		}
		sig, err := p.waitStop()
		if err != nil {
			return err
		}
		if sig == unix.SIGTRAP {
			hit, err := p.atBreakpoint(entry)
			if err != nil {
				return err
			}
			if hit {
				break
			}
		}
		deliver = int(sig) // somebody's signal: it is the child's
	}
	for _, n := range []int{7, 0, 6} {
		if err := p.pokeDebugReg(n, 0); err != nil {
			return err
		}
	}
	return nil
}

// waitStop waits until the child stops and returns the signal it stopped for.
func (p *process) waitStop() (unix.Signal, error) {
	for {
		// What ends the child is left for reap.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for child: %w", err)
		}
		if info.Code != cldTrapped && info.Code != cldStopped {
			p.reap()
			return 0, errors.New("ended before it: " + p.end())
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(p.pid, &status, 0, nil); err != nil {
			return 0, fmt.Errorf("wait for child: %w", err)
		}
		if status.Stopped() {
			return status.StopSignal(), nil
		}
	}
}

// Values of si_code for SIGCHLD (include/uapi/asm-generic/siginfo.h).
const (
	cldTrapped = 4
	cldStopped = 5
)

// atBreakpoint tells whether a trap is that of DR0, at address.
func (p *process) atBreakpoint(address uint64) (bool, error) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(p.pid, &regs); err != nil {
		return false, fmt.Errorf("read registers: %w", err)
	}
	dr6, err := p.peekDebugReg(6)
	if err != nil {
		return false, err
	}
	return instructionPointer(&regs) == address && dr6&debugHit0 != 0, nil
}

func (p *process) pokeDebugReg(n int, value uint64) error {
	if _, err := unix.PtracePokeUser(p.pid, userDebugReg+8*uintptr(n), binary.NativeEndian.AppendUint64(nil, value)); err != nil {
		return fmt.Errorf("write debug register %d: %w", n, err)
	}
	return nil
}

func (p *process) peekDebugReg(n int) (uint64, error) {
	var word [8]byte
	if _, err := unix.PtracePeekUser(p.pid, userDebugReg+8*uintptr(n), word[:]); err != nil {
		return 0, fmt.Errorf("read debug register %d: %w", n, err)
	}
	return binary.NativeEndian.Uint64(word[:]), nil
}

// entryPoint reads where the program's own code begins, as the kernel told the
// dynamic linker.
func entryPoint(pid int) (uint64, error) {
	auxv, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, err
	}
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		if binary.NativeEndian.Uint64(auxv) == atEntry {
			return binary.NativeEndian.Uint64(auxv[8:]), nil
		}
	}
	return 0, errors.New("read auxiliary vector: no AT_ENTRY")
}
