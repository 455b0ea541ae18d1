// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/pprof/profile"

	"leakprof/profiler/attribution"
	"leakprof/profiler/reachability"
	"leakprof/profiler/symbol"
)

// ProfileOptions say what a profile tells beside the numbers.
type ProfileOptions struct {
	// Marks names the phase in which memory was allocated, by
	// attribution.Sample.Mark. A mark beyond its end gets no phase.
	Marks []Mark
	// Started is the run's begin; the profile's duration is counted from it.
	Started time.Time
	// Comments are the facts by which to judge the numbers, one a line.
	Comments []string
}

// Mark is a phase of a run as profiles name it (labels "phase" and "cycle").
type Mark struct {
	Phase string
	Cycle int // 0 for the baseline: no label
}

// sampleTypes are those of Go's heap profile, in its order.
const (
	allocObjects = iota
	allocSpace
	inuseObjects
	inuseSpace
	sampleTypes
)

// Profile returns a snapshot as a pprof profile. inuse_* is what was live, a
// sample for each stack, allocator, class, phase and size bucket. alloc_* is
// everything a stack has ever allocated, freed or not; that is known per stack
// only, so each stack has one further sample for it, without labels.
func Profile(h *attribution.Heap, o ProfileOptions) (*profile.Profile, error) {
	if h == nil {
		return nil, errors.New("make profile: no snapshot")
	}
	b := newProfileBuilder(h, o)
	for i := range h.Samples {
		s := &h.Samples[i]
		out, err := b.add(s.Stack)
		if err != nil {
			return nil, err
		}
		if out.Value[inuseObjects], out.Value[inuseSpace], err = counts(s.Objects, s.Bytes); err != nil {
			return nil, err
		}
		out.Label = labels("allocator", s.Allocator, "resource", s.Class, "pool", s.Pool)
		if s.Reach != reachability.NotLive {
			out.Label["class"] = []string{s.Reach.String()}
		}
		out.NumLabel = map[string][]int64{"bytes": {int64(min(s.SizeBucket, math.MaxInt64))}}
		out.NumUnit = map[string][]string{"bytes": {"bytes"}}
		if s.Mark >= 0 && s.Mark < len(o.Marks) {
			m := o.Marks[s.Mark]
			out.Label["phase"] = []string{m.Phase}
			if m.Cycle > 0 {
				// pprof's -tagfocus=cycle=2 asks numeric labels only.
				out.NumLabel["cycle"], out.NumUnit["cycle"] = []int64{int64(m.Cycle)}, []string{"count"}
			}
		}
	}
	for _, s := range h.Stacks {
		if s != nil && s.AllocatedObjects == 0 && s.AllocatedBytes == 0 {
			continue
		}
		out, err := b.add(s)
		if err != nil {
			return nil, err
		}
		if out.Value[allocObjects], out.Value[allocSpace], err = counts(s.AllocatedObjects, s.AllocatedBytes); err != nil {
			return nil, err
		}
	}
	return b.p, nil
}

// RetainedProfile returns as a pprof profile what each stack holds more than
// at the begin; at is the snapshot it was found in. Every sample holds bytes:
// what shrank is left out, and blocks are counted as 0 where a stack holds more
// bytes in fewer blocks. alloc_* is everything the stack has ever allocated, on
// the first of its samples.
func RetainedProfile(grown []attribution.Retained, at *attribution.Heap, o ProfileOptions) (*profile.Profile, error) {
	if at == nil {
		return nil, errors.New("make profile: no snapshot")
	}
	b := newProfileBuilder(at, o)
	for i := range grown {
		r := &grown[i]
		if r.Bytes <= 0 {
			continue
		}
		for _, p := range byClass(r) {
			_, again := b.stacks[r.Stack]
			out, err := b.add(r.Stack)
			if err != nil {
				return nil, err
			}
			out.Value[inuseObjects], out.Value[inuseSpace] = p.objects, p.bytes
			out.Label = labels("allocator", r.Allocator, "resource", r.Class, "pool", r.Pool, "class", p.class)
			if again {
				continue
			}
			if out.Value[allocObjects], out.Value[allocSpace], err = counts(r.Stack.AllocatedObjects, r.Stack.AllocatedBytes); err != nil {
				return nil, err
			}
		}
	}
	return b.p, nil
}

// part is what of a stack's retained memory is of one class.
type part struct {
	class          string
	objects, bytes int64
}

// byClass takes retained memory apart. How many objects are lost is known; what
// is unknown gets its share of the others by bytes.
func byClass(r *attribution.Retained) []part {
	objects := max(r.Objects, 0)
	lost := min(r.LostObjects, objects)
	unknown := r.Bytes - r.Lost - r.Held
	notHeld := int64(0)
	if rest := r.Bytes - r.Lost; rest > 0 {
		notHeld = int64(float64(objects-lost) * float64(unknown) / float64(rest))
	}
	var parts []part
	for _, p := range []part{{classLost, lost, r.Lost}, {classHeld, objects - lost - notHeld, r.Held}, {classUnknown, notHeld, unknown}} {
		if p.bytes > 0 {
			parts = append(parts, p)
		}
	}
	return parts
}

// labels makes pprof's string labels from keys and values; empty ones say
// nothing and are left out.
func labels(pairs ...string) map[string][]string {
	m := make(map[string][]string, len(pairs)/2+1)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = []string{pairs[i+1]}
		}
	}
	return m
}

