// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"maps"
	"slices"

	"leakprof/bpf"
	"leakprof/collector/session"
	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// losses are the counters that say something was lost or odd: what each
// means, and where its bound is.
var losses = []struct {
	counter  bpf.Counter
	bytes    bpf.Counter // bounds the live bytes that may be missing
	bounded  bool        // bytes is to be read
	harmless bool
	meaning  string
}{
	{counter: bpf.FreeUnknown, harmless: true, meaning: "no resources of BIRD's, from before we attached, or not kept"},
	{counter: bpf.ReallocUnknown, harmless: true, meaning: "they were allocated before we attached; live under the new stack now"},
	{counter: bpf.AllocationFailed, harmless: true, meaning: "malloc returned NULL"},
	{counter: bpf.PageReturnUnknown, harmless: true, meaning: "taken before we attached, or BIRD filling its cache of free pages"},
	{counter: bpf.MBMismatch, harmless: true, meaning: "the blocks are told apart by their headers instead"},
	{counter: bpf.MissedFree, meaning: "seen when the address came back, and corrected; others may still stand as live"},
	{counter: bpf.MissedPageReturn, harmless: true, meaning: "seen when BIRD took them again, and corrected"},
	{counter: bpf.NotAccepted, bytes: bpf.NotAcceptedBytes, bounded: true, meaning: "not in the live set: the machine was short of memory"},
	{counter: bpf.ObjectNoPage, harmless: true, meaning: "their stacks are not known; their pages are in the tree"},
	{counter: bpf.SlotsFull, harmless: true, meaning: "they stand under [allocation not seen]; raise --max-memory"},
	{counter: bpf.SlotsLost, harmless: true, meaning: "there is a little less room; other threads were faster"},
	{counter: bpf.LinpoolObjectsFull, harmless: true, meaning: "they count as the chunk's; raise --max-memory"},
	{counter: bpf.LiveFull, bytes: bpf.LiveFullBytes, bounded: true, meaning: "not in the live set; raise --max-memory"},
	{counter: bpf.LiveNoMemory, bytes: bpf.LiveNoMemoryBytes, bounded: true, meaning: "not in the live set; the kernel had no memory"},
	{counter: bpf.StacksFull, harmless: true, meaning: "their blocks are counted under [stack not kept]"},
	{counter: bpf.ThreadStateFailed, meaning: "allocations that may be missing"},
	{counter: bpf.PendingFull, meaning: "allocations that may be missing"},
	{counter: bpf.ReturnLost, bytes: bpf.ReturnLostBytes, bounded: true, meaning: "allocations missing from the live set: more than 64 return probes nested, or left by longjmp"},
	{counter: bpf.ReturnUnmatched, meaning: "allocations that may be missing"},
	{counter: bpf.ResultReadFailed, meaning: "allocations missing from the live set"},
	{counter: bpf.ArgumentReadFailed, meaning: "allocations or frees missing from the live set"},
}

// unprobed are the counters that say nothing where what is live is told by a walk:
// only some blocks and objects are followed then, and no ends of them.
var unprobed = map[bpf.Counter]bool{
	bpf.ReallocUnknown: true, bpf.MissedFree: true, bpf.MissedPageReturn: true, bpf.ObjectNoPage: true, bpf.MBMismatch: true,
}

// lost is how many events were lost so far, for the status line.
func lost(c bpf.Counters) (n uint64) {
	for _, l := range losses {
		if !l.harmless {
			n += c[l.counter]
		}
	}
	return n
}

