// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird"
	"leakprof/profiler/target"
)

// running is a lab's BIRD, and where it has its lists.
type running struct {
	*lab.Bird
	control *birdc.Conn
	process *target.Process
	bird    *bird.Bird
	cache   *Cache
}

func start(t *testing.T, c lab.Config) *running {
	t.Helper()
	r := &running{Bird: labtest.Start(t, c)}
	r.control = labtest.Dial(t, r.Bird)
	var err error
	if r.process, err = target.Open(r.PID()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.process.Close() })
	modules, err := r.process.Modules()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		defer m.Close()
	}
	if r.bird, err = bird.Find(r.process, modules[0]); err != nil {
		t.Fatal(err)
	}
	if r.cache, err = Find(r.process, r.bird, modules[0]); err != nil {
		t.Fatal(err)
	}
	return r
}

// settled returns the free pages, and what BIRD says of its memory, of one time.
func (r *running) settled(t *testing.T) (*Pages, *birdc.Memory) {
	t.Helper()
	last := "it never answered twice the same"
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		before, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages, err := r.cache.Read()
		if errors.Is(err, ErrBusy) {
			last = err.Error()
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		after, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if before.Raw == after.Raw {
			return pages, after
		}
	}
	t.Fatalf("BIRD does not come to rest: %s", last)
	return nil, nil
}

// readAlong reads the lists over and over while BIRD works, until done is called.
func (r *running) readAlong(t *testing.T) (done func(phase string)) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	var read, busy int
	var longest time.Duration
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			begin := time.Now()
			_, err := r.cache.Read()
			longest = max(longest, time.Since(begin))
			switch {
			case err == nil:
				read++
			case errors.Is(err, ErrBusy):
				busy++
			default:
				t.Error(err)
				return
			}
		}
	}()
	return func(phase string) {
		t.Helper()
		close(stop)
		<-stopped
		t.Logf("%-8s %d readings, %d times too busy, at most %v", phase, read, busy, longest)
	}
}

func free(p *Pages) int { return len(p.Kept) + len(p.Cold) + len(p.Index) }

// waitFree waits until so many pages are free. (BIRD 3.1.7 sometimes crashes
// when it is asked for its routes while they go away.)
func (r *running) waitFree(t *testing.T, want int) {
	t.Helper()
	var p *Pages
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if p, err = r.cache.Read(); err == nil && free(p) >= want {
			return
		}
		if err != nil && !errors.Is(err, ErrBusy) {
			t.Fatal(err, r.Err())
		}
	}
	t.Fatalf("%d pages are free, want %d", free(p), want)
}

// commandPages is how many pages a command has while it runs.
const commandPages = 1

// compare compares the lists with what "show memory" says of them.
func (r *running) compare(t *testing.T, phase string, p *Pages, m *birdc.Memory) {
	t.Helper()
	kept, cold, index := p.KeptCount(), uint64(len(p.Cold)), uint64(len(p.Index))
	t.Logf("%-8s kept %d (on lists %d, lost %d, unread %d), cold %d, index %d, total %d", phase, kept, len(p.Kept), p.Lost, p.Unread, cold, index, p.Total)
	between := func(line string, pages, command uint64) {
		t.Helper()
		l, ok := m.Line(line)
		if !ok {
			return // there are all since 2.16
		}
		s := l.Effective
		if !l.Single {
			s = l.Overhead
		}
		if (pages+command)*pageSize < s.Min || pages*pageSize > s.Max+command*pageSize {
			t.Errorf("%s: %s: %d pages, %d bytes; BIRD says %d to %d", phase, line, pages, pages*pageSize, s.Min, s.Max)
		}
	}
	if r.bird.Generation == bird.BIRD3 {
		between("Kept free pages", kept+index, commandPages)
	} else {
		between("Kept free pages", kept, commandPages)
	}
	between("Cold free pages", cold, 0)
	if _, ok := m.Line("Cold free pages"); ok { // before, index pages are not counted
		between("Standby memory", kept+index, commandPages)
	} else {
		between("Standby memory", kept, commandPages)
	}
	active := p.Total - kept - cold
	if r.bird.Generation == bird.BIRD3 {
		active -= index
	}
	between("Active pages", active, commandPages)
	if p.Unread != 0 {
		t.Errorf("%s: %d pages on stacks of threads that were not found", phase, p.Unread)
	}
}

