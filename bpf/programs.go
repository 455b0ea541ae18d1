// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the programs that keep the live set, and loads and
// attaches them. It decides nothing: the plan says where, package unwind
// what the stacks look like, package live reads what comes out.
package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"leakprof/profiler/plan"
	"leakprof/profiler/privilege"
	"leakprof/profiler/unwind"
)

// AttachMode is how probes are placed.
type AttachMode int

const (
	// AttachBest takes AttachMulti where the kernel filters it by process
	// (Linux 6.10, commit 46ba0e49b642), else AttachPerf.
	AttachBest AttachMode = iota
	// AttachMulti places all probes of a program in one link.
	AttachMulti
	// AttachPerf opens one perf event per probe.
	AttachPerf
)

// Config is what the programs need to know before they are loaded.
type Config struct {
	PID          int
	MblockHeader uint64 // sizeof(struct mblock) of this BIRD, 0 if unknown
	// Slabs, Mslabs and Islabs say how the pages of objects are laid out; the
	// zero value: this BIRD has none.
	Slabs, Mslabs, Islabs SlabLayout
	// MaxMemory bounds the kernel memory of the live set and what belongs to
	// it, in bytes. There is always room for 1,024 blocks and stacks.
	MaxMemory uint64
	// MaxStacks is how many distinct stacks are kept; 0 is 32,768, or as many as
	// a quarter of MaxMemory holds.
	MaxStacks uint32
	// LinpoolObjects makes room for the objects of linpools.
	LinpoolObjects bool
	// Blocks and Objects are how long the blocks and objects are that are
	// followed, at most MaxLengths ranges each; none: all of them. Of others
	// nothing is recorded, neither that they come nor that they go.
	Blocks, Objects []plan.Lengths
	// Without has functions that hand out objects and will not be probed.
	Without map[string]bool
	Areas   []Area
	Attach  AttachMode
}

// SlabLayout says where a resource that hands out objects of one size (slab,
// mslab, islab) has what: see struct slab_layout in abi.h.
type SlabLayout = liveSlabLayout

// Programs are the loaded programs. Close detaches and unloads them; the
// kernel does the same when the process that loaded them ends in any way.
type Programs struct {
	objects liveObjects
	tables  tables
	multi   bool
	without map[string]bool // as in Config
	links   []attached      // in the order in which they were placed
	// What grows, and what it may still take.
	growing sync.Mutex // guards what follows
	live    liveSet
	slots   [slotsClasses]slotsSet
	budget  budget
	short   bool // so that the sets take nothing: see enum acceptance
	moved   *ringbuf.Reader
	// What was taken in by Adopt: the programs have not counted it.
	adopted Counters
	// What was counted while attaching.
	base     Counters
	baseHits map[string]Hits
}

// attached is a link and the function that its probes are on.
type attached struct {
	function string
	link     link.Link
	frees    bool // the function gives memory back
}