// health lists everything lost, odd or unknown that is not zero.
func (r *run) health() ([]report.Health, error) {
	if r.Profiler == nil {
		return nil, nil
	}
	c, err := r.Profiler.Counters()
	if err != nil {
		return nil, err
	}
	var all []report.Health
	add := func(h report.Health) {
		if h.Count > 0 {
			all = append(all, h)
		}
	}
	for _, l := range losses {
		if r.walks() && unprobed[l.counter] {
			continue
		}
		h := report.Health{Name: l.counter.String(), Count: c[l.counter], Harmless: l.harmless, Meaning: l.meaning}
		if l.bounded {
			h.Bytes = c[l.bytes]
		}
		h.Unbounded = !l.bounded && !l.harmless
		// Each thread may have been inside one call when the probes came.
		if l.counter == bpf.ReturnUnmatched && h.Count <= r.threads() {
			h.Harmless, h.Unbounded, h.Meaning = true, false, "calls under way when the probes were placed"
		}
		add(h)
	}
	missed, err := r.Profiler.Missed()
	if err != nil {
		return nil, err
	}
	add(report.Health{Name: "hits the kernel did not hand over", Count: missed, Unbounded: true, Meaning: "the program ran on that CPU already"})
	hits, err := r.Profiler.Hits()
	if err != nil {
		return nil, err
	}
	var open uint64
	for _, s := range r.Profiler.Plan.Sites {
		if h := hits[s.Function]; s.Return && h.Entered > h.Returned {
			open += h.Entered - h.Returned
		}
	}
	// Lost returns that were noticed are in their own counter. Each thread may
	// be inside one call now.
	if open > c[bpf.ReturnLost] {
		n := open - c[bpf.ReturnLost]
		few := n <= r.threads()
		add(report.Health{Name: "calls that have not returned", Count: n, Unbounded: !few, Harmless: few, Meaning: "under way at the end, or their returns were lost"})
	}
	if n := r.Profiler.LeftOut(); n > 0 {
		add(report.Health{Name: "executable areas without unwind rows", Count: uint64(n), Harmless: true, Meaning: "stacks through them are cut"})
	}
	for _, err := range r.Profiler.Unreadable() {
		add(report.Health{Name: "files without unwind rows", Count: 1, Harmless: true, Meaning: err.Error() + "; stacks through it are cut"})
	}
	if r.controlLost != nil {
		add(report.Health{Name: "control socket lost", Count: 1, Harmless: true, Meaning: r.controlLost.Error() + "; no route counts and no `show memory` from then on"})
	}
	for _, why := range r.notQuiet {
		add(report.Health{Name: "snapshots of a BIRD that did not rest", Count: 1, Harmless: true, Meaning: why + "; pools and objects are as good as one reading makes them"})
	}
	add(report.Health{Name: "returns of pages found missed", Count: uint64(r.missedReturns), Harmless: true, Meaning: "by BIRD's own lists of free pages, and corrected"})
	for _, d := range r.Profiler.Dropped() {
		add(report.Health{Name: "probes taken off " + d.Function, Count: 1, Unbounded: true, Meaning: d.String()})
	}
	rare, err := r.Profiler.RareFailures()
	if err != nil {
		return nil, err
	}
	for _, function := range slices.Sorted(maps.Keys(rare)) {
		add(report.Health{Name: "hits of " + function + " that did not fit", Count: rare[function], Harmless: true, Meaning: "their objects stand under [allocation not seen]"})
	}
	if r.Guard != nil && r.Guard.Trouble() != nil {
		add(report.Health{Name: "trouble of the guard", Count: 1, Harmless: true, Meaning: r.Guard.Trouble().Error()})
	}
	if err := r.Profiler.Trouble(); err != nil {
		add(report.Health{Name: "trouble while following", Count: 1, Harmless: true, Meaning: err.Error()})
	}
	if h := lastHeap(r.phases); h != nil {
		add(report.Health{Name: "slab objects that nobody saw allocated", Count: h.Unseen, Harmless: true, Meaning: "on pages taken since we attached; they stand under [allocation not seen]"})
		add(report.Health{Name: "bytes in linpools without an object", Count: h.Unrecorded, Harmless: true, Meaning: "in use, and of no allocation that was followed; they count as the chunk's"})
	}
	moved := make(map[string]attribution.Amount) // by the phase's name
	for i := range r.phases {
		if h := r.phases[i].Heap; h != nil {
			sum := moved[r.phases[i].Name]
			moved[r.phases[i].Name] = attribution.Amount{Objects: sum.Objects + h.Moved, Bytes: sum.Bytes + h.MovedBytes}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(moved)) {
		add(report.Health{Name: "blocks that moved during the " + name + " snapshot", Count: moved[name].Objects, Bytes: moved[name].Bytes, Harmless: name != string(session.Settled), Meaning: "they may be in it or not"})
	}
	if r.walks() {
		// Whatever probes have missed costs stacks and no more.
		for i := range all {
			all[i].Harmless, all[i].Unbounded = true, false
		}
	}
	return all, nil
}

// threads is how many threads the process has, at least 1.
func (r *run) threads() uint64 {
	n, err := r.Process.Threads()
	if err != nil {
		return 1
	}
	return uint64(n)
}

// stationHealth lists what the BMP station could not take or read. It concerns
// the phases and not the live set, so it cannot change the verdict.
func (r *run) stationHealth() []report.Health {
	if r.Station == nil {
		return nil
	}
	c := r.Station.Counts()
	var all []report.Health
	for _, h := range []report.Health{
		{Name: "BMP connections refused", Count: c.Refused, Meaning: "more routers than the station takes"},
		{Name: "BMP connections not accepted", Count: c.AcceptErrors, Meaning: "the system had no resources for them"},
		{Name: "malformed BMP messages", Count: c.MalformedMessages, Meaning: "each ended its connection"},
		{Name: "BMP messages of unknown type", Count: c.UnknownTypes, Meaning: "skipped"},
		{Name: "Route Monitoring messages with an unreadable UPDATE", Count: c.MalformedUpdates, Meaning: "their prefixes are not counted"},
		{Name: "Peer Up and Down messages with unreadable content", Count: c.MalformedUpDowns, Meaning: "counted, content ignored"},
		{Name: "BMP messages of peers beyond the limit", Count: c.UntrackedPeers, Meaning: "not counted by peer"},
	} {
		h.Harmless = true
		if h.Count > 0 {
			all = append(all, h)
		}
	}
	return all
}

// stackQuality counts all allocations by how their stack ended.
func (r *run) stackQuality() report.StackQuality {
	q := report.StackQuality{Ends: make(map[string]uint64)}
	h := lastHeap(r.phases)
	if h == nil {
		return q
	}
	if c, err := r.Profiler.Counters(); err == nil && c[bpf.StacksFull] > 0 {
		q.Allocations += c[bpf.StacksFull]
		q.Ends["not kept"] += c[bpf.StacksFull]
	}
	for _, s := range h.Stacks {
		q.Allocations += s.AllocatedObjects
		if s.Complete {
			q.Complete += s.AllocatedObjects
		} else {
			q.Ends[s.End] += s.AllocatedObjects
		}
	}
	return q
}
