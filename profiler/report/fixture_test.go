// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"time"

	"leakprof/profiler/attribution"
	"leakprof/profiler/footprint"
	"leakprof/profiler/reachability"
	"leakprof/profiler/reconciliation"
	"leakprof/profiler/symbol"
)

// The results here are made up, with BIRD's names and realistic sizes.

var (
	runStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	modules  = []attribution.Module{
		{Path: "/usr/sbin/bird", BuildID: "0123456789abcdef0123456789abcdef01234567", Start: 0x55d0c0014000, End: 0x55d0c0110000, Offset: 0x14000, HasSymbols: true, HasLines: true, HasInlines: true},
		{Path: "/usr/lib/x86_64-linux-gnu/libc.so.6", BuildID: "fedcba9876543210fedcba9876543210fedcba98", Start: 0x7f1200028000, End: 0x7f120018e000, Offset: 0x28000},
	}
)

const (
	birdModule = 0
	libcModule = 1
)

// at is a physical frame of BIRD; functions are innermost first, "name
// file:line" each.
func at(address uint64, functions ...string) attribution.Location {
	l := attribution.Location{Module: birdModule, Address: address}
	for i, f := range functions {
		frame := symbol.Frame{Module: "bird", Address: address, Inlined: i < len(functions)-1, Source: symbol.SourceInline}
		if _, err := fmt.Sscanf(f, "%s %s %d", &frame.Function, &frame.File, &frame.Line); err != nil {
			panic(err)
		}
		if !frame.Inlined {
			frame.Symbol, frame.Source = frame.Function, symbol.SourceDWARF
		}
		l.Lines = append(l.Lines, frame)
	}
	return l
}

func libc(address uint64, function string) attribution.Location {
	return attribution.Location{Module: libcModule, Address: address, Lines: []symbol.Frame{{
		Function: function, Symbol: function, Module: "libc.so.6", Address: address, Source: symbol.SourceDynamic,
	}}}
}

var outer = []attribution.Location{
	at(0x6f0a1, "bgp_rx_packet proto/bgp/packets.c 3422"),
	at(0x6f4c0, "bgp_rx proto/bgp/packets.c 3470"),
	at(0xa1b20, "call_rx_hook sysdep/unix/io.c 1845", "sk_read sysdep/unix/io.c 1938"),
	at(0xa3344, "io_loop sysdep/unix/io.c 2410"),
	at(0x2a0f8, "main sysdep/unix/main.c 975"),
	libc(0x2724a, "__libc_start_main"),
}

func stack(key uint64, objects, bytes uint64, inner ...attribution.Location) *attribution.Stack {
	return &attribution.Stack{
		Key: key, Locations: append(inner, outer...), Complete: true, End: "complete",
		AllocatedObjects: objects, AllocatedBytes: bytes,
	}
}

// bmpQueue is what the case is about: messages queued for the BMP station.
func bmpQueue() *attribution.Stack {
	return stack(11, 4_000_000, 4_000_000_000,
		libc(0x98860, "malloc"),
		at(0x9c013, "bird_xmalloc lib/xmalloc.c 30"),
		at(0x94a5c, "mb_alloc lib/resource.c 420"),
		at(0x7d200, "bmp_buffer_alloc proto/bmp/buffer.c 16"),
		at(0x80f31, "bmp_schedule_tx_packet proto/bmp/bmp.c 231", "bmp_route_monitor_update_in_pre_commit proto/bmp/bmp.c 655"),
	)
}

func bmpNode() *attribution.Stack {
	return stack(12, 4_000_000, 400_000_000,
		libc(0x98860, "malloc"),
		at(0x9c013, "bird_xmalloc lib/xmalloc.c 30"),
		at(0x94aa2, "mb_alloc lib/resource.c 420", "mb_allocz lib/resource.c 440"),
		at(0x80f02, "bmp_schedule_tx_packet proto/bmp/bmp.c 226", "bmp_route_monitor_update_in_pre_commit proto/bmp/bmp.c 655"),
	)
}