// Load loads the programs into the kernel; nothing is probed yet.
func Load(c Config) (*Programs, error) {
	spec, err := loadLive()
	if err != nil {
		return nil, fmt.Errorf("read BPF object: %w", err)
	}
	p := &Programs{multi: PlacesMulti(c.Attach), without: c.Without}
	leaveOut(spec, c.Without)
	if !p.multi {
		for _, prog := range spec.Programs {
			prog.AttachType = ebpf.AttachNone
		}
	}
	rows, rules := capacity(c.Areas)
	spec.Maps[liveMapRows].MaxEntries = rows
	spec.Maps[liveMapRules].MaxEntries = rules
	p.budget = newBudget(c.MaxMemory)
	stacks := p.budget.stacks(c.MaxStacks)
	spec.Maps[liveMapStacks].MaxEntries = stacks
	spec.Maps[liveMapStackAccounts].MaxEntries = uint32(liveStackNumberSTACK_FIRST) + stacks + wastedNumbers
	spec.Maps[liveMapSpilled].MaxEntries = p.budget.spilled()
	if c.LinpoolObjects {
		spec.Maps[liveMapLinpoolObjects].MaxEntries = p.budget.linpoolObjects()
	}
	var ns unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/pid", c.PID), &ns); err != nil {
		return nil, fmt.Errorf("find pid namespace of process %d: %w", c.PID, err)
	}
	inner, err := innermostPID(c.PID)
	if err != nil {
		return nil, err
	}
	blocks, err := lengths(c.Blocks)
	if err != nil {
		return nil, err
	}
	objects, err := lengths(c.Objects)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]any{
		liveVarFollowedBlocks:       blocks,
		liveVarFollowedBlocksCount:  uint32(len(c.Blocks)),
		liveVarFollowedObjects:      objects,
		liveVarFollowedObjectsCount: uint32(len(c.Objects)),

		liveVarTargetPid:    inner,
		liveVarPidnsDev:     kernelDev(ns.Dev),
		liveVarPidnsInode:   ns.Ino,
		liveVarOnlyTarget:   onlyTarget(p.multi, KernelRelease()),
		liveVarMblockHeader: c.MblockHeader,
		liveVarPageSize:     uint64(os.Getpagesize()),
		liveVarSlabs:        c.Slabs,
		liveVarMslabs:       c.Mslabs,
		liveVarIslabs:       c.Islabs,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	if err := spec.LoadAndAssign(&p.objects, nil); err != nil {
		return nil, fmt.Errorf("load BPF programs: %w", explain(err, false))
	}
	if p.moved, err = ringbuf.NewReader(p.objects.Moved); err != nil {
		p.Close()
		return nil, fmt.Errorf("load BPF programs: %w", err)
	}
	p.tables = tables{
		rows: p.objects.Rows, rules: p.objects.Rules, areas: p.objects.Areas,
		version:   p.objects.AreasVersion,
		ruleIndex: make(map[liveUnwindRule]uint32),
		placed:    make(map[*unwind.Table]uint32),
	}
	if err := p.tables.set(c.Areas); err != nil {
		p.Close()
		return nil, err
	}
	if err := p.firstSteps(spec); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// innermostPID is the process's number in its own pid namespace: the last one
// of NSpid in /proc/PID/status (Linux 4.1).
func innermostPID(pid int) (uint32, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read status of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			if numbers := strings.Fields(rest); len(numbers) > 0 {
				n, err := strconv.ParseUint(numbers[len(numbers)-1], 10, 32)
				if err == nil {
					return uint32(n), nil
				}
			}
		}
	}
	return 0, fmt.Errorf("read status of process %d: it has no NSpid", pid)
}

// kernelDev turns stat's st_dev into the kernel's own dev_t, in which
// bpf_get_ns_current_pid_tgid compares.
func kernelDev(dev uint64) uint64 {
	return uint64(unix.Major(dev))<<20 | uint64(unix.Minor(dev))
}

// PlacesMulti says whether probes are placed by uprobe_multi in a mode.
func PlacesMulti(mode AttachMode) bool {
	return useMulti(mode, KernelRelease(), features.HaveBPFLinkUprobeMulti() == nil)
}

// useMulti decides by the kernel's release and by whether it has uprobe_multi.
func useMulti(mode AttachMode, release string, have bool) bool {
	switch mode {
	case AttachMulti:
		return true
	case AttachPerf:
		return false
	}
	return have && multiFollowsProcess(release)
}

// multiFollowsProcess says whether a link of uprobe_multi follows every thread
// of the process that it is for, in the kernel of a release (uname -r). From
// 6.6, the first that has it, to 6.9 it follows the first thread alone, which is
// corrected in 6.10 (commit 46ba0e49b642).
func multiFollowsProcess(release string) bool {
	_, ok := numbers(release)
	return ok && !Older(release, MultiFloor)
}

// onlyTarget is 1 if the kernel of a release runs the programs of a link of
// uprobe_multi in its process alone, else 0. Before 6.12 it does so in other
// processes too that share the process's memory, as the child of a vfork does
// (commit 900f362e2062).
func onlyTarget(multi bool, release string) uint32 {
	if _, ok := numbers(release); multi && ok && !Older(release, "6.12") {
		return 1
	}
	return 0
}

