// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/target"
)

// program compiles and starts the program whose heap package glibc's tests walk.
func program(t testing.TB) (*fixture.Process, *target.Process) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blocks")
	if out, err := exec.Command("gcc", "-O1", "-pthread", "-o", path, "../glibc/testdata/blocks.c").CombinedOutput(); err != nil {
		t.Fatalf("compile (apt-get install -y gcc libc6-dev): %v\n%s", err, out)
	}
	f := fixture.Start(t, path)
	p, err := target.Open(f.PID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return f, p
}

// truth returns the program's own list of its blocks.
func truth(t testing.TB, f *fixture.Process) (blocks []Block) {
	t.Helper()
	for _, line := range f.Do(t, "truth") {
		var b Block
		if n, _ := fmt.Sscanf(line, "block 0x%x %d", &b.Address, &b.Size); n == 2 {
			blocks = append(blocks, b)
		}
	}
	slices.SortFunc(blocks, func(a, b Block) int { return cmp.Compare(a.Address, b.Address) })
	return blocks
}

func explain(t testing.TB, p *target.Process, in Input) *Footprint {
	t.Helper()
	f, err := Read(p, in)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := f.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("consistent: %v, notes %q\n%s", f.Consistent, f.Notes, &text)
	checkSum(t, f)
	return f
}

// checkSum adds the parts up.
func checkSum(t testing.TB, f *Footprint) {
	t.Helper()
	sum := f.Remainder
	for _, p := range f.Parts {
		sum += int64(p.Bytes)
	}
	if sum != int64(f.RSS) {
		t.Errorf("parts and remainder add up to %d, the RSS is %d", sum, f.RSS)
	}
}

// near says whether a part is in the bounds.
func near(t testing.TB, f *Footprint, name Name, least, most uint64) {
	t.Helper()
	if got := f.Part(name).Bytes; got < least || got > most {
		t.Errorf("%s is %d, want %d to %d", name, got, least, most)
	}
}

// TestBlocks explains a program that writes to all of its blocks.
func TestBlocks(t *testing.T) {
	f, p := program(t)
	for _, command := range []string{"run 1 20000", "threads 3", "drop", "run 2 100"} {
		f.Do(t, command)
		blocks := truth(t, f)
		var payload uint64
		for _, b := range blocks {
			payload += b.Size
		}
		got := explain(t, p, Input{Blocks: blocks})
		if !got.Consistent || len(got.Notes) > 0 || got.Remainder != 0 {
			t.Errorf("consistent: %v, notes %q, remainder %d", got.Consistent, got.Notes, got.Remainder)
		}
		near(t, got, LiveBlocks, payload, payload)
		if total := got.Part(LiveBlocks).Total; total != payload {
			t.Errorf("%d live bytes, want %d", total, payload)
		}
		// From 8 to 23 bytes each, less than 32 of nothing; a page at the end of
		// a mapping.
		near(t, got, BlockOverhead, uint64(len(blocks))*8, uint64(len(blocks))*24+200*pageSize)
		near(t, got, OtherBlocks, 0, 16<<10)
		near(t, got, LibcOwn, 600, 4*3000+8)
		near(t, got, Stacks, pageSize, 1<<20)
		near(t, got, ProgramData, pageSize, 32<<20)
		near(t, got, LibraryText, 100<<10, 4<<20)
		if own := got.Own(); own != 0 {
			t.Errorf("%d bytes are for probes, and there is none", own)
		}
	}
}

// TestProbe sees the page of code that a probe copies, and lets it go again.
func TestProbe(t *testing.T) {
	f, p := program(t)
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Kprobe, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	exe, err := link.OpenExecutable(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := exe.Uprobe("truth", prog, &link.UprobeOptions{PID: f.PID})
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	in := Input{Blocks: truth(t, f)}
	got := explain(t, p, in)
	near(t, got, ProbedText, pageSize, pageSize)
	if got.Own() < pageSize {
		t.Errorf("%d bytes are for probes, want a page at least", got.Own())
	}
	if got.Remainder != 0 {
		t.Errorf("remainder %d", got.Remainder)
	}
}

// TestInput refuses lists that are not sorted.
func TestInput(t *testing.T) {
	_, p := program(t)
	for _, in := range []Input{
		{Blocks: []Block{{Address: 32}, {Address: 16}}},
		{Pages: []uint64{8192, 4096}},
		{Kept: []uint64{8192, 4096}},
		{Cold: []uint64{8192, 4096}},
	} {
		if _, err := Read(p, in); err == nil || !strings.Contains(err.Error(), "order of their addresses") {
			t.Errorf("%v: error %v", in, err)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }
