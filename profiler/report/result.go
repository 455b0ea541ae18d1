// SPDX-License-Identifier: Apache-2.0

// Package report writes what a run found: pprof profiles, report.json and
// report.txt.
package report

import (
	"time"

	"leakprof/profiler/attribution"
	"leakprof/profiler/guard"
)

// Schema is the version of report.json (docs/report.md). It changes when a
// field changes its meaning or goes away, not when one is added.
const Schema = 2

// Result is what a run found.
type Result struct {
	Target Target
	// Phases are in the order of time. A phase's index is the mark of what was
	// allocated in it (attribution.Sample.Mark).
	Phases []Phase
	// Series is how live memory and the sessions went, in the order of time
	// (Recorder); nil if it was not recorded.
	Series []Point
	// Notes are what happened beside the phases, in the order of time: marks,
	// reconfigurations, sessions of other peers; at most 1000.
	Notes []Note
	// Verdict answers the question of the run.
	Verdict Verdict
	// Retained is what each call stack holds after the last cycle more than
	// before the first, largest first; Cycles has the same per cycle.
	Retained []attribution.Retained
	Cycles   []Cycle
	// LostBefore is what is lost after the last cycle and was before the first.
	LostBefore []attribution.Retained
	Health     []Health // everything lost, odd or unknown; only what is not zero
	// Coverage says what layers of BIRD's memory the run followed, and
	// NotCovered what it could not see, in words.
	Coverage, NotCovered []string
	// Mode is how closely BIRD was followed (plan.Mode), "" if it was not.
	Mode string
	// Before is what was there when leakprof attached; nil if nothing could be.
	Before *Before
	// Stacks sums up how many allocations have a complete stack.
	Stacks StackQuality
	// CPU is who was busy while routes came in; nil where it was not measured.
	CPU *FloodCPU
	// Overhead is what the probes cost the target; nil if it is not known.
	Overhead *Overhead
	// Guard is what the probes were expected to cost, and what was done to keep
	// that in bounds; nil if neither was asked for.
	Guard *guard.Account
	// Sessions are the BGP sessions that came and went; nil if nobody told.
	Sessions *Sessions
	// NamesHint says how function names could be had, or from which separate
	// file they are; "" if the program has them.
	NamesHint string
	Started   time.Time
	Ended     time.Time
}

// Before is what BIRD held when leakprof attached. It is in the snapshots, under
// one frame that says so.
type Before struct {
	Bytes         uint64
	Blocks, Pages uint64
	// Unknown says why there may be more that is not known, "" if there is not.
	Unknown string
}

// Target is the process that was followed.
type Target struct {
	PID     int
	Exe     string // path as the target sees it
	BuildID string // hex
	Version string // as BIRD says it, e.g. "3.1.7"; "" if it was not asked
	// Symbols says what names can come from: "dwarf", "symtab" or "none".
	Symbols string
}

// Note is something that happened.
type Note struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Phase is a part of the run, with the state at its end.
type Phase struct {
	Name       string // session.Phase: baseline, flooding, flooded, dropping, settled, running, interval
	Cycle      int    // 1 for the first; 0 for the baseline
	Start, End time.Time
	// BMP counts the station's messages by their RFC 7854 names, since the
	// run's begin.
	BMP map[string]uint64
	// ShowMemory is BIRD's `show memory` at the phase's end, line by line; nil
	// without a control socket.
	ShowMemory []MemoryLine
	// Routes is BIRD's own count of routes in all tables, -1 if unknown.
	Routes int64
	// Commands is how many commands leakprof had sent to the control socket.
	Commands uint64
	// Heap is the snapshot at the phase's end; nil if none was taken. Of cycles
	// long past it is a summary (attribution.Heap.Summary).
	Heap *attribution.Heap
	// Books compare the snapshot with BIRD's own; nil where BIRD has none.
	Books *Books
	// Incomplete says why the phase ended without being what its name says,
	// e.g. "not quiet after 60s"; "" if it did.
	Incomplete string
	// Omitted: the run had so many phases that this one is not reported, and all
	// that was seen at its end is forgotten.
	Omitted bool
}

// MemoryLine is a line of BIRD's `show memory`, in bytes as far as BIRD's
// rounding tells; Overhead is -1 where BIRD prints a single number.
type MemoryLine struct {
	Name                string
	Effective, Overhead float64
	Text                string // the two numbers as BIRD prints them, e.g. "1018.0 MB 2.0 MB"
}

// Cycle is one flood and drop.
type Cycle struct {
	Number int
	// Retained is against the cycle before; nil but in the last cycle.
	Retained []attribution.Retained
	// Bytes and Objects are how much more was live than at the end of the
	// cycle before, over all stacks, those that shrank too. LostBytes is how much
	// of Retained is lost.
	Bytes, Objects, LostBytes int64
}

// VerdictKind is the answer of a run (docs/design.md, "The session").
type VerdictKind string

const (
	Leak       VerdictKind = "leak"
	Held       VerdictKind = "held"
	Clean      VerdictKind = "clean"
	Incomplete VerdictKind = "incomplete"
)

// Verdict is the answer and its reason.
type Verdict struct {
	Kind VerdictKind
	// Sentence says it all in one line.
	Sentence string
	// RetainedBytes and RetainedObjects are after the last cycle.
	RetainedBytes, RetainedObjects int64
	// SlackBytes of them are free room in arrays that do not shrink; they count
	// only if they grow.
	SlackBytes int64
	// LostBytes and LostObjects are all that is lost after the last cycle, also
	// what was before the first.
	LostBytes, LostObjects int64
	// Threshold is below what growth per cycle, or what is lost, counts as
	// nothing, in bytes.
	Threshold int64
}

// Health is a count of something lost, truncated or odd.
type Health struct {
	Name  string // e.g. "frees missed"
	Count uint64
	// Bytes bounds what it can mean for the live bytes; 0 if it means nothing
	// for them, Unbounded if no bound is known.
	Bytes     uint64
	Unbounded bool
	// Meaning says in words what follows from it.
	Meaning string
	// Harmless ones cannot change the verdict.
	Harmless bool
}

// StackQuality counts allocations by how their stack walk ended.
type StackQuality struct {
	Allocations uint64
	Complete    uint64
	Ends        map[string]uint64 // the others, by reason
}

// FloodCPU is CPU time spent while routes came in.
type FloodCPU struct {
	Wall, BIRD, Lab time.Duration
	// Limit says who had no idle time: "bird", "speakers and station" or
	// "neither".
	Limit string
}
