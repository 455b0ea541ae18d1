// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// TextOptions say how a report is printed.
type TextOptions struct {
	Width int    // columns; 0 is 80, the least is 60
	Top   int    // retained stacks to print at most; 0 is 5
	Color bool   // escape sequences for a terminal
	Dir   string // where the profiles are, for the command to go on with; "" if nowhere
	Books bool   // at the end, all that was compared with BIRD's own books
}

const (
	// shownFrames is how many functions of a stack are printed.
	shownFrames = 6
	// negligible is the share of what is retained that is left to report.json.
	negligible = 0.01
)

// WriteText prints a result for a person.
func WriteText(w io.Writer, r *Result, o TextOptions) error { return NewDocument(r).WriteText(w, o) }

// WriteText prints the report for a person: the answer and the stacks to blame
// first, then the numbers it comes from, then how far to trust them.
func (d *Document) WriteText(w io.Writer, o TextOptions) error {
	o.Width = max(cmp.Or(o.Width, 80), 60)
	if o.Top <= 0 {
		o.Top = 5
	}
	t := &text{d: d, o: o}
	t.verdict()
	t.stacks("Retained")
	t.memory()
	t.afterDrop()
	t.quality()
	t.next()
	if t.o.Books {
		t.bookTables()
	}
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

type text struct {
	bytes.Buffer
	d    *Document
	o    TextOptions
	root string // of the program's source files, left out of their paths
}

func (t *text) line(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	t.WriteString(strings.TrimRight(s, " ") + "\n")
}

// paragraph prints a labelled text, wrapped beside its label.
func (t *text) paragraph(label, s string) {
	const indent = 9
	t.line("%-*s%s", indent, label, wrap(printable(s), t.o.Width, indent))
}

func (t *text) paint(code, s string) string {
	if !t.o.Color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

var verdictColors = map[VerdictKind]string{Leak: "1;31", Held: "1;33", Incomplete: "1;33", Clean: "1;32"}

func (t *text) verdict() {
	kind := strings.ToUpper(string(t.d.Verdict))
	s := wrap(kind+": "+printable(t.d.reason()), t.o.Width, 0)
	t.line("%s", strings.Replace(s, kind, t.paint(verdictColors[t.d.Verdict], kind), 1))
	target := t.d.Target
	about := fmt.Sprintf("pid %d, %s", target.PID, target.Exe)
	if target.Version != "" {
		about = "BIRD " + target.Version + ", " + about
	}
	if target.BuildID != "" {
		// The first digits tell builds apart; report.json has all.
		about += ", build ID " + shorten(target.BuildID, 13)
	}
	t.line("%s", wrap(printable(about), t.o.Width, 0))
	for _, p := range t.d.Phases {
		if p.Incomplete != "" {
			t.line("  %s", wrap(printable(fmt.Sprintf("%s: %s", p.title(), p.Incomplete)), t.o.Width, 2))
		}
	}
}

// reason is the verdict's sentence without its kind, which may begin it.
func (d *Document) reason() string {
	return strings.TrimPrefix(d.VerdictSentence, string(d.Verdict)+": ")
}

func (p *DocumentPhase) title() string {
	if p.Cycle == 0 {
		return p.Name
	}
	return fmt.Sprintf("%s of cycle %d", p.Name, p.Cycle)
}

func (t *text) stacks(what string) {
	if len(t.d.Stacks) == 0 {
		return
	}
	all := mergeShown(t.d.Stacks)
	t.root = sourceRoot(t.d.Stacks, filepath.Base(t.d.Target.Exe))
	var total int64
	for i := range all {
		total += all[i].Bytes
	}
	t.line("\n%s by %s, innermost function first:", what, plural(len(t.d.Stacks), "call stack"))
	rest := total
	shown := 0
	for shown < min(len(all), t.o.Top) && (shown == 0 || float64(rest) >= negligible*float64(total)) {
		t.stack(shown+1, &all[shown], total)
		rest -= all[shown].Bytes
		shown++
	}
	n := 0
	for i := range all[shown:] {
		n += all[shown+i].stacks
	}
	if n > 0 {
		t.line("\n  and %s with %s", plural(n, "more call stack"), Size(rest))
	}
}

func (t *text) stack(number int, s *shownStack, total int64) {
	what := printable(s.Allocator)
	if s.Resource != "" {
		what += " (" + printable(s.Resource) + ")"
	}
	head := fmt.Sprintf("%s in %s", Size(s.Bytes), plural(s.Objects, "block"))
	if s.stacks > 1 {
		what += ", " + plural(s.stacks, "call stack")
	}
	what += ", " + s.classWords()
	if s.EveryCycleBytes > 0 && s.EveryCycleObjects > 0 {
		what += fmt.Sprintf(", %s more in each cycle after the first", plural(s.EveryCycleObjects, "block"))
	}
	if s.Pool != nil {
		what += ", pool " + printable(*s.Pool)
	}
	if s.SlackBytes > 0 {
		what += ", of it " + Size(s.SlackBytes) + " free room"
	}
	first := fmt.Sprintf("%s, %s, %s", head, percent(float64(s.Bytes), float64(total)), what)
	t.line("\n #%d  %s", number, strings.Replace(wrap(first, t.o.Width, 5), head, t.paint("1", head), 1))
	allocator, frames := splitAllocator(s.Frames)
	width := 0
	for _, f := range frames[:min(len(frames), shownFrames)] {
		width = max(width, len([]rune(f.Function)))
	}
	width = min(width, t.o.Width/2)
	for i, f := range frames {
		if i == shownFrames {
			t.line("     … %s", plural(len(frames)-i, "more function"))
			break
		}
		where := f.Module
		if strings.HasPrefix(f.Function, f.Module+"+") {
			where = "" // the name is the place
		}
		if f.File != "" {
			where = strings.TrimPrefix(f.File, t.root)
			if f.Line > 0 {
				where = fmt.Sprintf("%s:%d", where, f.Line)
			}
		}
		if f.Inlined {
			where += " (inlined)"
		}
		t.line("     %-*s  %s", width, shorten(printable(f.Function), width), shortenLeft(printable(where), t.o.Width-width-7))
	}
	if !s.Complete {
		t.line("     %s", wrap(printable("the stack ends here: "+s.End), t.o.Width, 5))
	}
	for _, by := range s.holders() {
		t.line("     %s", wrap(by, t.o.Width, 5))
	}
	if len(allocator) > 0 {
		t.line("     %s", wrap(printable("allocated through "+strings.Join(allocator, ", ")), t.o.Width, 5))
	}
}

// fact is what a reader has to know to trust the numbers; facts without a label
// go with the one before.
type fact struct{ Label, Text string }

func (t *text) quality() {
	t.line("")
	for _, f := range t.d.facts() {
		t.paragraph(f.Label, f.Text)
	}
}

func (d *Document) facts() (all []fact) {
	add := func(label, s string) { all = append(all, fact{label, printable(s)}) }
	if c := d.FloodCPU; c != nil {
		s := fmt.Sprintf("%.1f s", c.WallSeconds)
		if c.WallSeconds > 0 {
			s += fmt.Sprintf("; cpu time: bird %.1f s (%.0f%%), speakers and station %.1f s (%.0f%%)",
				c.BIRDSeconds, 100*c.BIRDSeconds/c.WallSeconds, c.LabSeconds, 100*c.LabSeconds/c.WallSeconds)
		}
		if c.Limit != "" {
			s += "; limited by " + c.Limit
		}
		add("Flood", s)
	}
	if d.Before != nil {
		add("Before", d.Before.sentence())
	}
	if len(d.LostBefore) > 0 {
		add("Lost", d.lostBefore())
	}
	if s := d.search(); s != "" {
		add("Pointers", s)
	}
	all = append(all, d.books()...)
	add("Sessions", d.Sessions.sentence())
	if d.Overhead != nil {
		add("Overhead", d.Overhead.sentence())
	}
	for _, s := range noteLines(d.Notes) {
		add("Noted", s)
	}
	add("Stacks", d.StackQuality.sentence())
	if len(d.Health) == 0 {
		add("Health", "nothing lost, truncated or unknown")
	}
	health := slices.Clone(d.Health)
	slices.SortStableFunc(health, func(a, b DocumentHealth) int { return cmp.Compare(rank(a), rank(b)) })
	for _, h := range health {
		add("Health", h.sentence())
	}
	if len(d.Covered) > 0 {
		add("Covered", strings.Join(d.Covered, "; "))
	}
	if len(d.NotCovered) > 0 {
		add("Unseen", strings.Join(d.NotCovered, "; "))
	}
	if d.NamesHint != "" {
		add("Names", d.NamesHint)
	}
	if f := d.rss(); f != nil {
		add("RSS", resident(f))
	}
	return all
}

func (b *DocumentBefore) sentence() string {
	if b.Unknown != "" && b.Blocks+b.Pages == 0 {
		return "what was there when leakprof attached is not known: " + printable(b.Unknown)
	}
	s := fmt.Sprintf("%s in %s and %s were there when leakprof attached, without stacks", amount(float64(b.Bytes)), plural(b.Blocks, "block"), plural(b.Pages, "page"))
	if b.Unknown != "" {
		s += "; there may be more: " + printable(b.Unknown)
	}
	return s
}

// lostBefore says what was lost before the first cycle.
func (d *Document) lostBefore() string {
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
		if p.Search == nil {
			continue
		}
		s := fmt.Sprintf("%s lost, %s held, %s neither for certain at the end of %s; followed through %s in %.1f s",
			amount(float64(*p.LostBytes)), amount(float64(*p.HeldBytes)), amount(float64(*p.UnknownBytes)), p.title(), amount(float64(p.Search.ReadBytes)), p.Search.Seconds)
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

// rank puts what can change the verdict first.
func rank(h DocumentHealth) int {
	if h.Harmless {
		return 1
	}
	return 0
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

func (t *text) next() {
	if t.o.Dir == "" {
		return
	}
	t.line("%-9sgo tool pprof -http=: %s", "Next", shellQuote(filepath.Join(t.o.Dir, RetainedFile)))
}