// explain puts what to do to the kernel's terse answers. What it refuses for lack
// of rights cilium/ebpf takes for a limit that is gone since Linux 5.11 (memcg
// accounting); perfEvents says that probes were to be placed by them.
func explain(err error, perfEvents bool) error {
	allowed := privilege.ReadRestrictions()
	var verifier *ebpf.VerifierError
	switch rejected := errors.As(err, &verifier); {
	case rejected && allowed.NoKernelMemory():
		return errors.New(privilege.Locked)
	case !rejected && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s", unix.EPERM, allowed.Refusal(perfEvents))
	case errors.Is(err, os.ErrNotExist) && !haveBTF():
		return fmt.Errorf("%w; the kernel has no BTF (/sys/kernel/btf/vmlinux): run a kernel built with CONFIG_DEBUG_INFO_BTF", err)
	}
	if lacks := lacking(KernelRelease(), Features()); lacks != nil {
		return lacks
	}
	if verifier != nil {
		return fmt.Errorf("%w; please report this with the kernel's version", err)
	}
	return err
}

func haveBTF() bool {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return err == nil
}

// step says which programs belong to a function.
type step struct {
	enter, leave func(*liveObjects) *ebpf.Program
}

var steps = map[string]step{
	"malloc":         {enterMalloc, leavePointer},
	"valloc":         {enterMalloc, leavePointer},
	"pvalloc":        {enterMalloc, leavePointer},
	"calloc":         {func(o *liveObjects) *ebpf.Program { return o.EnterCalloc }, leavePointer},
	"realloc":        {func(o *liveObjects) *ebpf.Program { return o.EnterRealloc }, leavePointer},
	"memalign":       {enterMemalign, leavePointer},
	"aligned_alloc":  {enterMemalign, leavePointer},
	"posix_memalign": {func(o *liveObjects) *ebpf.Program { return o.EnterPosixMemalign }, func(o *liveObjects) *ebpf.Program { return o.LeavePosixMemalign }},
	"free":           {func(o *liveObjects) *ebpf.Program { return o.EnterFree }, nil},
	"mb_alloc":       {enterMBAlloc, nil},
	"mb_allocz":      {enterMBAlloc, nil},
	"mb_realloc":     {enterMBAlloc, nil},
	"mb_free":        {func(o *liveObjects) *ebpf.Program { return o.EnterMbFree }, nil},
	"alloc_page":     {func(o *liveObjects) *ebpf.Program { return o.EnterAllocPage }, func(o *liveObjects) *ebpf.Program { return o.LeaveAllocPage }},
	"free_page":      {func(o *liveObjects) *ebpf.Program { return o.EnterFreePage }, nil},

	// Slabs: who allocated an object is all that is followed of it.
	"sl_alloc":            {nil, func(o *liveObjects) *ebpf.Program { return o.LeaveSlAlloc }},
	"msl_alloc":           {nil, leaveMSLAlloc},
	"msl_alloc_from_page": {nil, leaveMSLAlloc},
	"isl_alloc":           {func(o *liveObjects) *ebpf.Program { return o.EnterIslAlloc }, func(o *liveObjects) *ebpf.Program { return o.LeaveIslAlloc }},
	"lp_alloc":            {enterLPAlloc, leaveLPAlloc},
	"lp_allocu":           {enterLPAlloc, leaveLPAlloc},
	"lp_allocz":           {enterLPAlloc, leaveLPAlloc},
}

func enterMalloc(o *liveObjects) *ebpf.Program   { return o.EnterMalloc }
func enterMemalign(o *liveObjects) *ebpf.Program { return o.EnterMemalign }
func enterMBAlloc(o *liveObjects) *ebpf.Program  { return o.EnterMbAlloc }
func leavePointer(o *liveObjects) *ebpf.Program  { return o.LeavePointer }
func leaveMSLAlloc(o *liveObjects) *ebpf.Program { return o.LeaveMslAlloc }
func enterLPAlloc(o *liveObjects) *ebpf.Program  { return o.EnterLpAlloc }
func leaveLPAlloc(o *liveObjects) *ebpf.Program  { return o.LeaveLpAlloc }

// all are the programs that run at probes.
func (o *livePrograms) all() []*ebpf.Program {
	return []*ebpf.Program{
		o.EnterMalloc, o.EnterCalloc, o.EnterRealloc, o.EnterMemalign, o.EnterPosixMemalign, o.EnterFree,
		o.EnterMbAlloc, o.EnterMbFree, o.LeavePointer, o.LeavePosixMemalign,
		o.EnterAllocPage, o.LeaveAllocPage, o.EnterFreePage,
		o.LeaveSlAlloc, o.LeaveMslAlloc, o.EnterIslAlloc, o.LeaveIslAlloc, o.EnterLpAlloc, o.LeaveLpAlloc,
	}
}