// TestShowMemory compares the lists with what BIRD says of them, in numbers and
// page by page, while a lab is flooded and its peers drop.
func TestShowMemory(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			const peers, routes = 4, 20_000
			b := start(t, lab.Config{Binary: binary, Peers: peers})
			check := func(phase string) *Pages {
				t.Helper()
				p, m := b.settled(t)
				b.compare(t, phase, p, m)
				b.compareDump(t, phase, p)
				return p
			}
			check("before")
			speakers, err := lab.NewSpeakers(b.BGPAddr(), peers, lab.Flood{Routes: routes})
			if err != nil {
				t.Fatal(err)
			}
			done := b.readAlong(t)
			if err := speakers.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, b.control, peers*routes)
			done("flood")
			flooded := check("flooded")
			done = b.readAlong(t)
			if err := speakers.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.waitFree(t, free(flooded)+1000)
			done("drop")
			dropped := check("dropped")
			if b.bird.Generation == bird.BIRD2 && len(dropped.Cold) == 0 {
				t.Error("no page is cold after a flood")
			}
		})
	}
}

// listed is what "dump resources" says of free pages.
type listed struct{ kept, cold, index map[uint64]bool }

// dump has BIRD write its lists to a file; nil before 2.16, which does not. BIRD
// 3 writes the shared stack, and none of a thread's own. With requests for
// listening BGP sockets as resources (3.3 to 3.4.0), it aborts: their dump hook
// asserts a lock that nobody has taken.
func (r *running) dump(t *testing.T, phase string) *listed {
	t.Helper()
	for _, c := range r.bird.Classes {
		if c.Name == "BGP Listen Request" {
			return nil
		}
	}
	name := "dump-" + phase
	if _, err := r.control.Command(t.Context(), fmt.Sprintf("dump resources %q", name)); err != nil {
		if strings.HasPrefix(r.Version(), "2.1") && r.Version() < "2.16" || strings.HasPrefix(r.Version(), "2.0.") {
			return nil
		}
		t.Fatal(err, r.Err())
	}
	text, err := os.ReadFile(filepath.Join(r.Dir(), name))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := bytes.Cut(text, []byte("Hot pages:\n"))
	if !found {
		t.Fatalf("%s names no hot pages", name)
	}
	l := &listed{make(map[uint64]bool), make(map[uint64]bool), make(map[uint64]bool)}
	to := l.kept
	for line := range bytes.Lines(text) {
		address, index := bytes.CutSuffix(bytes.TrimSpace(line), []byte(" (index)"))
		page, err := strconv.ParseUint(strings.TrimPrefix(string(address), "0x"), 16, 64)
		switch {
		case string(address) == "Cold pages:":
			to = l.cold
		case err != nil:
			return l
		case index:
			l.index[page] = true
		default:
			to[page] = true
		}
	}
	return l
}

// compareDump compares the lists page by page. Which pages are at the top of a
// list of kept ones changes with each command.
func (r *running) compareDump(t *testing.T, phase string, p *Pages) {
	t.Helper()
	l := r.dump(t, phase)
	if l == nil {
		return
	}
	differ := func(pages []uint64, in map[uint64]bool) (missing, more int) {
		both := 0
		for _, page := range pages {
			if in[page] {
				both++
			}
		}
		return len(in) - both, len(pages) - both
	}
	missing, more := differ(p.Kept, l.kept)
	if missing > 2*commandPages || r.bird.Generation == bird.BIRD2 && more > 2*commandPages {
		t.Errorf("%s: of %d kept pages, %d are missing, %d are not in the dump", phase, len(p.Kept), missing, more)
	}
	t.Logf("%-8s dump: %d kept, %d missing, %d more", phase, len(l.kept), missing, more)
	if missing, more := differ(p.Cold, l.cold); missing+more > 0 {
		t.Errorf("%s: of %d cold pages, %d are missing, %d are not in the dump", phase, len(p.Cold), missing, more)
	}
	if missing, more := differ(p.Index, l.index); missing+more > 0 {
		t.Errorf("%s: of %d index pages, %d are missing, %d are not in the dump", phase, len(p.Index), missing, more)
	}
}
