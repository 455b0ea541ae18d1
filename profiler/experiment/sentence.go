// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"slices"
	"strings"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// sentence is what a verdict's sentence is made of.
type sentence struct {
	r                      *run
	routes, baseRoutes     int64 // at the last look and the first, -1 if unknown
	growth, content, slack int64 // bytes
	retained               []attribution.Retained
	total                  int64 // bytes in retained
	cycles                 []report.Cycle
	steady                 map[site]int64
	lost                   []attribution.Retained // at the last look
	replaced               int64                  // bytes that are in the place of others
	resumed                int64                  // bytes that are left once the station reads again, -1 if it never stalled
	resumedSlack           int64                  // of it, free room
}

// leak: "leak: +254.0 MB in each of cycles 2 and 3, 1018.0 MB now, 0 routes
// left; 99.9 % in 2 call stacks; pool Root/Protocols/BMP/BMP Buffer".
func (s *sentence) leak() string {
	return fmt.Sprintf("leak: %s in %s, %s now%s%s", report.SignedSize(s.growth), s.laterCycles(), report.Size(s.total), s.routesLeft(), s.where())
}

// lostLeak is that of memory that is lost and does not grow, or of which the
// cycles cannot show it; why says what is wrong with them, "" if nothing is.
func (s *sentence) lostLeak(why string) string {
	bytes, objects := sumRetained(s.lost)
	text := fmt.Sprintf("leak: %s in %s lost after %s, nothing points at them%s", report.Size(bytes), count(objects, "object"), count(int64(len(s.cycles)), s.r.cycleWord()), s.routesLeft())
	if n, share := concentration(s.lost); n > 0 {
		text += fmt.Sprintf("; %.1f %% in %s%s", 100*share, places(s.lost[:n]), inPool(s.lost[:n]))
	}
	switch {
	case why != "":
		text += "; whether it grows cannot be told: " + why
	case len(s.cycles) == 1:
		text += "; one " + s.r.cycleWord() + " cannot show whether it grows"
	case s.growth > 0:
		text += fmt.Sprintf("; %s in %s", report.SignedSize(s.growth), s.laterCycles())
	default:
		text += "; not growing"
	}
	return text
}

// lostPages is that of free pages which BIRD has lost.
func (s *sentence) lostPages(growth, now int64) string {
	return fmt.Sprintf("leak: %s of free pages that BIRD has on none of its lists in %s, %s now%s; no call stack has them, %s is live that was not before the first %s",
		report.SignedSize(growth), s.laterCycles(), report.Size(now), s.routesLeft(), report.Size(s.total), s.r.firstWord())
}

// smallLeak is that of a leak that is told by its objects.
func (s *sentence) smallLeak() string {
	var each int64
	for _, n := range s.steady {
		each += n
	}
	var stacks []attribution.Retained
	var bytes, objects int64
	for _, t := range s.retained {
		if s.steady[siteOf(t.Stack, t.Allocator)] > 0 {
			stacks = append(stacks, t)
			bytes, objects = bytes+t.Bytes, objects+t.Objects
		}
	}
	text := fmt.Sprintf("leak: +%s in %s, %s in %s now%s; in %s", count(each, "object"), s.laterCycles(), report.Size(bytes), count(objects, "object"), s.routesLeft(), s.steadyPlaces(stacks))
	if len(stacks) > 0 {
		var callers []string
		for _, t := range stacks {
			if c := report.Caller(t.Stack.Frames()); c != "" && t.Stack.Kind == "" && !slices.Contains(callers, c) {
				callers = append(callers, c)
			}
		}
		if len(callers) > 0 {
			text += ", of " + list(callers, 3)
		}
		text += classes(stacks) + inPool(stacks)
	}
	rest := s.total - bytes
	if rest >= s.r.Threshold {
		return text + fmt.Sprintf("; all else, %s, did not grow in each", report.Size(rest))
	}
	return text + fmt.Sprintf("; all else is %s, below the threshold of %s", report.Size(rest), report.Size(s.r.Threshold))
}

