// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"path/filepath"
	"strings"

	"leakprof/profiler/attribution"
	"leakprof/profiler/reachability"
	"leakprof/profiler/symbol"
)

// Classes of retained memory, by which its stacks and samples are labelled.
var (
	classLost    = reachability.Lost.String()
	classHeld    = reachability.Held.String()
	classUnknown = reachability.Unknown.String()
)

// mostHolders is how many of a stack's holders a report has.
const mostHolders = 3

func newStack(r *attribution.Retained) DocumentStack {
	d := DocumentStack{
		Bytes: r.Bytes, Objects: r.Objects, SlackBytes: r.FreeRoom(), ReplacedBytes: r.Replaced,
		Class: r.Reach().String(), LostBytes: r.Lost, HeldBytes: r.Held, UnknownBytes: r.Bytes - r.Lost - r.Held,
		HeldBy:          []DocumentHolder{},
		EveryCycleBytes: r.EveryBytes, EveryCycleObjects: r.EveryObjects,
		Allocator: r.Allocator, Resource: r.Class, Pool: orNull(r.Pool),
		Frames: []DocumentFrame{},
	}
	var looked uint64
	for i := range r.Holders {
		looked += r.Holders[i].Objects
		if why := r.Holders[i].Why; why != "" && d.WhyUnknown == "" && d.UnknownBytes > 0 {
			d.WhyUnknown = why
		}
	}
	for i := range r.Holders {
		if h := &r.Holders[i]; h.Why == "" && len(d.HeldBy) < mostHolders {
			d.HeldBy = append(d.HeldBy, newHolder(h, looked))
		}
	}
	if r.Stack == nil {
		return d
	}
	d.Complete, d.End = r.Stack.Complete, r.Stack.End
	d.Frames = newFrames(r.Stack.Frames())
	return d
}

func newStacks(retained []attribution.Retained) []DocumentStack {
	all := []DocumentStack{}
	for i := range retained {
		all = append(all, newStack(&retained[i]))
	}
	return all
}

func newHolder(h *attribution.Holder, looked uint64) DocumentHolder {
	d := DocumentHolder{
		What: h.String(), Pool: orNull(h.Pool), Resource: h.Class, Root: h.Root,
		Share: float64(h.Objects) / float64(looked), Frames: []DocumentFrame{},
	}
	if h.Stack != nil {
		d.Frames = newFrames(h.Stack.Frames())
	}
	return d
}

func newFrames(frames []symbol.Frame) []DocumentFrame {
	all := make([]DocumentFrame, 0, len(frames))
	for _, f := range frames {
		all = append(all, DocumentFrame{
			Function: f.Function, File: f.File, Line: f.Line, Inlined: f.Inlined,
			Module: f.Module, Address: fmt.Sprintf("%#x", f.Address),
			Source: f.Origin(),
		})
	}
	return all
}

// sentence says who holds it, in words: "Memory in Root/Protocols/bmp1,
// allocated by bmp_start (proto/bmp/bmp.c:1043)".
func (h *DocumentHolder) sentence() string {
	s := printable(h.What)
	if by := callerOf(h.Frames); by != "" {
		s += ", allocated by " + printable(by)
	}
	return s
}

// classWords says what a stack's memory is: "lost", or what of it.
func (s *DocumentStack) classWords() string {
	// What the others leave is unknown too: reports of an earlier version have none.
	parts := []struct {
		bytes int64
		class string
	}{{s.LostBytes, classLost}, {s.HeldBytes, classHeld}, {s.Bytes - s.LostBytes - s.HeldBytes, "not known whether lost or held"}}
	var words []string
	for _, p := range parts {
		switch {
		case p.bytes == s.Bytes:
			return p.class
		case p.bytes > 0:
			words = append(words, Size(p.bytes)+" "+p.class)
		}
	}
	return strings.Join(words, ", ")
}

// callerOf names the function that wanted the memory, with its place in the
// source where that is known; "" if there is none.
func callerOf(frames []DocumentFrame) string {
	_, rest := splitAllocator(frames)
	if len(rest) == 0 || strings.HasPrefix(rest[0].Function, "[") {
		return "" // a word of ours, such as [allocated before leakprof attached]
	}
	s := rest[0].Function
	if file := filepath.Base(rest[0].File); rest[0].File != "" && rest[0].Line > 0 {
		s += fmt.Sprintf(" (%s:%d)", file, rest[0].Line)
	} else if rest[0].File != "" {
		s += fmt.Sprintf(" (%s)", file)
	}
	return s
}

// holders says who holds a stack's memory, and why of some of it that is not
// known, a line each.
func (s *DocumentStack) holders() (lines []string) {
	const most = 2
	for i := range s.HeldBy[:min(len(s.HeldBy), most)] {
		h := &s.HeldBy[i]
		line := "held by " + h.sentence()
		if h.Share < 1 {
			line += fmt.Sprintf(" (%.0f %% of those looked at)", 100*h.Share)
		}
		lines = append(lines, line)
	}
	if s.WhyUnknown != "" {
		lines = append(lines, "not known: "+printable(s.WhyUnknown))
	}
	return lines
}
