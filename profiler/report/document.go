// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"slices"
	"time"

	"leakprof/profiler/attribution"
)

// Names of the phases that the report compares (docs/design.md, "The
// session").
const (
	phaseBaseline = "baseline"
	phaseFlooded  = "flooded"
	phaseSettled  = "settled"
	phaseResumed  = "resumed"
	phaseInterval = "interval"
)

// Document is report.json, field by field as docs/report.md has it. Everything
// in report.txt comes from here, so that a saved report prints the same again.
type Document struct {
	Schema          int                  `json:"schema"`
	Started         time.Time            `json:"started"`
	Ended           time.Time            `json:"ended"`
	Target          DocumentTarget       `json:"target"`
	Verdict         VerdictKind          `json:"verdict"`
	VerdictSentence string               `json:"verdict_sentence"`
	ThresholdBytes  int64                `json:"threshold_bytes"`
	RetainedBytes   int64                `json:"retained_bytes"`
	RetainedObjects int64                `json:"retained_objects"`
	SlackBytes      int64                `json:"slack_bytes"`
	ReplacedBytes   int64                `json:"replaced_bytes"`
	LostBytes       int64                `json:"lost_bytes"`
	LostObjects     int64                `json:"lost_objects"`
	Cycles          []DocumentCycle      `json:"cycles"`
	Phases          []DocumentPhase      `json:"phases"`
	Series          []DocumentPoint      `json:"series"`
	Notes           []Note               `json:"notes"`
	Stacks          []DocumentStack      `json:"stacks"`
	LostBefore      []DocumentStack      `json:"lost_before"`
	Reconciliation  Reconciliation       `json:"reconciliation"`
	Before          *DocumentBefore      `json:"before"`
	Health          []DocumentHealth     `json:"health"`
	StackQuality    DocumentStackQuality `json:"stack_quality"`
	FloodCPU        *DocumentFloodCPU    `json:"flood_cpu"`
	Overhead        *DocumentOverhead    `json:"overhead"`
	Guard           *DocumentGuard       `json:"guard"`
	Sessions        *DocumentSessions    `json:"sessions"`
	Mode            string               `json:"mode"`
	Covered         []string             `json:"covered"`
	NotCovered      []string             `json:"not_covered"`
	NamesHint       string               `json:"names_hint"`
}

// DocumentTarget is Target in report.json.
type DocumentTarget struct {
	PID     int    `json:"pid"`
	Exe     string `json:"exe"`
	BuildID string `json:"build_id"`
	Version string `json:"version"`
	Symbols string `json:"symbols"`
}

// DocumentBefore is Before in report.json.
type DocumentBefore struct {
	Bytes   uint64 `json:"bytes"`
	Blocks  uint64 `json:"blocks"`
	Pages   uint64 `json:"pages"`
	Unknown string `json:"unknown"`
}

// DocumentCycle is Cycle in report.json, without its stacks.
type DocumentCycle struct {
	Number          int   `json:"number"`
	RetainedBytes   int64 `json:"retained_bytes"`
	RetainedObjects int64 `json:"retained_objects"`
	LostBytes       int64 `json:"lost_bytes"`
}

// DocumentPhase is Phase in report.json. Pointers are null where the run does
// not know.
type DocumentPhase struct {
	Name        string               `json:"name"`
	Cycle       int                  `json:"cycle"`
	Start       time.Time            `json:"start"`
	End         *time.Time           `json:"end"`
	BMPCounts   map[string]uint64    `json:"bmp_counts"`
	ShowMemory  []DocumentMemoryLine `json:"show_memory"`
	LiveBytes   *uint64              `json:"live_bytes"`
	LiveObjects *uint64              `json:"live_objects"`
	Live        []DocumentLive       `json:"live"`
	Routes      *int64               `json:"routes"`
	Incomplete  string               `json:"incomplete"`
	// What of LiveBytes is lost, held or neither for certain; null where nobody
	// looked for pointers.
	LostBytes    *uint64         `json:"lost_bytes"`
	HeldBytes    *uint64         `json:"held_bytes"`
	UnknownBytes *uint64         `json:"unknown_bytes"`
	Search       *DocumentSearch `json:"search"`
}

// DocumentSearch says how the search for pointers at a phase's end went.
type DocumentSearch struct {
	Seconds        float64 `json:"seconds"`
	ReadBytes      uint64  `json:"read_bytes"`
	Looks          int     `json:"looks"`
	RunningThreads int     `json:"running_threads"`
	Doubt          string  `json:"doubt"`
}

