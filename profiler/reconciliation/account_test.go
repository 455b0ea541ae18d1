// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"leakprof/bpf"
	"leakprof/collector/birdc"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample() *Account {
	n := func(v uint64) *uint64 { return &v }
	yes, no := true, false
	return &Account{
		Why: "BIRD changed its resources while they were read", FreePages: "lists were not found", MissedReturns: 3,
		Lines: []Line{
			{Name: "Routing tables", BirdEffective: 2_260_582, BirdOverhead: n(291_328), OursEffective: n(2_260_600), OursOverhead: n(291_300), WithinRounding: &yes},
			{Name: "Standby memory", BirdEffective: 0, BirdOverhead: n(65_536)},
			{Name: "Total", BirdEffective: 2_959_974, BirdOverhead: n(387_174), OursEffective: n(2_951_000), OursOverhead: n(387_174), WithinRounding: &no, Difference: 8_923},
			{Name: "Active pages", BirdEffective: 3_022_848, OursEffective: n(3_022_848), WithinRounding: &yes},
		},
		Control: Control{Sum{7, 13_921}, 13_209, 712},
		Live:    Sum{957, 3_263_000},
		Tree: Comparison{
			Both: Sum{964, 3_277_516}, OnlyLive: Sum{4, 102_400}, OnlyTree: Sum{1, 64},
			Reasons: []Reason{
				{OnlyLive, netlink, true, Sum{3, 98_304}}, {OnlyLive, outsidePage, false, Sum{1, 4096}},
				{OnlyTree, "Memory in Root/Protocols/peer1", false, Sum{1, 64}},
			},
		},
	}
}

// TestGolden compares the table and the document with files.
func TestGolden(t *testing.T) {
	var text bytes.Buffer
	if err := sample().WriteText(&text); err != nil {
		t.Fatal(err)
	}
	quiet := sample()
	quiet.Quiet, quiet.Why, quiet.FreePages, quiet.MissedReturns, quiet.Tree.Equal = true, "", "", 0, true
	text.WriteByte('\n')
	if err := quiet.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	document, err := json.MarshalIndent(sample(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"account.txt": text.Bytes(), "account.json": append(document, '\n')} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v (go test -update writes it)", err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("differs from %s (after a look, go test -update):\n%s", path, got)
		}
	}
}

// TestDistance has replies of BIRD's with a rounding, before and after.
func TestDistance(t *testing.T) {
	reply := func(least, most uint64) *birdc.Memory {
		return &birdc.Memory{Lines: []birdc.MemoryLine{{Name: "Total", Effective: birdc.Size{Min: least, Max: most}}}}
	}
	for _, c := range []struct {
		replies          []*birdc.Memory
		ours, more, less uint64
		want             int64
	}{
		{[]*birdc.Memory{reply(100, 200)}, 100, 0, 0, 0},
		{[]*birdc.Memory{reply(100, 200)}, 200, 0, 0, 0},
		{[]*birdc.Memory{reply(100, 200)}, 99, 0, 0, 1},
		{[]*birdc.Memory{reply(100, 200)}, 201, 0, 0, -1},
		{[]*birdc.Memory{reply(100, 200), reply(150, 250)}, 240, 0, 0, 0},
		{[]*birdc.Memory{reply(150, 250), reply(100, 200)}, 110, 0, 0, 0},
		{[]*birdc.Memory{reply(100, 200)}, 90, 10, 0, 0},
		{[]*birdc.Memory{reply(100, 200)}, 89, 10, 5, 1},
		{[]*birdc.Memory{reply(100, 200)}, 205, 10, 5, 0},
		{[]*birdc.Memory{reply(100, 200)}, 207, 10, 5, -2},
	} {
		got := distance(c.replies, "Total", func(l birdc.MemoryLine) birdc.Size { return l.Effective }, c.ours, c.more, c.less)
		if got != c.want {
			t.Errorf("%+v: %d, want %d", c, got, c.want)
		}
	}
}

// arena is memory of this process's own, in which shapes are made up.
type arena struct {
	data []byte
	e    *explainer
}

func newArena(t *testing.T) *arena {
	t.Helper()
	data, err := unix.Mmap(-1, 0, 8*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(data) })
	p, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &arena{data, &explainer{
		join: &join{tree: &tree.Tree{Layout: tree.Layout{Generation: bird.BIRD3}}},
		in:   Input{Process: p, Snapshot: &snapshot.Snapshot{Live: &live.Snapshot{}}},
		held: map[uint64]string{}, outside: map[uint64]string{}, variables: map[uint64]bool{},
	}}
}

