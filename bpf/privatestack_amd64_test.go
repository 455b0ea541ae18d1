// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

// TestNoPrivateStack: no program gets a stack of its own for each CPU, which
// programs of two threads would share where the kernel is preempted. The
// compiler of x86-64 fetches it by adding the CPU's base to R9.
func TestNoPrivateStack(t *testing.T) {
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: 1, LinpoolObjects: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := NewHitCounter(os.Getpid(), nil, AttachBest)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	addBase := []byte{0x65, 0x4c, 0x03, 0x0c, 0x25} // add r9, gs:[...]
	for _, program := range append(p.objects.all(), c.objects.CountHit) {
		if usesPrivateStack(t, program, addBase) {
			t.Errorf("%s has a stack for each CPU", program)
		}
	}
}

func usesPrivateStack(t *testing.T, p *ebpf.Program, addBase []byte) bool {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	code, ok := info.JitedInsns()
	if !ok || len(code) == 0 {
		t.Fatalf("%s: the kernel does not show what it has compiled", p)
	}
	return bytes.Contains(code, addBase)
}