func attributes() *attribution.Stack {
	return stack(13, 90_000, 9_000_000,
		libc(0x98860, "malloc"),
		at(0x9c013, "bird_xmalloc lib/xmalloc.c 30"),
		at(0x951d0, "lp_alloc_slow lib/mempool.c 122"),
		at(0x70311, "bgp_decode_attrs proto/bgp/attrs.c 1540"),
	)
}

// startup is what was there before the flood.
func startup() *attribution.Stack {
	return &attribution.Stack{
		Key: 14, Complete: true, End: "complete", AllocatedObjects: 300, AllocatedBytes: 40_000,
		Locations: []attribution.Location{
			libc(0x98860, "malloc"), at(0x9c013, "bird_xmalloc lib/xmalloc.c 30"),
			at(0x94b11, "ralloc lib/resource.c 300"),
			at(0x5a001, "proto_new nest/proto.c 1001"), at(0x2a0c1, "main sysdep/unix/main.c 921"), libc(0x2724a, "__libc_start_main"),
		},
	}
}

// truncated ends in a place without unwind rows.
func truncated() *attribution.Stack {
	return &attribution.Stack{
		Key: 15, End: "no unwind row", AllocatedObjects: 500, AllocatedBytes: 64_000,
		Locations: []attribution.Location{
			libc(0x98860, "malloc"),
			{Module: -1, Address: 0x7ffff7a01234, Lines: []symbol.Frame{{Function: "0x7ffff7a01234", Address: 0x7ffff7a01234, Source: symbol.SourceAddress}}},
		},
	}
}

// pools are where stacks allocate, by their keys.
var pools = map[uint64]string{11: "Root/Protocols/BMP/BMP Buffer", 12: "Root/Protocols/BMP", 14: "Root/Protocols"}

func sample(s *attribution.Stack, mark int, allocator, class string, bucket, objects, bytes uint64) attribution.Sample {
	return attribution.Sample{Stack: s, Mark: mark, Allocator: allocator, Class: class, Pool: pools[s.Key], SizeBucket: bucket, Objects: objects, Bytes: bytes}
}

// memory makes `show memory` of "name effective overhead" lines.
func memory(lines ...string) []MemoryLine {
	unit := map[string]float64{"B": 1, "kB": 1 << 10, "MB": 1 << 20}
	var all []MemoryLine
	for _, l := range lines {
		m := MemoryLine{Overhead: -1}
		var e, o float64
		var eu, ou string
		n, _ := fmt.Sscanf(l, "%s %g %s %g %s", &m.Name, &e, &eu, &o, &ou)
		m.Effective, m.Text = e*unit[eu], fmt.Sprintf("%.1f %s", e, eu)
		if n == 5 {
			m.Overhead = o * unit[ou]
			m.Text += fmt.Sprintf(" %.1f %s", o, ou)
		}
		for i, c := range m.Name {
			if c == '_' {
				m.Name = m.Name[:i] + " " + m.Name[i+1:]
			}
		}
		all = append(all, m)
	}
	return all
}

func minute(n int) time.Time { return runStart.Add(time.Duration(n) * time.Minute) }

func heap(minutes int, stacks []*attribution.Stack, samples ...attribution.Sample) *attribution.Heap {
	return &attribution.Heap{Time: minute(minutes), Modules: modules, Stacks: stacks, Samples: samples}
}

// as says what samples are, and who holds them.
func as(s attribution.Sample, class reachability.Class, by ...attribution.Holder) attribution.Sample {
	s.Reach, s.Holders = class, by
	return s
}

// searched adds up a heap whose samples have classes.
func searched(h *attribution.Heap) *attribution.Heap {
	r := &attribution.Reach{Looks: 2, Read: 1_100_000_000, Duration: 2300 * time.Millisecond}
	for _, s := range h.Samples {
		a := map[reachability.Class]*attribution.Amount{reachability.Lost: &r.Lost, reachability.Held: &r.Held, reachability.Unknown: &r.Unknown}[s.Reach]
		a.Objects, a.Bytes = a.Objects+s.Objects, a.Bytes+s.Bytes
	}
	h.Reach = r
	return h
}