func (a *arena) at(offset uint64) uint64 {
	return uint64(uintptr(unsafe.Pointer(&a.data[0]))) + offset
}

func (a *arena) put(offset uint64, words ...uint64) {
	for i, w := range words {
		binary.LittleEndian.PutUint64(a.data[offset+8*uint64(i):], w)
	}
}

// block makes the memory at an offset a block that only the live set has.
func (a *arena) block(offset, size uint64, page bool) int {
	b := live.Block{Address: a.at(offset), Size: size}
	if page {
		b.Function = bpf.FunctionAllocPage
	}
	a.e.onlyLive = append(a.e.onlyLive, b)
	a.e.heads = append(a.e.heads, a.data[offset:][:min(size, headLength)])
	a.e.classes = append(a.e.classes, bird.Block{})
	return len(a.e.onlyLive) - 1
}

func (a *arena) reason(t *testing.T, i int, want string, known bool) {
	t.Helper()
	if got, ok := a.e.reason(i, a.e.onlyLive[i]); got != want || ok != known {
		t.Errorf("block %d: %q, %v, want %q, %v", i, got, ok, want, known)
	}
}

// TestJournal knows pages of journals by their neighbors.
func TestJournal(t *testing.T) {
	a := newArena(t)
	const list = 7 * pageSize
	a.put(0, a.at(pageSize), 0, a.at(list))
	a.put(pageSize, a.at(2*pageSize), a.at(0), a.at(list))
	a.put(2*pageSize, 0, a.at(pageSize), a.at(list))
	a.put(list, a.at(0), a.at(2*pageSize))
	a.put(3*pageSize, a.at(pageSize), 0, a.at(list)) // no one points back
	for i := range uint64(5) {
		a.block(i*pageSize, pageSize, true)
	}
	for i, want := range []bool{true, true, true, false, false} {
		why := map[bool]string{true: journalPage, false: outsidePage}[want]
		a.reason(t, i, why, want)
	}
	a.e.tree.Layout.Generation = bird.BIRD2
	a.reason(t, 1, outsidePage, false)
}

// TestShapes knows blocks by what is in them.
func TestShapes(t *testing.T) {
	a := newArena(t)
	copy(a.data[7*pageSize:], "Interfaces\x00")
	a.put(0+40, 24, 0, 0, a.at(7*pageSize), 0) // a domain with a name
	a.put(128+40, 24, 0, 0, 0, 0)              // one without
	a.put(256+40, 25, 0, 0, 0, 0)              // an odd order
	a.put(384+40, 24, 0, 0, 0, 8)              // a pool, and no name
	a.put(512+40, 24, 0, 0, 1, 0)              // no name there
	domains := []int{a.block(0, 80, false), a.block(128, 80, false), a.block(256, 80, false), a.block(384, 80, false), a.block(512, 80, false)}
	const stack, state, text = 640, 704, 2 * pageSize
	a.put(stack, a.at(state))
	a.put(state, 0, a.at(text))
	lexers := []int{a.block(stack, 8, false), a.block(state, 64, false), a.block(1024, 64, false)}
	a.e.variables[a.at(stack)] = true
	a.put(1536, 1<<32|5, 5<<32|1<<48|6)
	a.put(1792, 1<<32|5, 1<<40)
	polls := []int{a.block(1536, 256, false), a.block(1792, 256, false)}
	held := a.block(1024*2, 100, false)
	a.e.variables[a.at(2048)] = true
	a.block(text, 16386, false)

	a.e.findLexer()
	for i, want := range []bool{true, true, false, false, false} {
		why := map[bool]string{true: lockDomain, false: outsideBIRD}[want]
		a.reason(t, domains[i], why, want)
	}
	a.reason(t, lexers[0], lexer, true)
	a.reason(t, lexers[1], lexer, true)
	a.reason(t, lexers[2], outsideBIRD, false)
	a.reason(t, len(a.e.onlyLive)-1, lexer, true)
	a.reason(t, polls[0], pollArray, true)
	a.reason(t, polls[1], outsideBIRD, false)
	a.reason(t, held, variable, false)
	a.e.tree.Layout.Generation = bird.BIRD2
	a.reason(t, domains[0], outsideBIRD, false)
}
