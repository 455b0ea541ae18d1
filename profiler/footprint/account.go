// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"leakprof/profiler/glibc"
	"leakprof/profiler/target"
)

const pageSize = 4096

// area is a mapping.
type area struct {
	target.Usage
	// residence is known of anonymous memory, which mixes parts.
	residence *target.Residence
	name      Name // of what no other part claims
	claimed   uint64
}

// account adds up the parts.
type account struct {
	areas    []area
	resident map[Name]uint64
	totals   map[Name]uint64
	doubtful map[Name]bool
	notes    []string
	claims   []claim // pages, in the order of their addresses
	rest     int64   // bytes that are no part's
}

// claim is a page that belongs to a part.
type claim struct {
	page uint64
	name Name
}

func newAccount(p *target.Process, usage []target.Usage) (*account, error) {
	a := &account{
		areas:    classify(usage, p.Exe, stackPointers(p.PID)),
		resident: make(map[Name]uint64),
		totals:   make(map[Name]uint64),
		doubtful: map[Name]bool{LibcFree: true, UnlistedPages: true},
	}
	for i := range a.areas {
		m := &a.areas[i]
		if !anonymous(m.Usage) || m.RSS == 0 {
			continue
		}
		var err error
		if m.residence, err = p.Residence(m.Usage); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func anonymous(u target.Usage) bool {
	return u.Inode == 0 && (u.Path == "" || u.Path == "[heap]" || strings.HasPrefix(u.Path, "[anon:"))
}

// classify says to which part a mapping belongs, for all of it that nothing
// else claims.
func classify(usage []target.Usage, exe string, stacks []uint64) []area {
	code := make(map[[2]uint64]bool) // files with code, by device and inode
	for _, u := range usage {
		if u.Inode != 0 && u.Exec {
			code[[2]uint64{u.Device, u.Inode}] = true
		}
	}
	areas := make([]area, len(usage))
	for i, u := range usage {
		m := area{Usage: u, name: Anonymous}
		switch {
		case u.Inode != 0 && u.Path == exe:
			m.name = ProgramText
			if u.Write {
				m.name = ProgramData
			}
		case u.Inode != 0 && code[[2]uint64{u.Device, u.Inode}]:
			m.name = LibraryText
			if u.Write {
				m.name = LibraryData
			}
		case u.Inode != 0:
			m.name = MappedFiles
		case u.Path == "[stack]" || slices.ContainsFunc(stacks, func(sp uint64) bool { return sp >= u.Start && sp < u.End }):
			m.name = Stacks
		case strings.HasPrefix(u.Path, "[vdso") || strings.HasPrefix(u.Path, "[vvar") || u.Path == "[vsyscall]":
			m.name = VDSO
		case strings.HasPrefix(u.Path, "[uprobes"):
			m.name = ProbePages
		case u.Path == "" && u.Write && i > 0 && areas[i-1].End == u.Start &&
			(areas[i-1].name == ProgramData || areas[i-1].name == LibraryData) && areas[i-1].Inode != 0:
			m.name = areas[i-1].name // .bss, behind .data
		}
		areas[i] = m
	}
	return areas
}

// stackPointers returns where the stacks are of those threads that wait in the
// kernel (proc_pid_syscall(5)); one that runs does not tell.
func stackPointers(pid int) (all []uint64) {
	paths, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "[0-9]*", "syscall"))
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// Number, six arguments, stack pointer, program counter; outside of a
		// system call -1, and the last two.
		fields := strings.Fields(string(b))
		if len(fields) < 3 {
			continue
		}
		if sp, err := strconv.ParseUint(strings.TrimPrefix(fields[len(fields)-2], "0x"), 16, 64); err == nil {
			all = append(all, sp)
		}
	}
	return all
}

func (a *account) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

func (a *account) estimate(names ...Name) {
	for _, n := range names {
		a.doubtful[n] = true
	}
}

// area returns the mapping that holds addr, or nil.
func (a *account) area(addr uint64) *area {
	i, _ := slices.BinarySearchFunc(a.areas, addr, func(m area, addr uint64) int {
		if m.End <= addr {
			return -1
		}
		return 1
	})
	if i == len(a.areas) || addr < a.areas[i].Start {
		return nil
	}
	return &a.areas[i]
}

// add counts what is resident from start to before end, and returns it.
func (a *account) add(name Name, start, end uint64) (n uint64) {
	for start < end {
		m := a.area(start)
		if m == nil {
			return n
		}
		next := min(end, m.End)
		if m.residence != nil {
			bytes := m.residence.Bytes(start, next)
			m.claimed += bytes
			n += bytes
		}
		start = next
	}
	a.resident[name] += n
	return n
}

// pages counts the pages. One that is in two lists counts where it is first.
func (a *account) pages(in Input) {
	for _, l := range []struct {
		name  Name
		pages []uint64
	}{{LivePages, in.Pages}, {KeptPages, in.Kept}, {ColdPages, in.Cold}, {IndexPages, in.Index}} {
		for _, p := range l.pages {
			a.claims = append(a.claims, claim{p, l.name})
		}
		a.totals[l.name] = uint64(len(l.pages)) * pageSize
	}
	slices.SortStableFunc(a.claims, func(x, y claim) int { return cmp.Compare(x.page, y.page) })
	a.claims = slices.CompactFunc(a.claims, func(x, y claim) bool { return x.page == y.page })
	for _, c := range a.claims {
		a.add(c.name, c.page, c.page+pageSize)
	}
}