func (s *sentence) held() string {
	if s.resumed >= 0 {
		text := fmt.Sprintf("held: %s while the station did not read, %s once it read again%s%s", report.Size(s.total), report.Size(s.resumed-s.resumedSlack), s.routesLeft(), s.where())
		if s.resumedSlack >= s.r.Threshold {
			text += fmt.Sprintf("; besides %s of free room in slabs, linpools and arrays", report.Size(s.resumedSlack))
		}
		return text
	}
	if len(s.cycles) == 1 {
		return fmt.Sprintf("held: %s after one %s, which cannot show whether it grows%s%s", report.Size(s.total), s.r.cycleWord(), s.routesLeft(), s.where())
	}
	return fmt.Sprintf("held: %s since the first of %s, not growing%s%s", report.Size(s.total), count(int64(len(s.cycles)), s.r.cycleWord()), s.routesLeft(), s.where())
}

// clean says what was below the thresholds as well.
func (s *sentence) clean() string {
	text := fmt.Sprintf("clean: %s retained after %s, less than the threshold of %s%s", report.Size(s.content), count(int64(len(s.cycles)), s.r.cycleWord()), report.Size(s.r.Threshold), s.routesLeft())
	switch {
	case len(s.cycles) == 1:
		text += "; one " + s.r.cycleWord() + " cannot show whether it grows"
	case s.growth > 0:
		text += fmt.Sprintf("; %s in %s", report.SignedSize(s.growth), s.laterCycles())
	default:
		text += "; not growing"
	}
	if n := len(s.steady); n > 0 {
		text += fmt.Sprintf("; %s held more objects each time, which is a leak if it goes on for %d (--cycles %d)", s.countPlaces(n), steadyCycles, steadyCycles+1)
	}
	if bytes, objects := sumRetained(s.lost); bytes > 0 {
		text += fmt.Sprintf("; %s in %s lost, less than the threshold", report.Size(bytes), count(objects, "object"))
	}
	if s.slack >= s.r.Threshold {
		text += fmt.Sprintf("; besides %s of free room in slabs, linpools and arrays", report.Size(s.slack))
	}
	if p := s.r.Profiler.Plan; p != nil && p.MissesPages() {
		text += "; of BIRD's pages, which were not followed, nothing is known"
	}
	if s.replaced >= s.r.Threshold {
		text += fmt.Sprintf("; besides %s in the place of what other %s held", report.Size(s.replaced), s.placesWord())
	}
	return text
}

func (s *sentence) incomplete(why string) string {
	return fmt.Sprintf("incomplete: %s; %s live now that were not before the first %s%s", why, report.Size(s.total), s.r.firstWord(), s.routesLeft())
}

// laterCycles names the cycles after the first: "cycle 2", "each of cycles 2
// and 3", "each of cycles 2 to 10".
func (s *sentence) laterCycles() string {
	word := s.r.cycleWord()
	second, last := s.cycles[1].Number, s.cycles[len(s.cycles)-1].Number
	switch len(s.cycles) {
	case 2:
		return fmt.Sprintf("%s %d", word, last)
	case 3:
		return fmt.Sprintf("each of %ss %d and %d", word, second, last)
	}
	return fmt.Sprintf("each of %ss %d to %d", word, second, last)
}

// cycleWord is what the experiment repeats.
func (r *run) cycleWord() string {
	if r.Session.Interval > 0 {
		return "interval"
	}
	return "cycle"
}

// firstWord is what the baseline comes before.
func (r *run) firstWord() string {
	if r.Session.Interval > 0 {
		return "interval"
	}
	return "flood"
}

func (s *sentence) routesLeft() string {
	switch {
	case s.routes < 0:
		return ""
	case s.r.Session.Interval > 0:
		return ", " + count(s.routes, "route") // nobody took them away
	case s.baseRoutes > 0 && s.baseRoutes <= s.routes:
		// Those of other protocols, of a user's own configuration, of the kernel.
		return fmt.Sprintf(", %s left beside the %d of before", count(s.routes-s.baseRoutes, "route"), s.baseRoutes)
	}
	return ", " + count(s.routes, "route") + " left"
}

