// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/target"
)

// TestBird explains a BIRD before a flood, after it, and after the drop. What
// is live is taken from its resource tree, which lacks what hangs on no pool.
func TestBird(t *testing.T) {
	for _, root := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		t.Run(root, func(t *testing.T) {
			t.Parallel()
			const peers, routes = 4, 10_000
			b, control := startBird(t, root, peers)
			p, err := target.Open(b.PID())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			check := func(phase string) *Footprint {
				t.Helper()
				t.Log(phase)
				return checkBird(t, p)
			}
			check("before")
			speakers, err := lab.NewSpeakers(b.BGPAddr(), peers, lab.Flood{Routes: routes})
			if err != nil {
				t.Fatal(err)
			}
			if err := speakers.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, control, peers*routes)
			check("flooded")
			if err := speakers.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, control, 0)
			check("dropped")
		})
	}
}

// checkBird explains BIRD until it stood still meanwhile.
func checkBird(t *testing.T, p *target.Process) *Footprint {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		in, same := birdInput(t, p)
		f, err := Read(p, in)
		if err != nil {
			t.Fatal(err)
		}
		checkSum(t, f)
		if again, ok := birdInput(t, p); same && ok && f.Consistent && slices.Equal(in.Blocks, again.Blocks) && slices.Equal(in.Pages, again.Pages) {
			explain(t, p, in)
			if f.Remainder != 0 || len(f.Notes) > 0 {
				t.Errorf("remainder %d, notes %q", f.Remainder, f.Notes)
			}
			near(t, f, LiveBlocks, 10<<10, f.Part(LiveBlocks).Total)
			near(t, f, LivePages, pageSize, f.Part(LivePages).Total)
			near(t, f, KeptPages, pageSize, f.Part(KeptPages).Total)
			near(t, f, Anonymous, 0, 1<<20)
			near(t, f, ProgramText, 200<<10, 4<<20)
			near(t, f, LibcFree, 1, 1<<30)
			return f
		}
		if time.Now().After(deadline) {
			t.Fatalf("BIRD does not come to rest: consistent %v, %q, tree %v, %d blocks, %d pages", f.Consistent, f.Notes, same, len(in.Blocks), len(in.Pages))
		}
	}
}

// birdInput takes what is live from BIRD's resource tree.
func birdInput(t *testing.T, p *target.Process) (in Input, consistent bool) {
	t.Helper()
	modules, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		defer m.Close()
	}
	b, err := bird.Find(p, modules[0])
	if err != nil {
		t.Fatal(err)
	}
	tr, err := tree.Read(p, b, tree.Options{})
	if err != nil {
		t.Log(err)
		return in, false
	}
	cache, err := pagecache.Find(p, b, modules[0])
	if err != nil {
		t.Fatal(err)
	}
	free, err := cache.Read()
	if err != nil {
		t.Log(err)
		return in, false
	}
	in.Kept, in.Cold, in.Index, in.Unlisted = free.Kept, free.Cold, free.Index, free.Lost+free.Unread
	for _, pages := range [][]uint64{in.Kept, in.Cold, in.Index} {
		slices.Sort(pages)
	}
	for b := range tr.Blocks() {
		in.Blocks = append(in.Blocks, Block{b.Address, b.Bytes})
	}
	for page := range tr.Pages() {
		in.Pages = append(in.Pages, page.Address)
	}
	slices.SortFunc(in.Blocks, func(a, b Block) int { return cmp.Compare(a.Address, b.Address) })
	slices.Sort(in.Pages)
	return in, tr.Consistent
}

// startBird starts a BIRD of scripts/bird-root with a BMP station that reads.
func startBird(t *testing.T, root string, peers int) (*lab.Bird, *birdc.Conn) {
	t.Helper()
	binary := labtest.Binaries(t)[root]
	b := labtest.Start(t, lab.Config{Binary: binary, Peers: peers, Station: labtest.Discard(t)})
	return b, labtest.Dial(t, b)
}
