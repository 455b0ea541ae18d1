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
	// A return goes through a page of the kernel's.
	returns, err := exe.Uretprobe("truth", prog, &link.UprobeOptions{PID: f.PID})
	if err != nil {
		t.Fatal(err)
	}
	defer returns.Close()
	in := Input{Blocks: truth(t, f)}
	got := explain(t, p, in)
	near(t, got, ProbedText, pageSize, pageSize)
	near(t, got, ProbePages, pageSize, pageSize)
	if got.Own() != 2*pageSize {
		t.Errorf("%d bytes are for probes, want %d", got.Own(), 2*pageSize)
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
		{Index: []uint64{8192, 4096}},
	} {
		if _, err := Read(p, in); err == nil || !strings.Contains(err.Error(), "order of their addresses") {
			t.Errorf("%v: error %v", in, err)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

// TestNoWalk explains a heap that cannot be walked: live blocks by the list,
// the rest as libc's free memory.
func TestNoWalk(t *testing.T) {
	f, p := program(t)
	f.Do(t, "few 1 2000")
	in := Input{Blocks: truth(t, f)}
	usage, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAccount(p, usage)
	if err != nil {
		t.Fatal(err)
	}
	a.pages(in)
	a.blocks(in, nil)
	a.mappings(false)
	a.unlisted(0)
	got := a.finish()
	checkSum(t, got)
	want := explain(t, p, in)
	payload := want.Part(LiveBlocks).Bytes
	near(t, got, LiveBlocks, payload, payload)
	heads := want.Part(BlockOverhead).Bytes
	near(t, got, BlockOverhead, heads-heads/4, heads+heads/4)
	if got.Remainder != 0 {
		t.Errorf("remainder %d", got.Remainder)
	}
}

// TestPages counts pages where they are, and does not take one whose content
// looks like the header of a large block for such a block.
func TestPages(t *testing.T) {
	f, p := program(t)
	f.Do(t, "few 1 2000")
	in := Input{Blocks: truth(t, f)}
	// The largest blocks are mappings of their own: say that the first page of
	// each is BIRD's.
	in.Blocks = slices.DeleteFunc(in.Blocks, func(b Block) bool {
		if b.Size >= 130<<10 && b.Address%pageSize == 16 {
			in.Pages = append(in.Pages, b.Address-16)
			in.Kept = append(in.Kept, b.Address-16, b.Address-16+pageSize)
			in.Cold = append(in.Cold, b.Address-16+2*pageSize)
			return true
		}
		return false
	})
	if len(in.Pages) == 0 {
		t.Fatal("no block is a mapping of its own")
	}
	got := explain(t, p, in)
	n := uint64(len(in.Pages)) * pageSize
	near(t, got, LivePages, n, n)
	near(t, got, KeptPages, n, n)
	near(t, got, ColdPages, n, n)
	near(t, got, OtherBlocks, 0, 16<<10)
	if got.Remainder != 0 || len(got.Notes) > 0 {
		t.Errorf("remainder %d, notes %q", got.Remainder, got.Notes)
	}
	if total := got.Part(KeptPages).Total; total != 2*n {
		t.Errorf("%d bytes of kept pages, want %d", total, 2*n)
	}
}

// TestUnlisted takes pages of which only the number is known out of other
// anonymous memory, and no more than there is.
func TestUnlisted(t *testing.T) {
	_, p := program(t)
	all := explain(t, p, Input{}).Part(Anonymous).Bytes
	for _, n := range []uint64{1, all / pageSize, 1 << 20} {
		got := explain(t, p, Input{Unlisted: n})
		want := min(n*pageSize, all)
		near(t, got, UnlistedPages, want, want)
		near(t, got, Anonymous, all-want, all-want)
		if part := got.Part(UnlistedPages); part.Total != n*pageSize || !part.Estimate {
			t.Errorf("%d pages: %+v", n, part)
		}
	}
}

// TestStrayBlocks says that blocks are not there any more.
func TestStrayBlocks(t *testing.T) {
	f, p := program(t)
	f.Do(t, "few 1 200")
	in := Input{Blocks: truth(t, f)}
	f.Do(t, "drop")
	got := explain(t, p, in)
	if len(got.Notes) != 1 || !got.Part(LiveBlocks).Estimate {
		t.Errorf("notes %q", got.Notes)
	}
}

// TestClassify has mappings of every kind.
func TestClassify(t *testing.T) {
	m := func(start, end uint64, mode, path string, inode uint64) target.Usage {
		return target.Usage{Mapping: target.Mapping{
			Start: start << 12, End: end << 12, Path: path, Inode: inode,
			Read: mode[0] == 'r', Write: mode[1] == 'w', Exec: mode[2] == 'x',
		}}
	}
	usage := []target.Usage{
		m(0, 1, "r--", "/usr/sbin/bird", 1), m(1, 2, "r-x", "/usr/sbin/bird", 1), m(2, 3, "rw-", "/usr/sbin/bird", 1),
		m(3, 4, "rw-", "", 0), m(5, 6, "rw-", "[heap]", 0), m(7, 8, "rw-", "", 0), m(9, 10, "rw-", "[anon:page]", 0),
		m(11, 12, "r--", "/lib/libc.so.6", 2), m(12, 13, "r-x", "/lib/libc.so.6", 2), m(13, 14, "rw-", "/lib/libc.so.6", 2), m(14, 15, "rw-", "", 0),
		m(16, 17, "r--", "/usr/lib/locale-archive", 3), m(18, 19, "--x", "[uprobes]", 0), m(20, 21, "--x", "[uprobes-trampoline]", 0),
		m(22, 23, "rw-", "[stack]", 0), m(24, 25, "r--", "[vvar]", 0), m(25, 26, "r-x", "[vdso]", 0), m(27, 28, "rw-", "", 0),
	}
	want := []Name{
		ProgramText, ProgramText, ProgramData, ProgramData, Anonymous, Anonymous, Anonymous,
		LibraryText, LibraryText, LibraryData, LibraryData, MappedFiles, ProbePages, ProbePages, Stacks, VDSO, VDSO, Stacks,
	}
	for i, a := range classify(usage, "/usr/sbin/bird", []uint64{27<<12 + 8}) {
		if a.name != want[i] {
			t.Errorf("%x-%x %s is %s, want %s", a.Start, a.End, a.Path, a.name, want[i])
		}
	}
}

// BenchmarkRead explains a program with a million blocks.
func BenchmarkRead(b *testing.B) {
	f, p := program(b)
	f.Do(b, "fill 1000000")
	in := Input{Blocks: truth(b, f)}
	for b.Loop() {
		if _, err := Read(p, in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(in.Blocks)), "blocks")
}