// DocumentLive is what of the live memory one allocator has in one of BIRD's
// pools; Pool is null where the resource tree does not know the memory.
type DocumentLive struct {
	Allocator string  `json:"allocator"`
	Pool      *string `json:"pool"`
	Bytes     uint64  `json:"bytes"`
	Objects   uint64  `json:"objects"`
}

// DocumentMemoryLine is MemoryLine in report.json.
type DocumentMemoryLine struct {
	Name           string   `json:"name"`
	EffectiveBytes float64  `json:"effective_bytes"`
	OverheadBytes  *float64 `json:"overhead_bytes"`
	Text           string   `json:"text"`
}

// DocumentStack is a stack that retains memory.
type DocumentStack struct {
	Bytes      int64 `json:"bytes"`
	Objects    int64 `json:"objects"`
	SlackBytes int64 `json:"slack_bytes"`
	// ReplacedBytes are in the place of what other stacks held before.
	ReplacedBytes int64            `json:"replaced_bytes"`
	Class         string           `json:"class"`
	LostBytes     int64            `json:"lost_bytes"`
	HeldBytes     int64            `json:"held_bytes"`
	UnknownBytes  int64            `json:"unknown_bytes"`
	HeldBy        []DocumentHolder `json:"held_by"`
	WhyUnknown    string           `json:"why_unknown"`
	// EveryCycleBytes and EveryCycleObjects are the least that came in any cycle
	// after the first.
	EveryCycleBytes   int64           `json:"every_cycle_bytes"`
	EveryCycleObjects int64           `json:"every_cycle_objects"`
	Allocator         string          `json:"allocator"`
	Resource          string          `json:"resource"`
	Pool              *string         `json:"pool"`
	Complete          bool            `json:"complete"`
	End               string          `json:"end"`
	Frames            []DocumentFrame `json:"frames"`
}

// DocumentHolder is who holds some of a stack's memory.
type DocumentHolder struct {
	What     string          `json:"what"`
	Pool     *string         `json:"pool"`
	Resource string          `json:"resource"`
	Root     string          `json:"root"`
	Share    float64         `json:"share"`
	Frames   []DocumentFrame `json:"frames"`
}

// DocumentFrame is a function of a stack, innermost first.
type DocumentFrame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Inlined  bool   `json:"inlined"`
	Module   string `json:"module"`
	Address  string `json:"address"`
	// Source is one of symbol.Origins; "" for a frame that stands for no code,
	// and in reports of before it was noted.
	Source string `json:"source"`
}

// DocumentHealth is Health in report.json; BoundBytes is null if no bound is
// known.
type DocumentHealth struct {
	Name       string  `json:"name"`
	Count      uint64  `json:"count"`
	BoundBytes *uint64 `json:"bound_bytes"`
	Meaning    string  `json:"meaning"`
	Harmless   bool    `json:"harmless"`
}

// DocumentStackQuality is StackQuality in report.json.
type DocumentStackQuality struct {
	Allocations uint64            `json:"allocations"`
	Complete    uint64            `json:"complete"`
	Ends        map[string]uint64 `json:"ends"`
}

// DocumentFloodCPU is FloodCPU in report.json, in seconds.
type DocumentFloodCPU struct {
	WallSeconds float64 `json:"wall_seconds"`
	BIRDSeconds float64 `json:"bird_seconds"`
	LabSeconds  float64 `json:"lab_seconds"`
	Limit       string  `json:"limit"`
}

