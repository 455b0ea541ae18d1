// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"leakprof/profiler/attribution"
	"leakprof/profiler/symbol"
)

// roundTrip is a profile as a reader gets it.
func roundTrip(t *testing.T, p *profile.Profile) *profile.Profile {
	t.Helper()
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	read, err := profile.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func lastProfile(t *testing.T, r *Result) *profile.Profile {
	t.Helper()
	p, err := Profile(r.lastHeap(phaseFlooded), r.ProfileOptions())
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, p)
}

// TestProfileSums compares a profile with the snapshot, in total and by stack.
func TestProfileSums(t *testing.T) {
	r := leak()
	h := r.lastHeap(phaseFlooded)
	p := lastProfile(t, r)
	var sums [sampleTypes]int64
	byStack := make(map[string][sampleTypes]int64)
	for _, s := range p.Sample {
		var b strings.Builder
		for _, l := range s.Location {
			fmt.Fprintf(&b, "%d ", l.ID)
		}
		sum := byStack[b.String()]
		for i, v := range s.Value {
			sums[i] += v
			sum[i] += v
		}
		byStack[b.String()] = sum
	}
	live, objects := h.Totals()
	var want [sampleTypes]int64
	want[inuseObjects], want[inuseSpace] = int64(objects), int64(live)
	for _, s := range h.Stacks {
		want[allocObjects] += int64(s.AllocatedObjects)
		want[allocSpace] += int64(s.AllocatedBytes)
	}
	if sums != want {
		t.Errorf("sums are %d, want %d", sums, want)
	}
	if len(byStack) != len(h.Stacks) {
		t.Errorf("%d stacks, want %d", len(byStack), len(h.Stacks))
	}
	for _, sum := range byStack {
		if sum[inuseSpace] > sum[allocSpace] || sum[inuseObjects] > sum[allocObjects] {
			t.Errorf("a stack holds more than it ever allocated: %d", sum)
		}
	}
}

func TestProfileFormat(t *testing.T) {
	p := lastProfile(t, leak())
	var types []string
	for _, s := range p.SampleType {
		types = append(types, s.Type+"/"+s.Unit)
	}
	if want := []string{"alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes"}; !slices.Equal(types, want) {
		t.Errorf("sample types %q, want %q", types, want)
	}
	if p.DefaultSampleType != "inuse_space" || p.PeriodType.Type != "space" || p.PeriodType.Unit != "bytes" || p.Period != 1 || p.DropFrames != "" {
		t.Errorf("default %q, period %d %v, drop frames %q", p.DefaultSampleType, p.Period, p.PeriodType, p.DropFrames)
	}
	if m := p.Mapping[0]; m.File != "/usr/sbin/bird" || m.BuildID != modules[0].BuildID || !m.HasFunctions || !m.HasFilenames || !m.HasLineNumbers || !m.HasInlineFrames {
		t.Errorf("mapping 0 is %+v", m)
	}
	// Addresses lie in their own file's range, and ranges do not overlap.
	for i, m := range p.Mapping {
		if m.Start >= m.Limit || i > 0 && m.Start < p.Mapping[i-1].Limit {
			t.Errorf("mapping %d has the range %#x to %#x", i, m.Start, m.Limit)
		}
	}
	functions, addresses := make(map[string]bool), make(map[uint64]bool)
	for _, f := range p.Function {
		key := f.Name + " " + f.SystemName + " " + f.Filename
		if functions[key] {
			t.Errorf("function %s is there twice", key)
		}
		functions[key] = true
	}
	for _, l := range p.Location {
		if l.Mapping != nil && (l.Address < l.Mapping.Start || l.Address >= l.Mapping.Limit) {
			t.Errorf("address %#x is not in %+v", l.Address, l.Mapping)
		}
		if addresses[l.Address] {
			t.Errorf("location %#x is there twice", l.Address)
		}
		addresses[l.Address] = true
	}
	// 0x80f31 returns into bmp.c:231, which is inlined into bmp.c:655.
	i := slices.IndexFunc(p.Location, func(l *profile.Location) bool { return l.Address == 0x80f31-1 })
	if i < 0 {
		t.Fatal("the call before 0x80f31 is not there")
	}
	var lines []string
	for _, l := range p.Location[i].Line {
		lines = append(lines, fmt.Sprintf("%s:%d", l.Function.Name, l.Line))
	}
	if want := []string{"bmp_schedule_tx_packet:231", "bmp_route_monitor_update_in_pre_commit:655"}; !slices.Equal(lines, want) {
		t.Errorf("inlined functions %q, want %q", lines, want)
	}
	// The innermost address is no return address: it is as it was.
	if a := p.Sample[0].Location[0].Address; a != window+0x98860 {
		t.Errorf("malloc is at %#x, want %#x", a, window+0x98860)
	}
}

func TestProfileLabels(t *testing.T) {
	kinds := make(map[string]string)
	for _, p := range []*profile.Profile{lastProfile(t, leak()), retained(t, leak())} {
		for _, s := range p.Sample {
			for k, v := range s.Label {
				if kinds[k] == "number" || len(v) != 1 || v[0] == "" {
					t.Errorf("label %s=%q, %s before", k, v, kinds[k])
				}
				kinds[k] = "string"
			}
			for k, v := range s.NumLabel {
				if kinds[k] == "string" || len(v) != 1 || len(s.NumUnit[k]) != 1 || s.NumUnit[k][0] == "" {
					t.Errorf("label %s=%d %q, %s before", k, v, s.NumUnit[k], kinds[k])
				}
				kinds[k] = "number"
			}
		}
	}
	want := map[string]string{"allocator": "string", "pool": "string", "resource": "string", "class": "string", "phase": "string", "cycle": "number", "bytes": "number"}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("labels %v, want %v", kinds, want)
	}
}

