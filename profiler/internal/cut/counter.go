// SPDX-License-Identifier: Apache-2.0

package cut

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"leakprof/profiler/target"
)

// Counter counts how often calls are made in a process.
type Counter struct {
	counts  *ebpf.Map
	program *ebpf.Program
	link    link.Link
	sites   int
}

// Count begins to count in all threads of a process. The sites are calls in m.
func Count(pid int, m *target.Module, sites []Site) (*Counter, error) {
	c := &Counter{sites: len(sites)}
	if err := c.attach(pid, m, sites); err != nil {
		return nil, errors.Join(fmt.Errorf("count calls: %w", err), c.Close())
	}
	return c, nil
}

func (c *Counter) attach(pid int, m *target.Module, sites []Site) (err error) {
	c.counts, err = ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(len(sites)),
	})
	if err != nil {
		return err
	}
	c.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Kprobe, AttachType: ebpf.AttachTraceUprobeMulti, License: "Dual BSD/GPL",
		Instructions: countInstructions(c.counts),
	})
	if err != nil {
		return err
	}
	path, err := m.AttachPath()
	if err != nil {
		return err
	}
	exe, err := link.OpenExecutable(path)
	if err != nil {
		return err
	}
	o := &link.UprobeMultiOptions{PID: uint32(pid)}
	for i, s := range sites {
		offset, err := m.FileOffset(s.Address)
		if err != nil {
			return err
		}
		o.Addresses = append(o.Addresses, offset)
		o.Cookies = append(o.Cookies, uint64(i))
	}
	c.link, err = exe.UprobeMulti(nil, c.program, o)
	return err
}

// countInstructions add one to the count that the probe's cookie names.
func countInstructions(counts *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.FnGetAttachCookie.Call(),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	}
}

// Read returns how often each site was passed so far, in the order of Count's
// sites.
func (c *Counter) Read() ([]uint64, error) {
	counts := make([]uint64, c.sites)
	for i := range counts {
		if err := c.counts.Lookup(uint32(i), &counts[i]); err != nil {
			return nil, fmt.Errorf("read count: %w", err)
		}
	}
	return counts, nil
}

// Close removes the probes.
func (c *Counter) Close() error {
	var errs []error
	if c.link != nil {
		errs = append(errs, c.link.Close())
	}
	if c.program != nil {
		errs = append(errs, c.program.Close())
	}
	if c.counts != nil {
		errs = append(errs, c.counts.Close())
	}
	return errors.Join(errs...)
}
