// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"leakprof/collector/birdc"
	"leakprof/profiler/bird"
)

// Line is a line of "show memory": BIRD's numbers and ours, bytes. A line about
// pages has only one number, the effective.
type Line struct {
	Name          string  `json:"name"`
	BirdEffective uint64  `json:"bird_effective"` // the printed number, to the nearest byte
	BirdOverhead  *uint64 `json:"bird_overhead,omitempty"`
	OursEffective *uint64 `json:"ours_effective,omitempty"` // none if it is not known
	OursOverhead  *uint64 `json:"ours_overhead,omitempty"`
	// WithinRounding says that ours is what BIRD prints so; nil if ours is not
	// known. Total and the lines about pages count the command that asks for
	// them: CommandBytes and CommandPages at most.
	WithinRounding *bool `json:"within_rounding,omitempty"`
	// Difference is how much more BIRD has at least, or less if it is negative,
	// in both numbers together, bytes; 0 within the rounding.
	Difference int64 `json:"difference,omitempty"`
}

const (
	// CommandBytes bounds what "show memory" itself costs BIRD while it runs,
	// bytes, and CommandPages the pages in it: pools of the parser and of the
	// reply. They are in what it prints, and in no snapshot.
	CommandBytes = 8 << 10
	CommandPages = 1
)

// poolLines say which pools the lines are of (cmd_show_memory, nest/cmds.c).
var poolLines = map[string]string{
	"Routing tables":   "Routing tables",
	"Route attributes": "Attributes",
	"Protocols":        "Protocols",
	"Current config":   "Configurations",
}

const (
	standbyLine = "Standby memory"
	totalLine   = "Total"
	activeLine  = "Active pages"
	keptLine    = "Kept free pages"
	coldLine    = "Cold free pages"
)

// lines compares each line.
func lines(in Input, j *join) []Line {
	if len(in.Memory) == 0 {
		return nil
	}
	last := in.Memory[len(in.Memory)-1]
	_, countsPages := last.Line(activeLine) // since 2.16
	var all []Line
	for _, printed := range last.Lines {
		ours, known := ourLine(in, j, printed.Name, countsPages)
		more, less := command(printed.Name)
		line := Line{Name: printed.Name, BirdEffective: printed.Effective.Bytes}
		if !printed.Single {
			line.BirdOverhead = &printed.Overhead.Bytes
		}
		if known {
			var apart [2]int64
			line.OursEffective = &ours.effective
			apart[0] = distance(in.Memory, printed.Name, func(l birdc.MemoryLine) birdc.Size { return l.Effective }, ours.effective, more, less)
			if !printed.Single {
				line.OursOverhead = &ours.overhead
				apart[1] = distance(in.Memory, printed.Name, func(l birdc.MemoryLine) birdc.Size { return l.Overhead }, ours.overhead, more, less)
			}
			within := apart == [2]int64{}
			line.WithinRounding, line.Difference = &within, apart[0]+apart[1]
		}
		all = append(all, line)
	}
	return all
}

// distance is how far ours, with up to slack more, is from what BIRD printed in
// any of its replies, where BIRD may have that much more or less.
func distance(replies []*birdc.Memory, name string, column func(birdc.MemoryLine) birdc.Size, ours, more, less uint64) int64 {
	var least, most uint64
	for i, m := range replies {
		l, _ := m.Line(name)
		s := column(l)
		if i == 0 || s.Min < least {
			least = s.Min
		}
		most = max(most, s.Max)
	}
	switch {
	case ours > most+less:
		return -int64(ours - most - less)
	case ours+more < least:
		return int64(least - ours - more)
	}
	return 0
}

// command is how much more and less than before and after it BIRD may count
// while it runs "show memory".
func command(name string) (more, less uint64) {
	switch name {
	case totalLine:
		return CommandBytes, CommandPages * pageSize
	case activeLine:
		return CommandPages * pageSize, 0
	case standbyLine, keptLine:
		return 0, CommandPages * pageSize
	}
	return 0, 0
}

// ourLine is a line by the live set.
func ourLine(in Input, j *join, name string, countsPages bool) (ours size, known bool) {
	if pool, ok := poolLines[name]; ok {
		n := j.tree.Root.Child(pool)
		if n == nil {
			return size{}, false
		}
		return j.sum(n), true
	}
	is3 := j.tree.Layout.Generation == bird.BIRD3
	free := in.Snapshot.FreePages
	if free == nil && name != activeLine {
		return size{}, false
	}
	switch name {
	case standbyLine, totalLine:
		standby := free.KeptCount()
		if countsPages {
			standby += uint64(len(free.Index))
		}
		s := size{overhead: standby * pageSize}
		if name == standbyLine {
			return s, true
		}
		all := j.sum(j.tree.Root)
		return size{all.effective, all.overhead + s.overhead + j.tree.RootOverhead()}, true
	case activeLine:
		// BIRD 2 counts the pages that hold the addresses of cold ones.
		pages := uint64(0)
		for _, b := range in.Snapshot.Live.Blocks {
			if b.IsPage() {
				pages++
			}
		}
		if !is3 {
			if free == nil {
				return size{}, false
			}
			pages += uint64(len(free.Index))
		}
		return size{effective: pages * pageSize}, true
	case keptLine:
		kept := free.KeptCount()
		if is3 {
			kept += uint64(len(free.Index))
		}
		return size{effective: kept * pageSize}, true
	case coldLine:
		return size{effective: uint64(len(free.Cold)) * pageSize}, true
	}
	return size{}, false
}
