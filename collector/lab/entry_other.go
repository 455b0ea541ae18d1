// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package lab

import "golang.org/x/sys/unix"

// instructionPointer is not known: what runToEntry writes are the debug registers
// of x86-64, which no other kernel takes.
func instructionPointer(*unix.PtraceRegs) uint64 { return 0 }