// attachRank orders the entries so that attaching makes no false live blocks:
// whoever may free a block is probed before those that only allocate. A realloc
// that is not seen would move a block which was, and leave its old place live.
var attachRank = map[plan.Event]int{plan.BlockFreed: 0, plan.BlockResized: 1, plan.BlockAllocated: 2}

func inAttachOrder(sites []plan.Site) []plan.Site {
	sites = slices.Clone(sites)
	slices.SortStableFunc(sites, func(a, b plan.Site) int { return attachRank[a.Event] - attachRank[b.Event] })
	return sites
}

// Attach places the probes of a plan: first where memory is freed, then on
// returns, last on entries, resizing ones first. A block that is allocated in
// between is one from before.
func (p *Programs) Attach(pid int, sites []plan.Site) error {
	var frees, returns, entries []*group
	for _, s := range inAttachOrder(sites) {
		function, ok := functionByName(s.Function)
		st, known := steps[s.Function]
		if !ok || !known || p.without[s.Function] {
			return fmt.Errorf("attach to %s: no program for it", s.Function)
		}
		path, err := s.Module.AttachPath()
		if err != nil {
			return err
		}
		off, err := s.Module.FileOffset(s.Address + s.Offset)
		if err != nil {
			return err
		}
		entry := &entries
		if s.Event == plan.BlockFreed || s.Event == plan.PageReturned {
			entry = &frees
		}
		if st.enter != nil {
			c, err := entryCookie(function, s)
			if err != nil {
				return fmt.Errorf("attach to %s: %w", s.Function, err)
			}
			addTo(entry, group{path: path, function: s.Function, program: st.enter(&p.objects)}, off, c)
		}
		if s.Return {
			addTo(&returns, group{path: path, function: s.Function, program: st.leave(&p.objects), ret: true}, off, returnCookie(function, s))
		}
	}
	for i, groups := range [][]*group{frees, returns, entries} {
		for _, g := range groups {
			if err := p.attachGroup(pid, g, i == 0); err != nil {
				return fmt.Errorf("attach probes: %w", explain(err, !p.multi))
			}
		}
	}
	base, err := p.counters()
	if err != nil {
		return err
	}
	p.base[ReturnUnmatched] = base[ReturnUnmatched]
	p.baseHits, err = p.hits()
	return err
}

func (p *Programs) attachGroup(pid int, g *group, frees bool) error {
	links, err := placeGroup(pid, g, p.multi)
	for _, l := range links {
		p.links = append(p.links, attached{g.function, l, frees})
	}
	return err
}

// SetAreas replaces the executable areas by which stacks are walked, after
// the target has mapped another library.
func (p *Programs) SetAreas(areas []Area) error { return p.tables.set(areas) }

// LeftOut returns how many areas have no unwind rows in the kernel for lack
// of room; stacks through them are cut.
func (p *Programs) LeftOut() int { return p.tables.AreasLeftOut + p.tables.TablesLeftOut }

// SetMark makes n, or MaxMark if that is less, the mark of all blocks allocated
// from now on.
func (p *Programs) SetMark(n uint32) error {
	if err := p.objects.CurrentMark.Set(min(n, MaxMark)); err != nil {
		return fmt.Errorf("set mark: %w", err)
	}
	return nil
}

// wastedNumbers is how many numbers of stacks may be lost to threads that find
// the same stack at once.
const wastedNumbers = 1 << 10

// Stacks is the map of distinct stacks: key to Stack.
func (p *Programs) Stacks() *ebpf.Map { return p.objects.Stacks }

// StackAccounts reads what was allocated at each stack, by its number.
func (p *Programs) StackAccounts() ([]StackAccount, error) {
	var next uint32
	if err := p.objects.NextStack.Get(&next); err != nil {
		return nil, fmt.Errorf("read number of stacks: %w", err)
	}
	n := min(next, p.objects.StackAccounts.MaxEntries())
	keys, accounts := make([]uint32, n), make([]StackAccount, n)
	var cursor ebpf.MapBatchCursor
	if _, err := p.objects.StackAccounts.BatchLookup(&cursor, keys, accounts, nil); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("read accounts of stacks: %w", err)
	}
	return accounts, nil
}