func (a *account) isPage(addr uint64) bool {
	_, found := slices.BinarySearchFunc(a.claims, addr, func(c claim, addr uint64) int { return cmp.Compare(c.page, addr) })
	return found
}

// blocks counts the chunks of the heap, with what of each was asked for.
func (a *account) blocks(in Input, heap *glibc.Heap) {
	blocks := in.Blocks
	for _, b := range blocks {
		a.totals[LiveBlocks] += b.Size
	}
	if heap == nil {
		for _, b := range blocks {
			a.block(b, b.Address-8, b.Address-8+chunkSize(b.Size))
		}
		return
	}
	inRegions := make(map[*region]uint64)
	regions := regionsOf(heap)
	stray := 0
	for c := range heap.Chunks() {
		for len(blocks) > 0 && blocks[0].Address < c.Address() {
			stray++
			blocks = blocks[1:]
		}
		start, end := c.Extent()
		if c.Mapped() && a.isPage(start) {
			continue // a page of BIRD's whose content looks like a header
		}
		var n uint64
		switch {
		case len(blocks) > 0 && blocks[0].Address == c.Address():
			n = a.block(blocks[0], start, end)
			blocks = blocks[1:]
		case c.State() == glibc.InUse:
			n = a.add(OtherBlocks, start, end)
		case c.State() == glibc.Own:
			n = a.add(LibcOwn, start, end)
		default:
			n = a.add(LibcFree, start, end)
		}
		if r := regions.find(start); r != nil {
			inRegions[r] += n
		}
	}
	if stray += len(blocks); stray > 0 {
		a.note("%d live blocks are no chunks of the heap: they were freed meanwhile, or are not malloc's", stray)
		a.estimate(LiveBlocks)
	}
	// Arenas and the heads of heaps lie beside the chunks.
	for i := range regions {
		r := &regions[i]
		if m := a.area(r.start); m != nil && m.residence != nil {
			rest := a.bytes(r.start, r.end)
			rest -= min(rest, inRegions[r])
			a.resident[LibcOwn] += rest
			m.claimed += rest
		}
	}
}

// bytes returns how many bytes from start to before end are resident.
func (a *account) bytes(start, end uint64) (n uint64) {
	for m := a.area(start); m != nil && m.residence != nil && start < end; m = a.area(start) {
		n += m.residence.Bytes(start, min(end, m.End))
		start = m.End
	}
	return n
}

// block counts a live block in the chunk from start to before end.
func (a *account) block(b Block, start, end uint64) uint64 {
	from := min(max(b.Address, start), end)
	to := min(from+b.Size, end)
	return a.add(BlockOverhead, start, from) + a.add(LiveBlocks, from, to) + a.add(BlockOverhead, to, end)
}

// chunkSize is request2size of glibc's malloc on x86-64: how much a block takes,
// in bytes.
func chunkSize(size uint64) uint64 { return max((size+8+15)&^15, 32) }

type region struct{ start, end uint64 }

type regionList []region

func regionsOf(heap *glibc.Heap) (all regionList) {
	for start, end := range heap.Regions() {
		all = append(all, region{start, end})
	}
	return all
}

func (l regionList) find(addr uint64) *region {
	i, _ := slices.BinarySearchFunc(l, addr, func(r region, addr uint64) int {
		if r.end <= addr {
			return -1
		}
		return 1
	})
	if i == len(l) || addr < l[i].start {
		return nil
	}
	return &l[i]
}

// mappings counts what is left of each mapping.
func (a *account) mappings(walked bool) {
	for i := range a.areas {
		m := &a.areas[i]
		name, left := m.name, int64(m.RSS)-int64(m.claimed)
		switch {
		case left < 0:
			a.rest += left
			continue
		case m.Path == "[heap]" && walked:
			a.rest += left
			continue
		case m.Path == "[heap]":
			name = LibcFree
		case m.Inode != 0 && m.Exec && !m.Write:
			// A probe replaces an instruction in a copy of its page.
			a.resident[ProbedText] += m.Anonymous
			left -= int64(m.Anonymous)
		case m.Inode != 0 && !m.Write && m.name != MappedFiles:
			// What the loader wrote and then made read-only.
			data := ProgramData
			if m.name == LibraryText {
				data = LibraryData
			}
			a.resident[data] += m.Anonymous
			left -= int64(m.Anonymous)
		case m.name == Stacks && m.claimed > 0:
			a.estimate(Stacks)
		}
		a.resident[name] += uint64(max(left, 0))
		a.rest += min(left, 0)
	}
}

// unlisted counts n pages that are somewhere in anonymous memory. They were
// written to, so they are resident.
func (a *account) unlisted(n uint64) {
	a.totals[UnlistedPages] = n * pageSize
	bytes := min(n*pageSize, a.resident[Anonymous])
	a.resident[Anonymous] -= bytes
	a.resident[UnlistedPages] = bytes
	if n > 0 {
		a.estimate(Anonymous)
	}
}

func (a *account) finish() *Footprint {
	f := &Footprint{Remainder: a.rest, Notes: a.notes}
	for _, m := range a.areas {
		f.RSS += m.RSS
		f.Swap += m.Swap
	}
	for _, t := range titles {
		f.Parts = append(f.Parts, Part{
			Name: t.name, Title: t.title,
			Bytes: a.resident[t.name], Total: a.totals[t.name],
			Estimate: a.doubtful[t.name],
		})
	}
	return f
}
