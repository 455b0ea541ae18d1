// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"leakprof/bpf"
	"leakprof/profiler/target"
	"leakprof/profiler/unwind"
)

// unwinder keeps the modules of a process with their unwind tables. Modules
// that the process unmaps stay known, for the stacks taken before.
type unwinder struct {
	process *target.Process

	mu      sync.Mutex
	modules []*target.Module
	tables  map[*target.Module]*unwind.Table
	known   map[area]bool
	mapped  []bpf.Area // what is mapped now, of modules alone
	// unreadable says which files have no rows, and why.
	unreadable []error
}

// area identifies an executable mapping.
type area struct{ start, end, inode uint64 }

func newUnwinder(p *target.Process) *unwinder {
	return &unwinder{process: p, tables: make(map[*target.Module]*unwind.Table), known: make(map[area]bool)}
}

// refresh reads the mappings and says whether there is an executable one that
// was not known.
func (u *unwinder) refresh() (changed bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	mappings, err := u.process.Mappings()
	if err != nil {
		return false, err
	}
	for _, m := range mappings {
		// The kernel's own area for return probes is no ELF file.
		if m.Exec && m.Path != "[uprobes]" && m.Path != "[vsyscall]" && !u.known[area{m.Start, m.End, m.Inode}] {
			changed = true
		}
	}
	if !changed {
		return false, nil
	}
	modules, err := u.process.Modules()
	if err != nil {
		return false, err
	}
	var mapped []bpf.Area
	for _, m := range modules {
		if k := u.find(m); k != nil {
			mapped = append(mapped, executable(m, u.tables[k])...)
			m.Close()
			continue
		}
		table, err := unwind.NewTable(m.ELF)
		if err != nil {
			// No reason to give up: stacks that go through this file are cut,
			// and each is counted.
			table = &unwind.Table{}
			u.unreadable = append(u.unreadable, fmt.Errorf("read unwind rows of %s: %w", m.Path, err))
		}
		u.modules = append(u.modules, m)
		u.tables[m] = table
		mapped = append(mapped, executable(m, table)...)
	}
	u.mapped = mapped
	u.known = make(map[area]bool)
	for _, m := range mappings {
		if m.Exec {
			u.known[area{m.Start, m.End, m.Inode}] = true
		}
	}
	return true, nil
}

// find returns the known module that is m, mapped at the same place, or nil.
func (u *unwinder) find(m *target.Module) *target.Module {
	for _, k := range u.modules {
		if k.Path == m.Path && k.Bias == m.Bias && len(k.Areas) > 0 && k.Areas[0].Inode == m.Areas[0].Inode {
			return k
		}
	}
	return nil
}

func executable(m *target.Module, table *unwind.Table) (all []bpf.Area) {
	for _, a := range m.Areas {
		if a.Exec {
			all = append(all, bpf.Area{Start: a.Start, End: a.End, Bias: m.Bias, Table: table})
		}
	}
	return all
}

// areas returns what is mapped now. Modules that were unmapped are not in it:
// another one may be where they were.
func (u *unwinder) areas() []bpf.Area {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.mapped)
}

// Modules returns all modules, in the order in which they were found.
func (u *unwinder) Modules() []*target.Module {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*target.Module(nil), u.modules...)
}

// Unreadable says which files have no unwind rows, and why.
func (u *unwinder) Unreadable() []error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]error(nil), u.unreadable...)
}

// note adds an error that stacks through some file suffer from, once.
func (u *unwinder) note(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, known := range u.unreadable {
		if known.Error() == err.Error() {
			return
		}
	}
	u.unreadable = append(u.unreadable, err)
}

func (u *unwinder) close() error {
	var errs []error
	for _, m := range u.Modules() {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
