// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/target"
)

// descriptorBytes is at least the length of struct pthread (nptl/descr.h of
// glibc), at the thread pointer.
const descriptorBytes = 4096

// threads adds the stacks and the thread-local storage of all threads to the
// roots.
func (l *look) threads(r *reach) error {
	mappings, err := l.process.Mappings()
	if err != nil {
		return err
	}
	mapping := func(address uint64) (target.Mapping, bool) {
		i := slices.IndexFunc(mappings, func(m target.Mapping) bool { return address >= m.Start && address < m.End })
		if i < 0 {
			return target.Mapping{}, false
		}
		return mappings[i], true
	}
	pointers, ended, err := pagecache.ThreadPointers(l.process)
	if err != nil {
		return err
	}
	// With the stack of a thread that has ended the C library keeps the vector of
	// its thread-local storage: the second word of the descriptor (tcbhead_t).
	for _, pointer := range ended {
		r.roots = append(r.roots, root{span: span{pointer + 8, pointer + 16}, ended: true})
	}
	for id, pointer := range pointers {
		at, ok := mapping(pointer)
		sp, values, err := l.waits(id)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it has ended
		case err != nil:
			return err
		}
		if pointer == 0 || !ok {
			r.missing = append(r.missing, id)
		} else {
			local := span{max(at.Start, pointer-l.localBytes()), min(at.End, pointer+descriptorBytes)}
			r.roots = append(r.roots, root{span: local, thread: id, local: true})
		}
		if sp != 0 {
			r.waiting++
			if m, ok := mapping(sp); ok {
				r.roots = append(r.roots, root{span: span{sp &^ 7, stackEnd(m, pointer)}, thread: id, values: values})
			}
			continue
		}
		r.running = append(r.running, id)
		if m, ok := stackOf(mappings, id == l.process.PID, at); ok {
			r.roots = append(r.roots, root{span: span{max(m.Start, m.End-min(m.End, maxRoot)), stackEnd(m, pointer)}, thread: id, dead: true})
		}
	}
	return nil
}

// stackEnd returns where the stack in the mapping ends: that of a thread that
// the program made ends with the thread's descriptor.
func stackEnd(m target.Mapping, pointer uint64) uint64 {
	if pointer >= m.Start && pointer < m.End {
		return min(m.End, pointer+descriptorBytes)
	}
	return m.End
}

// stackOf returns the mapping with the stack of a thread of which only the
// thread pointer is known, in the mapping at.
func stackOf(mappings []target.Mapping, first bool, at target.Mapping) (target.Mapping, bool) {
	if !first {
		return at, at.End > at.Start
	}
	i := slices.IndexFunc(mappings, func(m target.Mapping) bool { return m.Path == "[stack]" })
	if i < 0 {
		return target.Mapping{}, false
	}
	return mappings[i], true
}

// waits returns the stack pointer of a thread that waits in the kernel, and the
// arguments of its system call, from /proc/PID/task/TID/syscall
// (proc_pid_syscall(5)); sp is 0 of one that runs.
func (l *look) waits(id int) (sp uint64, values []uint64, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.process.PID), "task", strconv.Itoa(id), "syscall"))
	if err != nil {
		return 0, nil, fmt.Errorf("read what thread %d does: %w", id, err)
	}
	return parseSyscall(string(b))
}

// parseSyscall parses "running", "-1 SP PC", or the number of a system call and
// its six arguments before those two. Of the arguments the first three are
// returned: no call in which BIRD waits takes a pointer to its memory in another,
// and registers that a call does not use are left over from before.
func parseSyscall(line string) (sp uint64, values []uint64, err error) {
	f := strings.Fields(line)
	if len(f) == 0 || f[0] == "running" {
		return 0, nil, nil
	}
	if len(f) != 3 && len(f) != 9 {
		return 0, nil, fmt.Errorf("parse system call %q: unknown format", strings.TrimSpace(line))
	}
	for _, s := range f[1:] {
		v, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			return 0, nil, fmt.Errorf("parse system call %q: unknown format", strings.TrimSpace(line))
		}
		values = append(values, v)
	}
	if len(f) == 3 {
		return values[0], nil, nil
	}
	return values[6], values[:3], nil
}

// localBytes bounds the thread-local storage of the modules that were there from
// the start, which lies before the thread pointer (variant II of the ELF TLS
// ABI, as x86-64 has it).
func (l *look) localBytes() uint64 {
	sum := uint64(64)
	for _, m := range l.modules {
		for _, s := range m.ELF.Progs {
			if s.Type == elf.PT_TLS && s.Memsz <= maxRoot {
				sum += s.Memsz + max(s.Align, 8)
			}
		}
	}
	return (sum + 63) &^ 63
}
