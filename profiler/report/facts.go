// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// fact is what a reader has to know to trust the numbers; facts without a label
// go with the one before.
type fact struct{ Label, Text string }

// sayOnce leaves out labels that the fact before has.
func sayOnce(facts []fact) []fact {
	for i := len(facts) - 1; i > 0; i-- {
		if facts[i].Label == facts[i-1].Label {
			facts[i].Label = ""
		}
	}
	return facts
}

// facts are in the order in which a reader asks: what else there is, whether to
// believe it, what it did to the router, and how it was measured. Resident
// memory is no evidence, and last. Where they are to be brief, what cannot
// change the verdict is named only.
func (d *Document) facts(brief bool) (all []fact) {
	add := func(label, s string) {
		if s != "" {
			all = append(all, fact{label, printable(s)})
		}
	}
	if d.followed() {
		if !walks(d.Mode) {
			add("Before", d.Before.sentence())
		}
		add("Lost", d.lostBefore())
		add("Pointers", d.search())
		add("Slack", d.slack())
	}
	all = append(all, d.books()...)
	for _, s := range d.health(brief) {
		add("Health", s)
	}
	add("Sessions", d.Sessions.sentence(d.hasPhase(phaseInterval)))
	add("Overhead", d.Overhead.sentence())
	for _, s := range d.Guard.sentences() {
		add("Guard", s)
	}
	add("Flood", d.FloodCPU.sentence())
	for _, s := range noteLines(d.Notes) {
		add("Noted", s)
	}
	if d.StackQuality.Allocations > 0 || !walks(d.Mode) {
		add("Stacks", d.StackQuality.sentence())
	}
	add("Covered", strings.Join(d.Covered, "; "))
	add("Unseen", strings.Join(d.NotCovered, "; "))
	add("Names", nameSources(d.Stacks))
	add("Names", d.NamesHint)
	if f := d.rss(); f != nil {
		add("RSS", resident(f))
	}
	return all
}

// walks says whether BIRD's memory was walked in a mode, so that what was there
// before is as well known as what came later.
func walks(mode string) bool { return mode == "walk" || mode == "auto" }

// followed says whether any snapshot was taken.
func (d *Document) followed() bool {
	return slices.ContainsFunc(d.Phases, func(p DocumentPhase) bool { return p.LiveBytes != nil })
}

func (d *Document) hasPhase(name string) bool {
	return slices.ContainsFunc(d.Phases, func(p DocumentPhase) bool { return p.Name == name })
}

// slack says what of the retained bytes is room that BIRD has and does not use.
func (d *Document) slack() string {
	if d.SlackBytes == 0 {
		return "none: nothing of what is retained is free room"
	}
	return Size(d.SlackBytes) + " of what is retained is free room, in slabs, linpools and arrays that do not shrink: it counts only if it grows"
}

// health says what was lost, truncated or odd: what can change the verdict
// first.
func (d *Document) health(brief bool) (lines []string) {
	if len(d.Health) == 0 {
		return []string{"nothing lost, truncated or unknown"}
	}
	var harmless, names []string
	for i := range d.Health {
		h := &d.Health[i]
		if h.Harmless {
			harmless, names = append(harmless, h.sentence()), append(names, fmt.Sprintf("%s (%s)", printable(h.Name), number(h.Count)))
		} else {
			lines = append(lines, h.sentence())
		}
	}
	if len(lines) == 0 {
		lines = []string{"nothing was lost that could change the verdict"}
	}
	switch {
	case !brief:
		return append(lines, harmless...)
	case len(harmless) > 0:
		return append(lines, "besides, without effect on the verdict: "+strings.Join(names, "; "))
	}
	return lines
}

// health prints at the end what the facts only name.
func (t *text) health() {
	if !slices.ContainsFunc(t.d.Health, func(h DocumentHealth) bool { return h.Harmless }) {
		return
	}
	t.line("\nHealth")
	for _, s := range t.d.health(false) {
		t.line("  %s", wrap(s, t.o.Width, 4))
	}
}

func (c *DocumentFloodCPU) sentence() string {
	if c == nil {
		return ""
	}
	s := fmt.Sprintf("%.1f s", c.WallSeconds)
	if c.WallSeconds > 0 {
		s += fmt.Sprintf("; cpu time: bird %.1f s (%.0f%%), speakers and station %.1f s (%.0f%%)",
			c.BIRDSeconds, 100*c.BIRDSeconds/c.WallSeconds, c.LabSeconds, 100*c.LabSeconds/c.WallSeconds)
	}
	if c.Limit != "" {
		s += "; limited by " + c.Limit
	}
	return s
}

