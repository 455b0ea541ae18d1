// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"

	"leakprof/profiler/target"
)

// thread is a thread of the process. Thread-local variables lie at fixed
// offsets from its thread pointer, 0 where that was not found.
type thread struct {
	id      int
	pointer uint64
}

// threads finds the thread pointers of a process from outside, without tracing
// it. The C library has a descriptor for each thread, at its thread pointer
// (struct pthread, nptl/descr.h of glibc). All are in lists whose heads are
// variables of the library: a node (next, prev), and behind it the thread's id, as
// its own pid namespace has it.
// A descriptor is told by its own address, which it holds at 0 and 16
// (tcbhead_t, sysdeps/x86_64/nptl/tls.h).
type threads struct {
	process *target.Process
	data    []span             // variables of the C library
	known   map[int]descriptor // by the numbers that the process knows
	// ended are the thread pointers of threads that have ended, but whose stacks
	// the library keeps for others (the stack cache of nptl/allocatestack.c, 40 MB
	// at most). They are looked for only if endedToo is set, for many words look
	// like their ids.
	ended    []uint64
	endedToo bool
}

// descriptor is where a thread's descriptor is, and where in it the thread's id;
// 0 where it was not found.
type descriptor struct{ pointer, id uint64 }

// span is a range of addresses, end exclusive.
type span struct{ start, end uint64 }

// maxEnded is how many stacks of ended threads are looked at: what 40 MB are with
// stacks of 16 kB, the smallest there may be.
const maxEnded = 2560

// maxData bounds the variables that are searched, bytes: glibc has 30 kB.
const maxData = 1 << 20

// newThreads finds where the C library has its variables: in ld.so since glibc
// 2.34, in libpthread before, in the program where it is linked statically.
func newThreads(p *target.Process) (*threads, error) {
	modules, err := p.Modules()
	if err != nil {
		return nil, err
	}
	t := &threads{process: p}
	for i, m := range modules {
		defer m.Close()
		if i > 0 && !cLibrary(m.Name) {
			continue
		}
		for _, s := range m.ELF.Progs {
			if s.Type == elf.PT_LOAD && s.Flags&elf.PF_W != 0 && s.Memsz <= maxData {
				start := m.Bias + s.Vaddr
				t.data = append(t.data, span{(start + 7) &^ 7, start + s.Memsz})
			}
		}
	}
	return t, nil
}

func cLibrary(name string) bool {
	for _, prefix := range []string{"ld-", "ld.so", "libc.so", "libc-", "libpthread"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// list returns the threads that there are now, in the order of their ids.
func (t *threads) list() ([]thread, error) {
	list, err := t.process.ThreadList()
	if err != nil {
		return nil, err
	}
	ids := make([]int, len(list))
	for i, one := range list {
		ids[i] = one.Own
	}
	if !t.current(ids) {
		if err := t.search(ids); err != nil {
			return nil, err
		}
	}
	all := make([]thread, len(list))
	for i, one := range list {
		all[i] = thread{one.ID, t.known[one.Own].pointer}
	}
	return all, nil
}

// current says whether the descriptors of all threads are known, and are those
// of the threads still.
func (t *threads) current(ids []int) bool {
	for _, id := range ids {
		var own [8]byte
		var number [4]byte
		d := t.known[id]
		if d.pointer == 0 {
			return false
		}
		if _, err := t.process.ReadAt(own[:], int64(d.pointer)); err != nil || binary.LittleEndian.Uint64(own[:]) != d.pointer {
			return false
		}
		if _, err := t.process.ReadAt(number[:], int64(d.id)); err != nil || binary.LittleEndian.Uint32(number[:]) != uint32(id) {
			return false
		}
	}
	return true
}

// search looks for the descriptors of the threads.
func (t *threads) search(ids []int) error {
	t.known, t.ended = make(map[int]descriptor), nil
	for _, id := range ids {
		t.known[id] = descriptor{}
	}
	var nodes []uint64
	for _, s := range t.data {
		b := make([]byte, s.end-s.start)
		n, _ := t.process.ReadAt(b, int64(s.start))
		for ; n >= 8; b, n = b[8:], n-8 {
			if w := binary.LittleEndian.Uint64(b); w >= lowest && w%8 == 0 && w < highest {
				nodes = append(nodes, w)
			}
		}
	}
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	seen := make(map[uint64]bool)
	// Each round goes one step on in the lists.
	for round := 0; len(nodes) > 0 && round <= len(ids)+maxEnded+1; round++ {
		next, err := t.step(nodes, seen)
		if err != nil {
			return err
		}
		nodes = next
	}
	return nil
}

// step looks at what may be nodes in descriptors, and returns the nodes behind
// those that are.
func (t *threads) step(nodes []uint64, seen map[uint64]bool) (next []uint64, err error) {
	const size = 24 // next, prev, id
	data, ok, err := t.process.ReadBatch(nodes, size)
	if err != nil {
		return nil, err
	}
	for i, node := range nodes {
		b := data[i*size:]
		id := int(int32(binary.LittleEndian.Uint32(b[16:])))
		if _, wanted := t.known[id]; !ok[i] || !wanted && !(t.endedToo && hasEnded(id)) || seen[node] {
			continue
		}
		seen[node] = true
		if pointer, ok := t.descriptor(node); ok {
			if hasEnded(id) {
				t.ended = append(t.ended, pointer)
			} else {
				t.known[id] = descriptor{pointer, node + 16}
			}
			next = append(next, binary.LittleEndian.Uint64(b))
		}
	}
	return next, nil
}

// hasEnded says whether a descriptor's id is of no thread any more: the kernel
// clears it, and pthread_join makes it -1.
func hasEnded(id int) bool { return id == 0 || id == -1 }

// descriptor finds the descriptor that a node is in. glibc has the node at 704,
// behind room for the header that its users may rely on.
func (t *threads) descriptor(node uint64) (uint64, bool) {
	const most = 1024
	if node < most {
		return 0, false
	}
	b := make([]byte, most)
	if _, err := t.process.ReadAt(b, int64(node-most)); err != nil {
		return 0, false
	}
	for at := most - 24; at >= 0; at -= 8 {
		own := node - most + uint64(at)
		if binary.LittleEndian.Uint64(b[at:]) == own && binary.LittleEndian.Uint64(b[at+16:]) == own {
			return own, true
		}
	}
	return 0, false
}

// ThreadPointers returns the thread pointers of a process's threads by their
// ids, 0 where one was not found, and those of ended threads whose stacks, with
// what was allocated for them, the C library keeps for others.
func ThreadPointers(p *target.Process) (pointers map[int]uint64, ended []uint64, err error) {
	t, err := newThreads(p)
	if err != nil {
		return nil, nil, err
	}
	t.endedToo = true
	all, err := t.list()
	if err != nil {
		return nil, nil, err
	}
	pointers = make(map[int]uint64, len(all))
	for _, one := range all {
		pointers[one.id] = one.pointer
	}
	return pointers, t.ended, nil
}