// Counters reads all counters, summed over the CPUs.
func (p *Programs) Counters() (Counters, error) {
	c, err := p.counters()
	for i, b := range p.base {
		c[i] -= b
	}
	p.growing.Lock()
	defer p.growing.Unlock()
	for i, n := range p.adopted {
		c[i] += n
	}
	return c, err
}

func (p *Programs) counters() (c Counters, err error) {
	all, err := sums(p.objects.Counters)
	copy(c[:], all)
	return c, err
}

// Hits reads the hits of every probed function since Attach, by name.
func (p *Programs) Hits() (map[string]Hits, error) {
	all, err := p.hits()
	if err != nil {
		return nil, err
	}
	for name, base := range p.baseHits {
		h := all[name]
		all[name] = Hits{h.Entered - base.Entered, h.Returned - base.Returned}
	}
	return all, nil
}

func (p *Programs) hits() (map[string]Hits, error) {
	return perFunction(p.objects.Hits, func(a, b uint64) Hits { return Hits{a, b} })
}

// Tests are how often what a function was given or returned was, and was not,
// what it has to be: see tests in thread.h.
type Tests struct{ Passed, Failed uint64 }

// Tests reads the tests of every probed function, by name.
func (p *Programs) Tests() (map[string]Tests, error) {
	return perFunction(p.objects.Tests, func(a, b uint64) Tests { return Tests{a, b} })
}

// perFunction reads a map of two numbers for each function.
func perFunction[T any](m *ebpf.Map, pair func(a, b uint64) T) (map[string]T, error) {
	numbers, err := sums(m)
	if err != nil {
		return nil, err
	}
	all := make(map[string]T)
	count := int(liveFunctionFUNCTION_COUNT)
	for f := 1; f < count; f++ {
		all[Function(f).String()] = pair(numbers[f], numbers[count+f])
	}
	return all, nil
}

// Missed is how often the kernel did not run a program, because it was
// running on the same CPU already (bpf_prog_info.recursion_misses, Linux
// 5.12).
func (p *Programs) Missed() (uint64, error) {
	var missed uint64
	for _, prog := range p.objects.all() {
		stats, err := prog.Stats()
		if err != nil {
			return 0, fmt.Errorf("read program statistics: %w", err)
		}
		missed += stats.RecursionMisses
	}
	return missed, nil
}

// sums reads the numbers of a per-CPU array, each summed over the CPUs: by one call, for they
// are read many times a second (Linux 5.13, commit f008d732ab18).
func sums(m *ebpf.Map) ([]uint64, error) {
	n, cpus := int(m.MaxEntries()), ebpf.MustPossibleCPU()
	keys, perCPU := make([]uint32, n), make([]uint64, n*cpus)
	read, err := m.BatchLookup(new(ebpf.MapBatchCursor), keys, perCPU, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // which says that there are no more
		return nil, fmt.Errorf("read counters: %w", err)
	}
	if read != n {
		return nil, fmt.Errorf("read counters: %d of %d", read, n)
	}
	totals := make([]uint64, n)
	for i, key := range keys {
		for _, number := range perCPU[i*cpus : (i+1)*cpus] {
			totals[key] += number
		}
	}
	return totals, nil
}

// Detach removes all probes. What was collected can still be read.
func (p *Programs) Detach() error {
	// Frees last: a block freed after the entries are gone is still seen.
	err := p.remove(func(a attached) bool { return !a.frees })
	return errors.Join(err, p.remove(func(attached) bool { return true }))
}

// Drop takes the probes off functions, such as one that is not what it was
// taken for.
func (p *Programs) Drop(functions ...string) error {
	return p.remove(func(a attached) bool { return slices.Contains(functions, a.function) })
}

// remove closes some of the links.
func (p *Programs) remove(which func(attached) bool) error {
	var links []link.Link
	p.links = slices.DeleteFunc(p.links, func(a attached) bool {
		if !which(a) {
			return false
		}
		links = append(links, a.link)
		return true
	})
	return closeAll(links)
}

// Close detaches the probes and unloads the programs.
func (p *Programs) Close() error {
	errs := []error{p.Detach(), p.objects.Close()}
	if p.moved != nil {
		errs = append(errs, p.StopWaiting())
	}
	errs = append(errs, p.live.close())
	for i := range p.slots {
		errs = append(errs, p.slots[i].close())
	}
	return errors.Join(errs...)
}