// showMemory makes new lines each time: a test may change them.
func showMemory(when string) []MemoryLine {
	return map[string][]MemoryLine{
		"before":  memory("Routing_tables 20.1 kB 3.1 kB", "Route_attributes 6224 B 2960 B", "Protocols 33.0 kB 4.4 kB", "Current_config 12.3 kB 1.2 kB", "Standby_memory 0 B 52.0 kB", "Total 123.0 kB 63.7 kB", "Active_pages 116.0 kB"),
		"flooded": memory("Routing_tables 412.0 MB 18.9 MB", "Route_attributes 11.0 kB 3.3 kB", "Protocols 1473.0 MB 92.1 MB", "Current_config 12.3 kB 1.2 kB", "Standby_memory 0 B 120.0 kB", "Total 1885.0 MB 111.2 MB", "Active_pages 430.8 MB"),
		"dropped": memory("Routing_tables 284.0 kB 40.2 kB", "Route_attributes 10.2 kB 3.3 kB", "Protocols 1018.0 MB 64.0 MB", "Current_config 12.3 kB 1.2 kB", "Standby_memory 0 B 412.1 MB", "Total 1019.0 MB 476.2 MB", "Active_pages 676.0 kB"),
		"clean":   memory("Routing_tables 284.0 kB 40.2 kB", "Route_attributes 10.2 kB 3.3 kB", "Protocols 33.1 kB 4.4 kB", "Current_config 12.3 kB 1.2 kB", "Standby_memory 0 B 380.0 MB", "Total 352.0 kB 380.1 MB", "Active_pages 676.0 kB"),
	}[when]
}

// books makes the account of a phase, line by line of what BIRD printed; ours is
// less by so many bytes in Protocols.
func books(h *attribution.Heap, memory []MemoryLine, less uint64) *Books {
	bytes, objects := h.Totals()
	a := &reconciliation.Account{
		Quiet: true, Live: reconciliation.Sum{Objects: objects, Bytes: bytes},
		Control: reconciliation.Control{Sum: reconciliation.Sum{Objects: 5, Bytes: 9202}, Effective: 9202, Overhead: 1632},
		Tree: reconciliation.Comparison{
			Equal: less == 0, Both: reconciliation.Sum{Objects: objects - 2, Bytes: bytes - 98_304 - less},
			OnlyLive: reconciliation.Sum{Objects: 2, Bytes: 98_304}, OnlyTree: reconciliation.Sum{Bytes: less},
			Reasons: []reconciliation.Reason{{Where: reconciliation.OnlyLive, Reason: "netlink buffers", Known: true, Sum: reconciliation.Sum{Objects: 2, Bytes: 98_304}}},
		},
	}
	if less > 0 {
		a.Tree.Reasons = append(a.Tree.Reasons, reconciliation.Reason{Where: reconciliation.OnlyTree, Reason: "not seen allocated", Sum: reconciliation.Sum{Objects: 1, Bytes: less}})
	}
	for _, m := range memory {
		ours, yes := uint64(m.Effective), true
		l := reconciliation.Line{Name: m.Name, BirdEffective: uint64(m.Effective), OursEffective: &ours, WithinRounding: &yes}
		if m.Overhead >= 0 {
			overhead := uint64(m.Overhead)
			l.BirdOverhead, l.OursOverhead = &overhead, &overhead
		}
		if m.Name == "Protocols" && less > 0 {
			ours, yes = ours-less, false
			l.Difference = int64(less)
		}
		a.Lines = append(a.Lines, l)
	}
	rss := &footprint.Footprint{RSS: bytes + 8<<20, Consistent: true}
	for _, part := range []footprint.Part{
		{Name: footprint.LiveBlocks, Title: "live blocks", Bytes: bytes},
		{Name: footprint.LibcFree, Title: "libc's free memory", Bytes: 3 << 20, Estimate: true},
		{Name: footprint.KeptPages, Title: "free pages kept by BIRD", Bytes: 4 << 20},
		{Name: footprint.ProbedText, Title: "leakprof: code copied for probes", Bytes: 20 << 10},
	} {
		rss.Parts = append(rss.Parts, part)
	}
	rss.Remainder = int64(1<<20 - 20<<10)
	return &Books{Account: a, Footprint: rss}
}