// where says in how few stacks nearly all of it is.
func (s *sentence) where() string {
	n, share := concentration(s.retained)
	if n == 0 || s.total < s.r.Threshold {
		return ""
	}
	return fmt.Sprintf("; %.1f %% in %s%s%s", 100*share, places(s.retained[:n]), classes(s.retained[:n]), inPool(s.retained[:n]))
}

// classes says what of some stacks is lost and what is held, by whom if that is
// one: ", lost", ", held by BMP in Root/Protocols", ", 80 % lost, 20 % held".
func classes(all []attribution.Retained) string {
	var sum attribution.Retained
	for _, s := range all {
		sum.Bytes, sum.Lost, sum.Held, sum.Unknown = sum.Bytes+s.Bytes, sum.Lost+s.Lost, sum.Held+s.Held, sum.Unknown+s.Unknown
	}
	const nearly = 0.99
	switch total := nearly * float64(sum.Bytes); {
	case float64(sum.Lost) >= total:
		return ", lost"
	case float64(sum.Held) >= total:
		return ", held" + holder(all)
	case float64(sum.Unknown) >= total:
		return ", not known whether lost or held"
	}
	var parts []string
	for _, p := range []struct {
		bytes int64
		word  string
	}{{sum.Lost, "lost"}, {sum.Held, "held"}, {sum.Unknown, "unknown"}} {
		if p.bytes > 0 {
			parts = append(parts, fmt.Sprintf("%.1f %% %s", 100*float64(p.bytes)/float64(sum.Bytes), p.word))
		}
	}
	return ", " + strings.Join(parts, ", ")
}

// holder says who holds what is in the stacks' memory, or most of it; "" if
// nobody does. Free room counts where there is nothing else.
func holder(all []attribution.Retained) string {
	weight := func(r *attribution.Retained) int64 { return r.Bytes - r.FreeRoom() }
	if !slices.ContainsFunc(all, func(r attribution.Retained) bool { return weight(&r) > 0 }) {
		weight = func(r *attribution.Retained) int64 { return r.Bytes }
	}
	bytes := make(map[string]int64)
	var sum int64
	most, holders := "", make(map[string]bool)
	for i := range all {
		sum += weight(&all[i])
		if len(all[i].Holders) == 0 {
			holders[""] = true
			continue
		}
		h := &all[i].Holders[0]
		text := h.String()
		if h.Root == "" && h.Stack != nil {
			if c := report.Caller(h.Stack.Frames()); c != "" {
				text += " of " + c
			}
		}
		holders[text] = true
		// Of those that hold as much, the first stays: its stack is the largest.
		if bytes[text] += weight(&all[i]); bytes[text] > bytes[most] {
			most = text
		}
	}
	switch {
	case most != "" && len(holders) == 1:
		return " by " + most
	case 2*bytes[most] > sum:
		return ", most of it by " + most
	}
	return ""
}

// concentration returns in how few stacks nearly all of it is, and their
// share.
func concentration(all []attribution.Retained) (stacks int, share float64) {
	const nearly = 0.99
	total, _ := sumRetained(all)
	var sum int64
	for i, s := range all {
		sum += s.Bytes
		if float64(sum) >= nearly*float64(total) {
			return i + 1, float64(sum) / float64(total)
		}
	}
	return 0, 0
}

// inPool names the pool that all of the stacks are in, or most by far of their
// bytes; "" if there is none.
func inPool(all []attribution.Retained) string {
	const most = 0.9
	bytes := make(map[string]int64)
	var sum int64
	pool := all[0].Pool
	for _, s := range all {
		bytes[s.Pool] += s.Bytes
		sum += s.Bytes
		if bytes[s.Pool] > bytes[pool] {
			pool = s.Pool
		}
	}
	share := float64(bytes[pool]) / float64(sum)
	switch {
	case pool == "" || !(share >= most):
		return ""
	case len(bytes) > 1:
		return fmt.Sprintf("; %.1f %% of that in pool %s", 100*share, pool)
	}
	return "; pool " + pool
}

func count(n int64, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// list names the first few.
func list(names []string, most int) string {
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