func (b *DocumentBefore) sentence() string {
	if b == nil {
		return "nothing was there when leakprof attached"
	}
	if b.Unknown != "" && b.Blocks+b.Pages == 0 {
		return "what was there when leakprof attached is not known: " + printable(b.Unknown)
	}
	s := fmt.Sprintf("%s in %s and %s were there when leakprof attached, without stacks", amount(float64(b.Bytes)), plural(b.Blocks, "block"), plural(b.Pages, "page"))
	if b.Unknown != "" {
		s += "; there may be more: " + printable(b.Unknown)
	}
	return s
}

// lostBefore says what was lost before the first cycle, "" if nothing was.
func (d *Document) lostBefore() string {
	if len(d.LostBefore) == 0 {
		return ""
	}
	var bytes, objects int64
	var where []string
	for i := range d.LostBefore {
		s := &d.LostBefore[i]
		bytes, objects = bytes+s.Bytes, objects+s.Objects
		place := s.Allocator
		if s.Pool != nil {
			place += " in " + *s.Pool
		}
		if by := callerOf(s.Frames); by != "" {
			place += " of " + by
		}
		if !slices.Contains(where, place) {
			where = append(where, place)
		}
	}
	const most = 3
	if n := len(where) - most; n > 0 {
		where = append(where[:most], fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("%s in %s, lost before the first cycle: %s", Size(bytes), plural(objects, "block"), strings.Join(where, ", "))
}

// search says how the last search for pointers went, "" if there was none.
func (d *Document) search() string {
	for _, p := range slices.Backward(d.Phases) {
		if p.Search == nil || p.LostBytes == nil || p.HeldBytes == nil || p.UnknownBytes == nil {
			continue
		}
		s := fmt.Sprintf("%s lost, %s held, %s neither for certain at the end of %s; followed through %s in %s",
			amount(float64(*p.LostBytes)), amount(float64(*p.HeldBytes)), amount(float64(*p.UnknownBytes)), p.title(), amount(float64(p.Search.ReadBytes)), seconds(p.Search.Seconds))
		if p.Search.Doubt != "" {
			s += "; nothing can be said to be lost: " + printable(p.Search.Doubt)
		}
		return s
	}
	return ""
}

// noteLines are the last few notes.
func noteLines(notes []Note) (lines []string) {
	const shown = 5
	if n := len(notes) - shown; n > 0 {
		lines, notes = append(lines, plural(n, "earlier note")+" in report.json"), notes[n:]
	}
	for _, n := range notes {
		lines = append(lines, n.Time.Format(time.TimeOnly)+" "+n.Text)
	}
	return lines
}

func (h *DocumentHealth) sentence() string {
	s := fmt.Sprintf("%s: %s", printable(h.Name), number(h.Count))
	switch {
	case h.BoundBytes == nil:
		s += ", no bound known"
	case *h.BoundBytes > 0:
		s += ", at most " + amount(float64(*h.BoundBytes))
	}
	if h.Meaning != "" {
		s += ": " + printable(h.Meaning)
	}
	if h.Harmless {
		s += " (cannot change the verdict)"
	}
	return s
}

func (q *DocumentStackQuality) sentence() string {
	if q.Allocations == 0 {
		return "no allocation was seen"
	}
	s := fmt.Sprintf("%s of %s complete", percent(float64(q.Complete), float64(q.Allocations)), plural(q.Allocations, "allocation"))
	ends := make([]string, 0, len(q.Ends))
	for end := range q.Ends {
		ends = append(ends, end)
	}
	slices.SortFunc(ends, func(a, b string) int {
		return cmp.Or(cmp.Compare(q.Ends[b], q.Ends[a]), cmp.Compare(a, b))
	})
	for i, end := range ends {
		ends[i] = fmt.Sprintf("%s %s", number(q.Ends[end]), printable(end))
	}
	if len(ends) > 0 {
		s += "; the others end early: " + strings.Join(ends, ", ")
	}
	return s
}

// seconds prints a time of which a tenth of a second is too coarse a unit where
// it is short.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", 1000*s)
	}
	return fmt.Sprintf("%.1f s", s)
}