// course goes from look to look in a straight line, with four peers.
func course(phases []Phase) []Point {
	var rec Recorder
	live, routes := int64(0), int64(0)
	var ups, downs uint64
	for i := range phases {
		p := &phases[i]
		goal := live
		if p.Heap != nil {
			bytes, _ := p.Heap.Totals()
			goal = int64(bytes)
		} else if next := i + 1; next < len(phases) && phases[next].Heap != nil {
			bytes, _ := phases[next].Heap.Totals()
			goal = int64(bytes)
		}
		switch p.Name {
		case "flooding":
			ups, routes = ups+4, 1_160_000
		case "dropping":
			downs, routes = downs+4, 0
		}
		const steps = 10
		for k := range steps {
			rec.Add(Point{
				Time: p.Start.Add(time.Duration(k) * 2 * time.Minute / steps), LiveBytes: live + (goal-live)*int64(k)/steps,
				Routes: routes, PeerUps: ups, PeerDowns: downs,
			})
		}
		live = goal
	}
	return rec.Points()
}

// leak is the case: two cycles, and what BMP queued stays.
func leak() *Result {
	queue, node, attrs, start, cut := bmpQueue(), bmpNode(), attributes(), startup(), truncated()
	stacks := []*attribution.Stack{queue, node, attrs, start, cut}
	before := as(sample(start, 0, attribution.AllocatorResource, "Event", 64, 300, 40_000), reachability.Held, attribution.Holder{Root: "proto_list+0x8 of bird", Objects: 16})
	forgotten := as(sample(start, 0, attribution.AllocatorMB, "Memory", 64, 2, 112), reachability.Lost)
	table := attribution.Holder{Pool: "Root/Protocols/BMP", Class: "Memory", Stack: start, Objects: 12}
	r := &Result{
		Target:  Target{PID: 4242, Exe: "/usr/sbin/bird", BuildID: modules[0].BuildID, Version: "2.0.12", Symbols: "dwarf"},
		Started: runStart, Ended: minute(30),
		Verdict: Verdict{
			Kind:          Leak,
			Sentence:      "leak: 1007.2 MB in 2,000,248 blocks are retained after Peer Down by 3 call stacks, and every cycle adds about as much",
			RetainedBytes: 1_056_050_368, RetainedObjects: 2_000_248, Threshold: 65536,
		},
		Coverage:   []string{"blocks of the C library's heap (malloc, calloc, realloc, free), from the first one on"},
		NotCovered: []string{"pages that BIRD takes by mmap (slabs, linpools)"},
		Stacks:     StackQuality{Allocations: 8_090_800, Complete: 8_090_300, Ends: map[string]uint64{"no unwind row": 420, "deeper than the frame limit": 80}},
		CPU:        &FloodCPU{Wall: 12100 * time.Millisecond, BIRD: 11900 * time.Millisecond, Lab: 2300 * time.Millisecond, Limit: "bird"},
		Overhead:   &madeOverhead,
		Sessions:   &Sessions{ToldBy: "bmp", Driven: true, Ups: 8, Downs: 8},
		Health: []Health{
			{Name: "stacks not complete", Count: 500, Meaning: "their outer frames are missing", Harmless: true},
			{Name: "frees missed", Count: 12, Bytes: 3480, Meaning: "blocks that are gone may be counted as live"},
		},
	}
	flooded := func(mark int, n uint64) []attribution.Sample {
		return []attribution.Sample{
			sample(queue, mark, attribution.AllocatorMB, "Memory", 1024, n*1_000_000, n*960_000_000),
			sample(node, mark, attribution.AllocatorMB, "Memory", 128, n*1_000_000, n*96_000_000),
			sample(attrs, mark, attribution.AllocatorMalloc, "", 4096, 90_000, 9_000_000), before,
		}
	}
	settled := func(n uint64) []attribution.Sample {
		return []attribution.Sample{
			as(sample(queue, 1, attribution.AllocatorMB, "Memory", 1024, n*500_000, n*480_000_000), reachability.Lost),
			as(sample(node, 1, attribution.AllocatorMB, "Memory", 128, n*500_000, n*48_000_000), reachability.Held, table, attribution.Holder{Root: "stack of thread 4242", Objects: 4}),
			before, forgotten,
			as(sample(cut, 1, attribution.AllocatorMalloc, "", 256, 248, 50_368), reachability.Unknown, attribution.Holder{Why: "two looks in a row disagree", Objects: 16}),
		}
	}
	phase := func(name string, cycle, begin int, memory []MemoryLine, routes int64, h *attribution.Heap) {
		p := Phase{
			Name: name, Cycle: cycle, Start: minute(begin), End: minute(begin + 2), ShowMemory: memory, Routes: routes, Heap: h,
			BMP: map[string]uint64{"Initiation": 1, "Route Monitoring": uint64(cycle) * 290_000},
		}
		switch {
		case h == nil:
		case name == "flooded" && cycle == 1:
			p.Books = &Books{Missing: "reconcile with BIRD: no resource tree: it changes while it is read"}
		case name == "flooded":
			p.Books = books(h, memory, 4096)
		default:
			p.Books = books(h, memory, 0)
		}
		r.Phases = append(r.Phases, p)
	}
	phase("baseline", 0, 0, showMemory("before"), 0, searched(heap(2, stacks, before, forgotten)))
	for c := 1; c <= 2; c++ {
		m := 2 + 14*(c-1)
		phase("flooding", c, m, nil, -1, nil)
		phase("flooded", c, m+2, showMemory("flooded"), 1_160_000, heap(m+4, stacks, flooded(len(r.Phases)-1, uint64(c))...))
		phase("dropping", c, m+4, nil, -1, nil)
		phase("settled", c, m+6, showMemory("dropped"), 0, searched(heap(m+8, stacks, settled(uint64(c))...)))
		first := r.Phases[4*(c-1)].Heap
		grown := attribution.Grown(first, r.Phases[4*c].Heap)
		cycle := Cycle{Number: c, Retained: grown}
		for _, g := range grown {
			cycle.Bytes, cycle.Objects, cycle.LostBytes = cycle.Bytes+g.Bytes, cycle.Objects+g.Objects, cycle.LostBytes+g.Lost
		}
		r.Cycles = append(r.Cycles, cycle)
	}
	r.Retained = attribution.Grown(r.Phases[0].Heap, r.Phases[8].Heap)
	r.Retained[0].EveryBytes, r.Retained[0].EveryObjects = 480_000_000, 500_000
	r.Retained[1].EveryBytes, r.Retained[1].EveryObjects = 48_000_000, 500_000
	r.Retained[1].Replaced = 1_000_000
	for _, l := range attribution.LostIn(r.Phases[8].Heap) {
		r.Verdict.LostBytes, r.Verdict.LostObjects = r.Verdict.LostBytes+l.Bytes, r.Verdict.LostObjects+l.Objects
	}
	r.LostBefore = attribution.LostIn(r.Phases[0].Heap)
	r.Series = course(r.Phases)
	return r
}