func retained(t *testing.T, r *Result) *profile.Profile {
	t.Helper()
	p, err := r.retainedProfile(r.ProfileOptions())
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, p)
}

func TestRetainedProfileIsPositive(t *testing.T) {
	r := leak()
	s := bmpNode()
	s.Key, s.AllocatedObjects, s.AllocatedBytes = 99, 7, 700
	r.Retained = append(r.Retained,
		attribution.Retained{Stack: s, Allocator: "mb", Class: "Memory", Objects: -3, Bytes: 500}, // fewer, but larger
		attribution.Retained{Stack: s, Allocator: "malloc", Objects: 1, Bytes: 100},
		attribution.Retained{Stack: startup(), Allocator: "mb", Objects: 5, Bytes: -100},
		attribution.Retained{Stack: startup(), Allocator: "mb", Objects: 5},
	)
	var sum, want [sampleTypes]int64
	for _, s := range retained(t, r).Sample {
		if s.Value[inuseSpace] <= 0 || slices.Min(s.Value) < 0 {
			t.Errorf("sample %d", s.Value)
		}
		for i, v := range s.Value {
			sum[i] += v
		}
	}
	want = [sampleTypes]int64{8_000_507, 4_400_064_700, 2_000_249, 1_056_050_968}
	if sum != want {
		t.Errorf("sums are %d, want %d", sum, want)
	}
}

func TestProfileRefuses(t *testing.T) {
	good := func() *attribution.Heap {
		s := bmpQueue()
		return heap(1, []*attribution.Stack{s}, sample(s, 0, "mb", "Memory", 8, 1, 8))
	}
	for name, c := range map[string]struct {
		change func(*attribution.Heap)
		want   string
	}{
		"no stack of a sample": {func(h *attribution.Heap) { h.Samples[0].Stack = nil }, "no stack"},
		"no stack":             {func(h *attribution.Heap) { h.Stacks[0] = nil }, "no stack"},
		"no lines":             {func(h *attribution.Heap) { h.Stacks[0].Locations[0].Lines = nil }, "no function"},
		"unknown module":       {func(h *attribution.Heap) { h.Stacks[0].Locations[0].Module = 7 }, "module 7 of 2"},
		"too many bytes":       {func(h *attribution.Heap) { h.Samples[0].Bytes = math.MaxUint64 }, "more than a profile can hold"},
		"too many allocated":   {func(h *attribution.Heap) { h.Stacks[0].AllocatedBytes = math.MaxUint64 }, "more than a profile can hold"},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			if _, err := Profile(h, ProfileOptions{}); err != nil {
				t.Fatal(err)
			}
			c.change(h)
			if _, err := Profile(h, ProfileOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Profile(nil, ProfileOptions{}); err == nil {
		t.Error("nil is taken for a snapshot")
	}
}

// TestProfileOddLocations: what belongs to no file keeps its name.
func TestProfileOddLocations(t *testing.T) {
	odd := func(module int, address uint64, name string) attribution.Location {
		return attribution.Location{Module: module, Address: address, Lines: []symbol.Frame{{Function: name}}}
	}
	s := &attribution.Stack{Key: 1, Locations: []attribution.Location{
		odd(-1, 0, "[stack not kept]"), odd(-1, 0, "0x0"), odd(libcModule, math.MaxUint64-4095, "__vdso_time"), odd(-1, math.MaxUint64, "0xffffffffffffffff"),
	}}
	p, err := Profile(heap(1, nil, sample(s, -1, "", "", 0, 1, 0), sample(s, 5, "", "", 0, 1, 0)), ProfileOptions{Marks: []Mark{{Phase: "baseline"}}})
	if err != nil {
		t.Fatal(err)
	}
	p = roundTrip(t, p)
	var names []string
	for _, l := range p.Sample[0].Location {
		names = append(names, l.Line[0].Function.Name)
		if l.Mapping != nil {
			t.Errorf("%s is in %s", l.Line[0].Function.Name, l.Mapping.File)
		}
	}
	if want := []string{"[stack not kept]", "0x0", "__vdso_time", "0xffffffffffffffff"}; !slices.Equal(names, want) {
		t.Errorf("frames %q, want %q", names, want)
	}
	if len(p.Sample) != 2 || len(p.Sample[0].Label)+len(p.Sample[1].Label) != 0 {
		t.Errorf("samples %v", p.Sample)
	}
}

// BenchmarkProfile makes a profile of a large BIRD: 5,000 stacks of 24
// frames with 4 samples each.
func BenchmarkProfile(b *testing.B) {
	h := &attribution.Heap{Time: minute(1), Modules: modules}
	for i := range uint64(5000) {
		s := &attribution.Stack{Key: i + 1, Complete: true, AllocatedObjects: 100, AllocatedBytes: 6400}
		for depth := range uint64(24) {
			// Stacks share their outer frames, as calls do.
			address := depth<<16 | i>>depth
			s.Locations = append(s.Locations, attribution.Location{Module: birdModule, Address: address, Lines: []symbol.Frame{
				{Function: fmt.Sprintf("inlined_%x", address>>2), File: "nest/proto.c", Line: 12, Inlined: true},
				{Function: fmt.Sprintf("function_%x", address>>3), File: "nest/proto.c", Line: 34},
			}})
		}
		h.Stacks = append(h.Stacks, s)
		for n := range 4 {
			h.Samples = append(h.Samples, sample(s, n, "mb", "Memory", 64<<n, 10, 640))
		}
	}
	o := ProfileOptions{Marks: []Mark{{"baseline", 0}, {"flooding", 1}, {"flooded", 1}, {"dropping", 1}}}
	for b.Loop() {
		if _, err := Profile(h, o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(h.Samples))*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}
