// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"debug/elf"
	"strings"

	"golang.org/x/sys/unix"

	"leakprof/profiler/target"
)

// root is memory that is not allocated, and that holds what it points at.
type root struct {
	span
	module  *target.Module // whose variables it is, or nil
	library bool           // it is the C library's
	thread  int            // whose stack or thread-local storage it is, or 0
	local   bool           // it is thread-local storage
	ended   bool           // it is what the C library keeps of a thread that has ended
	// values are the arguments of a thread's system call: then there is no span.
	values []uint64
	// dead says that some of it may be dead: the stack of a thread that runs.
	dead bool
}

// findRoots adds the roots: the variables of the program and its libraries, and
// of each thread its stack and its thread-local storage.
func (l *look) findRoots(r *reach) error {
	for _, m := range l.modules {
		for _, s := range m.ELF.Progs {
			if s.Type != elf.PT_LOAD || s.Flags&elf.PF_W == 0 || s.Memsz > maxRoot {
				continue
			}
			start := m.Bias + s.Vaddr
			r.roots = append(r.roots, root{span: span{(start + 7) &^ 7, (start + s.Memsz) &^ 7}, module: m, library: isCLibrary(m.Name)})
		}
	}
	return l.threads(r)
}

// maxRoot bounds a root, bytes: more than any program has of variables, or of
// stack.
const maxRoot = 1 << 30

func isCLibrary(name string) bool {
	return strings.HasPrefix(name, "libc.so") || strings.HasPrefix(name, "libc-")
}

// readRoots returns what the roots point at, that by memory that may be dead
// apart.
func (l *look) readRoots(roots []root) (certain, dubious []found, err error) {
	buffer := make([]uint64, bufferBytes/8)
	for k, r := range roots {
		keep := func(address, word uint64) {
			if word-l.low >= l.size {
				return
			}
			i, ok := l.table.find(word)
			if !ok {
				return
			}
			// malloc's variables name a free chunk by its header, which begins in the
			// last 8 bytes of the block before it.
			if r.library && word+8 >= l.table.end(i) {
				return
			}
			f := found{hit{address, int32(k)}, i}
			if r.dead {
				dubious = append(dubious, f)
			} else {
				certain = append(certain, f)
			}
		}
		for _, v := range r.values {
			keep(0, v)
		}
		for _, s := range l.table.without(r.span) {
			for at := (s.start + 7) &^ 7; at+8 <= s.end; {
				n := min(s.end-at, bufferBytes) &^ 7
				unread, err := readVectors(l.process, buffer, []unix.RemoteIovec{{Base: uintptr(at), Len: int(n)}})
				if err != nil {
					return nil, nil, err
				}
				l.read.Add(n - unread)
				for i, w := range buffer[:n/8] {
					if address := at + uint64(i)*8; address < l.skip.start || address >= l.skip.end {
						keep(address, w)
					}
				}
				at += n
			}
		}
	}
	return certain, dubious, nil
}