// clean is a healthy BIRD, one cycle.
func clean() *Result {
	r := leak()
	r.Phases, r.Cycles, r.Retained, r.Health = r.Phases[:5], []Cycle{{Number: 1}}, nil, nil
	r.Verdict = Verdict{Kind: Clean, Sentence: "clean: nothing is retained after Peer Down; besides 64.0 kB of empty room in arrays that do not shrink", SlackBytes: 65_536, RetainedBytes: 65_584, RetainedObjects: 1, Threshold: 65536}
	settled := &r.Phases[4]
	settled.ShowMemory = showMemory("clean")
	table := stack(16, 17, 131_008, libc(0x98860, "malloc"), at(0x94a5c, "mb_alloc lib/resource.c 420"), at(0x4d0aa, "rt_setup nest/rt-table.c 2801"))
	r.Retained = []attribution.Retained{{Stack: table, Allocator: attribution.AllocatorMB, Class: "Memory", Objects: 1, Bytes: 65_584, Empty: 65_536, Held: 65_584, Holders: []attribution.Holder{{Root: "rt_table_list of bird", Objects: 1}}}}
	array := as(sample(table, 1, attribution.AllocatorMB, "Memory", 131_072, 1, 65_584), reachability.Held, r.Retained[0].Holders...)
	array.Empty = 65_536
	settled.Heap = searched(heap(10, append(settled.Heap.Stacks, table), append([]attribution.Sample{array}, r.Phases[0].Heap.Samples...)...))
	r.Verdict.LostBytes, r.Verdict.LostObjects = 112, 2
	r.Series = course(r.Phases)
	r.Stacks = StackQuality{Allocations: 8_090_300, Complete: 8_090_300}
	return r
}

