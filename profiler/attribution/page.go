// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"cmp"
	"slices"

	"leakprof/bpf"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/reachability"
)

// amount is how much a sample has.
type amount struct{ objects, bytes, empty, slack uint64 }

// sampleKey is what the blocks of one sample have in common.
type sampleKey struct {
	stack, mark uint32
	kind        kindName
	bucket      uint64
	size        uint64 // with Options.ByKind, of what has no stack
	reach       reachability.Class
}

// sum is a sample while it grows.
type sum struct {
	Sample
	some []uint64 // addresses of a few of its objects
}

// someObjects is of how many objects of a sample it is asked who holds them.
const someObjects = 16

// sums adds up what is alike.
type sums struct {
	a        *Attributor
	snapshot *live.Snapshot
	reach    *reachability.Result // nil: nobody looked
	byKey    map[sampleKey]*sum
}

func newSums(a *Attributor, s *live.Snapshot, reach *reachability.Result) *sums {
	return &sums{a, s, reach, make(map[sampleKey]*sum)}
}

// add adds a block, page or object that lies at an address, and is so long.
func (s *sums) add(address uint64, stack, mark uint32, k kind, size uint64, n amount) {
	class := reachability.NotLive
	if s.reach != nil {
		if class = s.reach.ClassOf(address); class == reachability.NotLive {
			class = reachability.Unknown // it came after the look
		}
	}
	s.addAs(class, address, stack, mark, k, size, n)
}

func (s *sums) addAs(class reachability.Class, address uint64, stack, mark uint32, k kind, size uint64, n amount) {
	if f := s.a.options.Mark; f != nil {
		mark = f(mark)
	}
	key := sampleKey{stack: stack, mark: mark, kind: k.kindName, bucket: sizeBucket(size), reach: class}
	byKind := s.a.options.ByKind && isNoStack(stack)
	if byKind {
		key.stack, key.size = bpf.StackNone, size
	}
	t := s.byKey[key]
	if t == nil {
		t = &sum{Sample: Sample{
			Mark: int(mark), Allocator: k.allocator, Class: k.class, Pool: k.pool, SizeBucket: key.bucket, Reach: class,
		}}
		if byKind {
			// When it was allocated nobody knows either.
			t.Stack, t.Mark = s.a.kindStack(k.kindName, size), NoMark
		} else {
			t.Stack = s.a.stackOf(stack, s.snapshot)
		}
		s.byKey[key] = t
	}
	t.Objects += n.objects
	t.Bytes += n.bytes
	t.Empty += n.empty
	t.Slack += n.slack
	// The first few, and then ever fewer: those of a long list are not all alike.
	if len(t.some) < someObjects/2 || len(t.some) < someObjects && t.Objects&(t.Objects-1) == 0 {
		t.some = append(t.some, address)
	}
}

func (s *sums) samples() []Sample {
	all := make([]Sample, 0, len(s.byKey))
	var keepers *reachability.Keepers
	if s.reach != nil {
		keepers = s.reach.Keepers()
	}
	for _, t := range s.byKey {
		if t.Reach == reachability.Held || t.Reach == reachability.Unknown {
			t.Holders = s.holders(keepers, t.some)
		}
		all = append(all, t.Sample)
	}
	slices.SortFunc(all, func(x, y Sample) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Stack.Key, y.Stack.Key), cmp.Compare(x.Mark, y.Mark), cmp.Compare(x.Class, y.Class), cmp.Compare(x.Pool, y.Pool), cmp.Compare(x.SizeBucket, y.SizeBucket), cmp.Compare(x.Reach, y.Reach), cmp.Compare(x.Allocator, y.Allocator))
	})
	return all
}

// addPage charges a page to the objects on it, or to who took it.
func (a *Attributor) addPage(s *sums, h *Heap, b live.Block, k kind, t *tree.Tree) {
	switch page := k.page; {
	case page.Used > 0 && a.options.Objects[page.Class]:
		a.addObjects(s, h, b, k)
	case page.Class == linpoolClass && a.options.LinpoolObjects:
		a.addLinpoolObjects(s, h, b, k, t)
	default:
		s.add(b.Address, b.Stack, uint32(b.Mark), k, b.Size, amount{1, b.Size, 0, min(page.Free, b.Size)})
	}
}

