// SPDX-License-Identifier: Apache-2.0

package lab

import "golang.org/x/sys/unix"

// instructionPointer is where a thread that ptrace has stopped goes on.
func instructionPointer(r *unix.PtraceRegs) uint64 { return r.Rip }