// NewDocument returns a result as report.json has it.
func NewDocument(r *Result) *Document {
	d := &Document{
		Schema:  Schema,
		Started: r.Started.UTC(), Ended: r.Ended.UTC(),
		Target:          DocumentTarget(r.Target),
		Verdict:         r.Verdict.Kind,
		VerdictSentence: r.Verdict.Sentence,
		ThresholdBytes:  r.Verdict.Threshold,
		RetainedBytes:   r.Verdict.RetainedBytes,
		RetainedObjects: r.Verdict.RetainedObjects,
		SlackBytes:      r.Verdict.SlackBytes,
		LostBytes:       r.Verdict.LostBytes,
		LostObjects:     r.Verdict.LostObjects,
		Before:          (*DocumentBefore)(r.Before),
		// Lists are [], never null: a reader can go through them.
		Cycles:         []DocumentCycle{},
		Phases:         []DocumentPhase{},
		Series:         []DocumentPoint{},
		Notes:          append([]Note{}, r.Notes...),
		Stacks:         newStacks(r.Retained),
		LostBefore:     newStacks(r.LostBefore),
		Reconciliation: Reconciliation{Phases: []ReconciliationPhase{}},
		Health:         []DocumentHealth{},
		StackQuality:   newStackQuality(r.Stacks),
		Mode:           r.Mode,
		Covered:        append([]string{}, r.Coverage...),
		NotCovered:     append([]string{}, r.NotCovered...),
		NamesHint:      r.NamesHint,
		Overhead:       newOverhead(r.Overhead),
		Guard:          newGuard(r.Guard),
		Sessions:       newSessions(r.Sessions),
	}
	for _, c := range r.Cycles {
		d.Cycles = append(d.Cycles, DocumentCycle{Number: c.Number, RetainedBytes: c.Bytes, RetainedObjects: c.Objects, LostBytes: c.LostBytes})
	}
	for i := range r.Phases {
		if r.Phases[i].Omitted {
			continue
		}
		p := newPhase(&r.Phases[i])
		d.Phases = append(d.Phases, p)
		if r.Phases[i].Heap != nil && r.Phases[i].Books != nil {
			d.Reconciliation.Phases = append(d.Reconciliation.Phases, newReconciliation(&r.Phases[i]))
		}
	}
	for _, p := range r.Series {
		d.Series = append(d.Series, newPoint(p))
	}
	for i := range r.Retained {
		d.ReplacedBytes += r.Retained[i].Replaced
	}
	for _, h := range r.Health {
		d.Health = append(d.Health, newHealth(h))
	}
	if c := r.CPU; c != nil {
		d.FloodCPU = &DocumentFloodCPU{c.Wall.Seconds(), c.BIRD.Seconds(), c.Lab.Seconds(), c.Limit}
	}
	return d
}

func newPhase(p *Phase) DocumentPhase {
	d := DocumentPhase{
		Name: p.Name, Cycle: p.Cycle, Start: p.Start.UTC(), Incomplete: p.Incomplete,
		BMPCounts:  map[string]uint64{},
		ShowMemory: []DocumentMemoryLine{},
		Live:       []DocumentLive{},
	}
	if !p.End.IsZero() {
		end := p.End.UTC()
		d.End = &end
	}
	for name, n := range p.BMP {
		d.BMPCounts[name] = n
	}
	for _, l := range p.ShowMemory {
		line := DocumentMemoryLine{Name: l.Name, EffectiveBytes: l.Effective, Text: l.Text}
		if l.Overhead >= 0 {
			line.OverheadBytes = &l.Overhead
		}
		d.ShowMemory = append(d.ShowMemory, line)
	}
	if p.Routes >= 0 {
		d.Routes = &p.Routes
	}
	if p.Heap != nil {
		bytes, objects := p.Heap.Totals()
		d.LiveBytes, d.LiveObjects = &bytes, &objects
		d.Live = newLive(p.Heap)
		if r := p.Heap.Reach; r != nil {
			d.LostBytes, d.HeldBytes, d.UnknownBytes = &r.Lost.Bytes, &r.Held.Bytes, &r.Unknown.Bytes
			d.Search = &DocumentSearch{r.Duration.Seconds(), r.Read, r.Looks, r.Running, r.Doubt}
		}
	}
	return d
}

// newLive sums a snapshot up by allocator and pool, largest first.
func newLive(h *attribution.Heap) []DocumentLive {
	type key struct{ allocator, pool string }
	index := make(map[key]int)
	all := []DocumentLive{}
	for i := range h.Samples {
		s := &h.Samples[i]
		k := key{s.Allocator, s.Pool}
		n, known := index[k]
		if !known {
			n = len(all)
			index[k] = n
			all = append(all, DocumentLive{Allocator: s.Allocator, Pool: orNull(s.Pool)})
		}
		all[n].Bytes += s.Bytes
		all[n].Objects += s.Objects
	}
	slices.SortStableFunc(all, func(a, b DocumentLive) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return all
}

func newHealth(h Health) DocumentHealth {
	d := DocumentHealth{Name: h.Name, Count: h.Count, Meaning: h.Meaning, Harmless: h.Harmless}
	if !h.Unbounded {
		d.BoundBytes = &h.Bytes
	}
	return d
}

func newStackQuality(q StackQuality) DocumentStackQuality {
	d := DocumentStackQuality{Allocations: q.Allocations, Complete: q.Complete, Ends: map[string]uint64{}}
	for end, n := range q.Ends {
		d.Ends[end] = n
	}
	return d
}

// orNull is null for what is not known.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