// addObjects charges a slab's page to its live objects in equal shares: any of
// them alone would keep the page.
func (a *Attributor) addObjects(s *sums, h *Heap, b live.Block, k kind) {
	page := k.page
	slots := s.snapshot.Slots.Of(b.Address)
	used := uint64(page.Used)
	slack := min(page.Free, b.Size)
	var n uint64
	for object := range page.Objects() {
		if n >= used {
			break
		}
		stack, mark := slots.At(object - b.Address)
		if stack == bpf.StackNone && !a.options.ByKind {
			if stack, mark = bpf.StackBefore, uint32(b.Mark); b.Stack != bpf.StackBefore {
				stack = bpf.StackNone
				h.Unseen++
			}
		}
		s.add(object, stack, mark, k, page.ObjectSize, amount{1, share(b.Size, used, n), 0, share(slack, used, n)})
		n++
	}
	// The bitmap and the count were read at different moments.
	if n < used {
		var rest, restSlack uint64
		for i := n; i < used; i++ {
			rest += share(b.Size, used, i)
			restSlack += share(slack, used, i)
		}
		class := reachability.NotLive
		if s.reach != nil {
			class = reachability.Unknown // nobody knows which they are
		}
		s.addAs(class, b.Address, b.Stack, uint32(b.Mark), k, b.Size, amount{used - n, rest, 0, restSlack})
	}
}

// share is the part of total that number i of n gets: together they get it all.
func share(total, n, i uint64) uint64 {
	if i < total%n {
		return total/n + 1
	}
	return total / n
}

// addLinpoolObjects charges a linpool's page to the objects in use on it, by
// their size; the rest of it to who took the page.
func (a *Attributor) addLinpoolObjects(s *sums, h *Heap, b live.Block, k kind, t *tree.Tree) {
	slack := min(k.page.Free, b.Size)
	end := b.Address + b.Size
	rest := b.Size
	objects := liveLinpoolObjects(s.snapshot.LinpoolObjects, b.Address, end, func(a uint64) bool {
		alive, ok := t.LinpoolLive(a)
		return alive && ok
	})
	for i, o := range objects {
		size := uint64(o.Size)
		if i+1 < len(objects) {
			// What is lost for the alignment of the next.
			if gap := objects[i+1].Address - o.Address - size; gap < linpoolAlignment {
				size += gap
			}
		}
		size = min(size, end-o.Address, rest)
		s.add(o.Address, o.Stack, o.Mark, k, uint64(o.Size), amount{objects: 1, bytes: size})
		rest -= size
	}
	slack = min(slack, rest)
	h.Unrecorded += rest - min(rest, slack+t.Layout.ChunkHeader)
	s.add(b.Address, b.Stack, uint32(b.Mark), k, b.Size, amount{1, rest, 0, slack})
}

// linpoolAlignment is that of objects in a linpool: CPU_STRUCT_ALIGN (BIRD's
// lib/birdlib.h, 2.13 to 3.3.2), bytes.
const linpoolAlignment = 16

// liveLinpoolObjects returns the objects in use from start to end; inUse says
// whether the linpool has the memory at an address in use. Where a
// linpool was flushed or restored, and used again but not as far, records of
// before lie behind younger ones: in one chunk a live object is younger than
// those below it.
func liveLinpoolObjects(all []live.LinpoolObject, start, end uint64, inUse func(uint64) bool) []live.LinpoolObject {
	i, _ := slices.BinarySearchFunc(all, start, func(o live.LinpoolObject, a uint64) int { return cmp.Compare(o.Address, a) })
	var found []live.LinpoolObject
	for ; i < len(all) && all[i].Address < end; i++ {
		o := all[i]
		if !inUse(o.Address) {
			continue
		}
		if n := len(found); n > 0 && o.Time < found[n-1].Time {
			continue
		}
		// What a younger object covers is gone.
		for n := len(found); n > 0 && found[n-1].Address+uint64(found[n-1].Size) > o.Address; n-- {
			found = found[:n-1]
		}
		found = append(found, o)
	}
	return found
}
