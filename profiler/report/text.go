// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"strings"
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
	// shownOfClean is how many stacks are printed of a run that found nothing.
	shownOfClean = 2
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
		t.health()
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
	switch {
	case p.Cycle == 0:
		return p.Name
	case p.Name == phaseInterval:
		return fmt.Sprintf("%s %d", p.Name, p.Cycle)
	}
	return fmt.Sprintf("%s of cycle %d", p.Name, p.Cycle)
}

func (t *text) stacks(what string) {
	if len(t.d.Stacks) == 0 {
		return
	}
	all := mergeShown(t.d.Stacks, t.d.Verdict == Leak)
	t.root = sourceRoot(t.d.Stacks, filepath.Base(t.d.Target.Exe))
	var total int64
	for i := range all {
		total += all[i].Bytes
	}
	t.line("\n%s %s:", what, placesOf(t.d.Stacks))
	top := t.o.Top
	if t.d.Verdict == Clean {
		top = min(top, shownOfClean)
	}
	rest := total
	shown := 0
	for shown < min(len(all), top) && (shown == 0 || float64(rest) >= negligible*float64(total)) {
		t.stack(shown+1, &all[shown], total)
		rest -= all[shown].Bytes
		shown++
	}
	n := 0
	for i := range all[shown:] {
		n += all[shown+i].stacks
	}
	if n > 0 {
		t.line("\n  and %s with %s", moreOf(n, t.d.Stacks), Size(rest))
	}
}

func (t *text) stack(number int, s *shownStack, total int64) {
	what := printable(s.Allocator)
	if s.Resource != "" {
		what += " (" + printable(s.Resource) + ")"
	}
	head := fmt.Sprintf("%s in %s", Size(s.Bytes), s.pieces())
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
	if s.ReplacedBytes > 0 {
		others := "other stacks"
		if s.isKind() {
			others = "others"
		}
		what += ", of it " + Size(s.ReplacedBytes) + " in the place of what " + others + " held"
	}
	first := fmt.Sprintf("%s, %s, %s", head, percent(float64(s.Bytes), float64(total)), what)
	t.line("\n #%d  %s", number, strings.Replace(wrap(first, t.o.Width, 5), head, t.paint("1", head), 1))
	allocator, frames := splitAllocator(s.Frames)
	if s.isKind() {
		frames = nil // the words above say it all
	}
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
		if mark := f.guessed(); mark != "" {
			where = strings.TrimSpace(where + " " + mark)
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

// quality prints what a reader has to know to trust the numbers.
func (t *text) quality() {
	t.line("")
	for _, f := range sayOnce(t.d.facts(true)) {
		t.paragraph(f.Label, f.Text)
	}
}

func (t *text) next() {
	if t.o.Dir == "" {
		return
	}
	t.line("%-9sgo tool pprof -http=: %s", "Next", shellQuote(filepath.Join(t.o.Dir, RetainedFile)))
}