func counts(objects, bytes uint64) (int64, int64, error) {
	if objects > math.MaxInt64 || bytes > math.MaxInt64 {
		return 0, 0, fmt.Errorf("make profile: %d blocks of %d bytes are more than a profile can hold", objects, bytes)
	}
	return int64(objects), int64(bytes), nil
}

// window is the range of addresses that a profile gives to each ELF file: the
// file numbered i has its ELF address v at i*window+v. So addresses are the
// same in every run, whatever the loader's randomization did, ranges never
// overlap, and the program, file 0, has its ELF addresses as they are.
const window = 1 << 40

type profileBuilder struct {
	p         *profile.Profile
	locations map[locationKey]*profile.Location
	functions map[profile.Function]*profile.Function
	stacks    map[*attribution.Stack][]*profile.Location
}

type locationKey struct {
	module   int
	address  uint64
	function string // tells apart what has no address
}

func newProfileBuilder(h *attribution.Heap, o ProfileOptions) *profileBuilder {
	b := &profileBuilder{
		p: &profile.Profile{
			SampleType: []*profile.ValueType{
				allocObjects: {Type: "alloc_objects", Unit: "count"},
				allocSpace:   {Type: "alloc_space", Unit: "bytes"},
				inuseObjects: {Type: "inuse_objects", Unit: "count"},
				inuseSpace:   {Type: "inuse_space", Unit: "bytes"},
			},
			DefaultSampleType: "inuse_space",
			PeriodType:        &profile.ValueType{Type: "space", Unit: "bytes"},
			Period:            1, // every allocation was seen
			TimeNanos:         unixNano(h.Time),
			Comments:          o.Comments,
		},
		locations: make(map[locationKey]*profile.Location),
		functions: make(map[profile.Function]*profile.Function),
		stacks:    make(map[*attribution.Stack][]*profile.Location, len(h.Stacks)),
	}
	if !o.Started.IsZero() && h.Time.After(o.Started) {
		b.p.DurationNanos = h.Time.Sub(o.Started).Nanoseconds()
	}
	for i, m := range h.Modules {
		b.p.Mapping = append(b.p.Mapping, &profile.Mapping{
			ID:      uint64(i + 1),
			Start:   uint64(i) * window,
			Limit:   uint64(i+1) * window,
			File:    m.Path,
			BuildID: m.BuildID,
			// Every location has a name, be it module+0xaddress. Without this
			// pprof looks for the file on the machine where it runs, warns if
			// there is none, and takes a wrong one if there is another.
			HasFunctions:    true,
			HasFilenames:    m.HasLines || m.ToldFiles,
			HasLineNumbers:  m.HasLines,
			HasInlineFrames: m.HasInlines,
		})
	}
	return b
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// add appends a sample of zeroes at a stack.
func (b *profileBuilder) add(s *attribution.Stack) (*profile.Sample, error) {
	if s == nil {
		return nil, errors.New("make profile: a sample has no stack")
	}
	locations, ok := b.stacks[s]
	if !ok {
		for depth, l := range s.Locations {
			location, err := b.location(l, depth)
			if err != nil {
				return nil, fmt.Errorf("make profile: frame %d of stack %#x: %w", depth, s.Key, err)
			}
			locations = append(locations, location)
		}
		b.stacks[s] = locations
	}
	sample := &profile.Sample{Location: locations, Value: make([]int64, sampleTypes)}
	b.p.Sample = append(b.p.Sample, sample)
	return sample, nil
}

func (b *profileBuilder) location(l attribution.Location, depth int) (*profile.Location, error) {
	if len(l.Lines) == 0 {
		return nil, errors.New("no function")
	}
	if l.Module >= len(b.p.Mapping) {
		return nil, fmt.Errorf("module %d of %d", l.Module, len(b.p.Mapping))
	}
	address := l.Address
	if depth > 0 && address > 0 {
		// A return address may belong to the next line or even function;
		// profile.proto wants one within the call.
		address--
	}
	k := locationKey{l.Module, address, l.Lines[0].Function}
	if known := b.locations[k]; known != nil {
		return known, nil
	}
	out := &profile.Location{ID: uint64(len(b.p.Location) + 1), Address: address}
	// No ELF file for user space has addresses beyond its window. If one
	// comes nevertheless, its frames keep their names and belong to no file.
	if l.Module >= 0 && address < window {
		out.Mapping = b.p.Mapping[l.Module]
		out.Address += out.Mapping.Start
	}
	for _, f := range l.Lines {
		key := profile.Function{Name: f.Function, SystemName: f.Symbol, Filename: f.File}
		if key.SystemName == "" {
			key.SystemName = f.Function
		}
		if f.Origin() == symbol.OriginFileOnly {
			// pprof shows no files unless it is asked to, and of such a function
			// the file is all that says anything.
			key.Name += " (" + f.File + ")"
		}
		function := b.functions[key]
		if function == nil {
			function = &profile.Function{ID: uint64(len(b.p.Function) + 1), Name: key.Name, SystemName: key.SystemName, Filename: key.Filename}
			b.functions[key] = function
			b.p.Function = append(b.p.Function, function)
		}
		out.Line = append(out.Line, profile.Line{Function: function, Line: int64(f.Line)})
	}
	b.locations[k] = out
	b.p.Location = append(b.p.Location, out)
	return out, nil
}