// incomplete never settled, was not asked for `show memory`, and lost events.
func incomplete() *Result {
	r := leak()
	r.Phases, r.Cycles, r.Retained, r.CPU = r.Phases[:4], nil, r.Retained[2:], nil
	for i := range r.Phases {
		r.Phases[i].ShowMemory, r.Phases[i].Routes = nil, -1
	}
	for i := range r.Phases {
		r.Phases[i].Books = nil
	}
	r.Series = course(r.Phases)
	r.Sessions = &madeSessions
	r.Guard = &madeGuard
	r.Before = &Before{Bytes: 41_000_000, Blocks: 301_000, Pages: 12}
	r.Phases[3].Incomplete, r.Phases[3].End = "not settled after 10m0s: graceful restart holds 400,000 routes", time.Time{}
	r.Target.Version = ""
	r.Verdict = Verdict{Kind: Incomplete, Sentence: "incomplete: the routes never went away", Threshold: 65536}
	r.Health = append(r.Health, Health{Name: "allocations not recorded", Count: 1_204, Unbounded: true, Meaning: "the live set was full; more may be live than is reported"})
	return r
}

// told is a place in a stripped BIRD: allocators have names, most others a
// source file.
func told(l attribution.Location) symbol.Frame {
	owner := l.Lines[len(l.Lines)-1]
	f := symbol.Frame{Function: fmt.Sprintf("bird+0x%x", l.Address), Module: "bird", Address: l.Address, Source: symbol.SourceAddress}
	switch {
	case isAllocator(owner.Function):
		f.Function, f.Source = owner.Function, symbol.SourceFound
	case owner.Function != "bgp_rx_packet":
		f.File = strings.TrimPrefix(owner.File, "/usr/src/bird/")
	}
	return f
}

// stripped is the leak on a BIRD without any symbols.
func stripped() *Result {
	r := leak()
	r.Target.Symbols = "none"
	r.NamesHint = "bird is stripped: allocators, protocols' hooks and most source files are told by its code, other names are file and offset"
	bare := append([]attribution.Module{}, modules...)
	bare[0].HasSymbols, bare[0].HasLines, bare[0].HasInlines, bare[0].ToldFiles = false, false, false, true
	named := make(map[*attribution.Stack]*attribution.Stack)
	strip := func(s *attribution.Stack) *attribution.Stack {
		if named[s] == nil {
			c := *s
			c.Locations = nil
			for _, l := range s.Locations {
				if l.Module == birdModule {
					l.Lines = []symbol.Frame{told(l)}
				}
				c.Locations = append(c.Locations, l)
			}
			named[s] = &c
		}
		return named[s]
	}
	for i := range r.Phases {
		h := r.Phases[i].Heap
		if h == nil {
			continue
		}
		h.Modules = bare
		for j := range h.Stacks {
			h.Stacks[j] = strip(h.Stacks[j])
		}
		for j := range h.Samples {
			h.Samples[j].Stack = strip(h.Samples[j].Stack)
		}
	}
	for i := range r.Retained {
		r.Retained[i].Stack = strip(r.Retained[i].Stack)
	}
	return r
}
