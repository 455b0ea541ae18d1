// SPDX-License-Identifier: Apache-2.0

// Package cut makes a healthy BIRD leak: it takes one release of memory out of
// a process, one call of rfree or sl_free say, so that a test knows of a leak
// that is there because it was made.
//
// A call is cut by changing where it leads, in the process's memory: to a few
// instructions that count it, note its argument, and return. They lie behind the
// end of the program's code, in its last page, and what they write behind the
// end of its data. A function is cut as a whole by a jump to them at its entry.
//
// A uprobe takes its instruction from the file, so one on a changed byte undoes
// the cut; and a cut behind a probe has leakprof record a release that never
// happens. Hence a cut shares no byte with a probe and lies before all that
// would tell of the release; Apply refuses the first, and Holds says whether the
// bytes are still there.
package cut

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// Arguments are kept in a ring as large as there is room for, a power of two:
// Debian's BIRD 2.20.0 has 560 bytes behind its data, its 3.1.7 nearly 3 KB.
const minRing, maxRing = 16, 256

// Cut is a call that leads nowhere, or a function that does nothing.
type Cut struct {
	Site     Site
	process  *target.Process
	at       uint64 // of the call, in the process
	want     []byte // what is there now
	recorder uint64
	code     []byte
	count    uint64 // address of the count, the ring behind it
	ring     uint64 // how many arguments it holds
}

// Apply makes a cut in the program m of a process that does not run yet.
// Probes are those that are placed or will be.
func Apply(p *target.Process, m *target.Module, s Site, probes []plan.Site) (*Cut, error) {
	if err := s.Probed(m, probes); err != nil {
		return nil, fmt.Errorf("cut %s: %w", s, err)
	}
	c := &Cut{Site: s, process: p}
	if err := c.apply(m); err != nil {
		return nil, fmt.Errorf("cut %s: %w", s, err)
	}
	return c, nil
}

// longest is how many bytes an instruction has at most (Intel SDM vol. 2, 2.3.11).
const longest = 15

// Probed says, by an error, that a site of m shares bytes with a probe: that it
// cannot be cut.
func (s Site) Probed(m *target.Module, probes []plan.Site) error {
	for _, p := range probes {
		at := p.Address + p.Offset
		if p.Module.Path == m.Path && at < s.Address+callLength && s.Address < at+longest {
			return fmt.Errorf("the probe of %s lies there, at %#x", p.Function, at)
		}
	}
	return nil
}

func (c *Cut) apply(m *target.Module) error {
	code, data, ring, err := room(m)
	if err != nil {
		return err
	}
	c.ring = ring
	c.recorder, c.count = code+m.Bias, data+m.Bias
	c.code = recorder(code, data, ring)
	c.at = c.Site.Address + m.Bias
	c.want = c.Site.leadingTo(code)

	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.process.PID), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	for _, w := range []struct {
		at   uint64
		old  []byte
		data []byte
	}{
		{c.recorder, make([]byte, len(c.code)), c.code},
		{c.count, make([]byte, 8*(1+ring)), nil},
		{c.at, c.Site.code[:], c.want},
	} {
		old := make([]byte, len(w.old))
		if _, err := mem.ReadAt(old, int64(w.at)); err != nil {
			return fmt.Errorf("read %#x: %w", w.at, err)
		}
		if !bytes.Equal(old, w.old) {
			return fmt.Errorf("something else is at %#x already", w.at)
		}
		if _, err := mem.WriteAt(w.data, int64(w.at)); err != nil {
			return fmt.Errorf("write %#x: %w", w.at, err)
		}
	}
	return nil
}

// Holds says, by an error, that the cut has been undone.
func (c *Cut) Holds() error {
	for _, w := range []struct {
		at   uint64
		want []byte
	}{{c.at, c.want}, {c.recorder, c.code}} {
		now := make([]byte, len(w.want))
		if _, err := c.process.ReadAt(now, int64(w.at)); err != nil {
			return fmt.Errorf("read cut %s: %w", c.Site, err)
		}
		if !bytes.Equal(now, w.want) {
			return fmt.Errorf("cut %s is undone: %x at %#x, want %x", c.Site, now, w.at, w.want)
		}
	}
	return nil
}

// Withheld says how often the cut was passed so far, and the arguments of the
// last few times, in no order: what was not released.
func (c *Cut) Withheld() (count uint64, arguments []uint64, err error) {
	words := make([]byte, 8*(1+c.ring))
	if _, err := c.process.ReadAt(words, int64(c.count)); err != nil {
		return 0, nil, fmt.Errorf("read what cut %s withheld: %w", c.Site, err)
	}
	count = binary.LittleEndian.Uint64(words)
	for i := range min(count, c.ring) {
		arguments = append(arguments, ^binary.LittleEndian.Uint64(words[8*(1+i):]))
	}
	return count, arguments, nil
}

// recorder is the code that calls are led to, at address, with its count and
// ring at data, both ELF virtual addresses. It changes no register but the
// flags: within a file compilers know which ones a function leaves alone
// (gcc's -fipa-ra). The arguments are kept as their complement, so that nothing
// that looks for pointers takes them for one.
func recorder(address, data, ring uint64) []byte {
	var b []byte
	relative := func(to uint64) {
		b = binary.LittleEndian.AppendUint32(b, uint32(to-(address+uint64(len(b))+4)))
	}
	b = append(b, 0x50, 0x51, 0x57)             // push rax, rcx, rdi
	b = append(b, 0xb8, 1, 0, 0, 0)             // mov eax, 1
	b = append(b, 0xf0, 0x48, 0x0f, 0xc1, 0x05) // lock xadd [count], rax
	relative(data)
	b = append(b, 0x25) // and eax, ring-1
	b = binary.LittleEndian.AppendUint32(b, uint32(ring-1))
	b = append(b, 0x48, 0x8d, 0x0d) // lea rcx, [ring]
	relative(data + 8)
	b = append(b, 0x48, 0xf7, 0xd7)       // not rdi
	b = append(b, 0x48, 0x89, 0x3c, 0xc1) // mov [rcx+8*rax], rdi
	return append(b, 0x5f, 0x59, 0x58, 0xc3)
}

// room finds where the recorder and its data have room: pages are mapped whole,
// and what is behind the end of the code and of the data is nobody's.
func room(m *target.Module) (code, data, ring uint64, err error) {
	pageSize := uint64(os.Getpagesize())
	for _, p := range m.ELF.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		end := (p.Vaddr + p.Memsz + 15) &^ 15
		left := -end & (pageSize - 1)
		switch {
		case p.Flags&elf.PF_X != 0 && left >= uint64(len(recorder(0, 0, 0))):
			code = end
		case p.Flags&elf.PF_W != 0 && left >= 8*(1+minRing):
			data = end
			for ring = minRing; ring < maxRing && left >= 8*(1+2*ring); {
				ring *= 2
			}
		}
	}
	if code == 0 || data == 0 {
		return 0, 0, 0, errors.New("no room behind the program's code or data")
	}
	return code, data, ring, nil
}
