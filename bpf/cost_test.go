// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	_ "embed"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// knownCosts is in the test, so that it can be run where there are no sources.
//
//go:embed testdata/costs.txt
var knownCosts string

var update = flag.Bool("update", false, "write testdata")

// costs is what can be told of a program's cost without running it: its
// instructions, with those of the functions that it calls, and from how many
// places in them the kernel is called, and for what.
type costs struct{ instructions, lookups, updates, deletes, threads, userReads, others int }

func (c costs) String() string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d\t", c.instructions, c.lookups, c.updates, c.deletes, c.threads, c.userReads, c.others)
}

const costsHead = "program\tinstructions\tlookups\tupdates\tdeletes\tthread storage\tuser reads\tother calls\t"

func costsOf(p *ebpf.ProgramSpec) (c costs) {
	for _, i := range p.Instructions {
		c.instructions += int(i.Size() / asm.InstructionSize)
		if !i.IsBuiltinCall() {
			continue
		}
		switch asm.BuiltinFunc(i.Constant) {
		case asm.FnMapLookupElem:
			c.lookups++
		case asm.FnMapUpdateElem:
			c.updates++
		case asm.FnMapDeleteElem:
			c.deletes++
		case asm.FnTaskStorageGet:
			c.threads++
		case asm.FnProbeReadUser:
			c.userReads++
		default:
			c.others++
		}
	}
	return c
}

// TestCosts: what the programs cost at most is known, and no change makes them
// dearer without being seen. `go test ./bpf -run TestCosts -v` prints it, with what
// the running kernel makes of them; -update writes it.
func TestCosts(t *testing.T) {
	live, err := loadLive()
	if err != nil {
		t.Fatal(err)
	}
	count, err := loadCount()
	if err != nil {
		t.Fatal(err)
	}
	programs := live.Programs
	maps.Copy(programs, count.Programs)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, costsHead)
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		fmt.Fprintf(w, "%s\t%s\n", name, costsOf(programs[name]))
	}
	w.Flush()
	if *update {
		if err := os.WriteFile("testdata/costs.txt", []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if b.String() != knownCosts && !*update {
		t.Errorf("the programs' costs have changed; if that is meant, run go test ./bpf -run TestCosts -update\n--- were\n%s--- are\n%s", knownCosts, b.String())
	}
	t.Logf("\n%s", b.String())
}

// TestVerified: the verifier of the running kernel is far from its limit of a
// million instructions, and does not take long.
func TestVerified(t *testing.T) {
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: 1, LinpoolObjects: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const most = 60_000
	for _, program := range p.objects.all() {
		info, err := program.Info()
		if err != nil {
			t.Fatal(err)
		}
		size, err := info.TranslatedSize()
		if err != nil {
			t.Fatal(err)
		}
		verified, ok := info.VerifiedInstructions() // Linux 5.16
		if verified > most {
			t.Errorf("%s: the verifier looks at %d instructions, want %d at most", info.Name, verified, most)
		}
		t.Logf("%s: %d instructions in the kernel, looked at %d (told: %v)", info.Name, size/asm.InstructionSize, verified, ok)
	}
}
