// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Side is one of two results that are compared, under a name that tells them
// apart, such as its directory or "with BMP".
type Side struct {
	Name string
	*Document
}

// Comparison puts two results side by side: what `leakprof diff --json` prints.
type Comparison struct {
	A ComparedSide `json:"a"`
	B ComparedSide `json:"b"`
	// Same says by what stacks were taken for the same: "address" within one
	// build of BIRD, "function" where the builds differ or are not known.
	Same   string          `json:"same"`
	Stacks []ComparedStack `json:"stacks"` // by the larger of their bytes, largest first

	a, b Side
}

// ComparedSide is what the sides have as wholes.
type ComparedSide struct {
	Name            string      `json:"name"`
	Verdict         VerdictKind `json:"verdict"`
	VerdictSentence string      `json:"verdict_sentence"`
	RetainedBytes   int64       `json:"retained_bytes"`
	RetainedObjects int64       `json:"retained_objects"`
	SlackBytes      int64       `json:"slack_bytes"`
}

// ComparedStack is a call stack with what it retains on each side; null where
// that result does not have it.
type ComparedStack struct {
	A *ComparedAmount `json:"a"`
	B *ComparedAmount `json:"b"`
	// Stack is that of A, or of B where only B has it; its numbers are that
	// side's.
	Stack DocumentStack `json:"stack"`
}

// ComparedAmount is what a stack retains, net.
type ComparedAmount struct {
	Bytes   int64 `json:"bytes"`
	Objects int64 `json:"objects"`
}

// Compare matches the retained stacks of two results. A stack is the same if it
// has the same allocator, resource, pool and frames: within one build, known by
// its build ID, frames are addresses in the program and functions elsewhere;
// between builds they are functions.
func Compare(a, b Side) *Comparison {
	c := &Comparison{A: newComparedSide(a), B: newComparedSide(b), Same: "function", Stacks: []ComparedStack{}, a: a, b: b}
	byAddress := a.Target.BuildID != "" && a.Target.BuildID == b.Target.BuildID
	if byAddress {
		c.Same = "address"
	}
	index := make(map[string]int)
	add := func(d *Document, amount func(*ComparedStack) **ComparedAmount) {
		for i := range d.Stacks {
			s := &d.Stacks[i]
			key := stackKey(s, filepath.Base(d.Target.Exe), byAddress)
			n, known := index[key]
			if !known {
				n = len(c.Stacks)
				index[key] = n
				c.Stacks = append(c.Stacks, ComparedStack{Stack: *s})
			}
			sum := amount(&c.Stacks[n])
			switch first := c.Stacks[n].first(); {
			case *sum == nil:
				*sum = &ComparedAmount{}
			case *sum == first:
				// Several stacks of one side can be one by their functions.
				c.Stacks[n].Stack.add(s)
			}
			(*sum).Bytes += s.Bytes
			(*sum).Objects += s.Objects
		}
	}
	add(a.Document, func(s *ComparedStack) **ComparedAmount { return &s.A })
	add(b.Document, func(s *ComparedStack) **ComparedAmount { return &s.B })
	slices.SortStableFunc(c.Stacks, func(x, y ComparedStack) int { return cmp.Compare(y.largest(), x.largest()) })
	return c
}

func newComparedSide(s Side) ComparedSide {
	return ComparedSide{s.Name, s.Verdict, s.VerdictSentence, s.RetainedBytes, s.RetainedObjects, s.SlackBytes}
}

func (s *ComparedStack) first() *ComparedAmount {
	if s.A != nil {
		return s.A
	}
	return s.B
}

func (s *ComparedStack) largest() int64 {
	n := s.first().Bytes
	if s.B != nil {
		n = max(n, s.B.Bytes)
	}
	return n
}

func stackKey(s *DocumentStack, program string, byAddress bool) string {
	var b strings.Builder
	pool := "-"
	if s.Pool != nil {
		pool = *s.Pool
	}
	fmt.Fprintf(&b, "%q %q %q", s.Allocator, s.Resource, pool)
	for _, f := range s.Frames {
		switch {
		case byAddress && f.Inlined:
			// It has the address of the next frame, and is not known where there
			// is no debug information.
		case byAddress && f.Module == program:
			fmt.Fprintf(&b, " %s", f.Address)
		default:
			// Clones that the compiler makes differ from build to build.
			name, _, _ := strings.Cut(f.Function, ".")
			fmt.Fprintf(&b, " %q", name)
		}
	}
	return b.String()
}

// WriteJSON writes the comparison for programs (docs/report.md).
func (c *Comparison) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(c); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// WriteText prints the comparison for a person: both verdicts and what differs,
// the tables side by side, the stacks that one side alone has, and those of
// both. Of o it heeds Width, Top and Color.
func (c *Comparison) WriteText(w io.Writer, o TextOptions) error {
	o.Width = max(cmp.Or(o.Width, 80), 60)
	if o.Top <= 0 {
		o.Top = 5
	}
	t := &text{o: o}
	labels := c.labels()
	for i, s := range []Side{c.a, c.b} {
		if i > 0 {
			t.line("")
		}
		title := s.Name
		if labels[i] != filepath.Base(s.Name) {
			title = labels[i] + ": " + s.Name
		}
		t.d = s.Document
		t.line("%s", t.paint("1", wrap(printable(title), o.Width, 0)))
		t.verdict()
	}
	if followed(c.a.Document) || followed(c.b.Document) {
		t.line("\n%s", wrap(c.difference(labels), o.Width, 0))
	}
	c.tables(t, labels)
	onlyA := func(s *ComparedStack) bool { return s.B == nil }
	onlyB := func(s *ComparedStack) bool { return s.A == nil }
	// What is more comes first.
	if c.sum(onlyA) >= c.sum(onlyB) {
		c.onlyIn(t, labels[0], c.a, onlyA)
		c.onlyIn(t, labels[1], c.b, onlyB)
	} else {
		c.onlyIn(t, labels[1], c.b, onlyB)
		c.onlyIn(t, labels[0], c.a, onlyA)
	}
	c.inBoth(t, labels)
	if c.Same == "function" && len(c.Stacks) > 0 {
		t.line("\n%s", wrap("The builds of BIRD are not the same, or not known to be: stacks are the same if their functions are.", o.Width, 0))
	}
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// followed says whether any memory was, by probes.
func followed(d *Document) bool {
	return slices.ContainsFunc(d.Phases, func(p DocumentPhase) bool { return p.LiveBytes != nil })
}

// labels are what the sides are called in the tables: their names, where these
// are short and not the same, and else letters.
func (c *Comparison) labels() [2]string {
	// Of directories the last element will do.
	a, b := printable(filepath.Base(c.a.Name)), printable(filepath.Base(c.b.Name))
	fits := func(s string) bool { return s != "." && len([]rune(s)) <= maxLabel }
	if a != b && fits(a) && fits(b) {
		return [2]string{a, b}
	}
	return [2]string{"A", "B"}
}

// maxLabel is the room for a side's name, in columns.
const maxLabel = 14

// difference says in a sentence how much more one side retains, and how much of
// that is in stacks that only it has.
func (c *Comparison) difference(labels [2]string) string {
	more, less, only := 0, 1, func(s *ComparedStack) bool { return s.B == nil }
	bytes := c.A.RetainedBytes - c.B.RetainedBytes
	if bytes < 0 {
		more, less, only, bytes = 1, 0, func(s *ComparedStack) bool { return s.A == nil }, -bytes
	}
	if bytes == 0 {
		return fmt.Sprintf("Both retain %s.", Size(c.A.RetainedBytes))
	}
	n := 0
	for i := range c.Stacks {
		if only(&c.Stacks[i]) {
			n++
		}
	}
	s := fmt.Sprintf("%s more retained %s than %s", Size(bytes), in(labels[more]), in(labels[less]))
	if n > 0 {
		s += fmt.Sprintf("; %s in %s found only %s", Size(c.sum(only)), plural(n, "call stack"), in(labels[more]))
	}
	return s
}

// negligible is below what stacks have no line of their own, in bytes.
func (c *Comparison) negligible() float64 {
	return negligible * float64(max(c.A.RetainedBytes, c.B.RetainedBytes))
}

// sum is how much the stacks that match retain, on their first side.
func (c *Comparison) sum(match func(*ComparedStack) bool) (bytes int64) {
	for i := range c.Stacks {
		if s := &c.Stacks[i]; match(s) {
			bytes += s.first().Bytes
		}
	}
	return bytes
}

// onlyIn prints the stacks that one side alone has, as its report does.
func (c *Comparison) onlyIn(t *text, label string, side Side, only func(*ComparedStack) bool) {
	var stacks []DocumentStack
	for i := range c.Stacks {
		if s := &c.Stacks[i]; only(s) {
			stacks = append(stacks, s.Stack)
		}
	}
	switch sum := c.sum(only); {
	case len(stacks) == 0 && len(c.Stacks) > 0:
		t.line("\nRetained only %s: nothing", in(label))
		return
	case len(stacks) == 0:
		return
	case float64(sum) < c.negligible():
		t.line("\nRetained only %s by %s: %s", in(label), plural(len(stacks), placeWord(stacks)), Size(sum))
		return
	}
	d := *side.Document
	d.Stacks = stacks
	t.d = &d
	t.stacks("Retained only " + in(label))
}

// in is where something is retained.
func in(label string) string {
	if strings.HasPrefix(label, "with ") || strings.HasPrefix(label, "without ") {
		return label // "with BMP", "without BMP"
	}
	return "in " + label
}

// inBoth prints what stacks of both sides retain, by the function that asked for
// the memory; of little no more than the sum.
func (c *Comparison) inBoth(t *text, labels [2]string) {
	var both []*ComparedStack
	var a, b int64
	for i := range c.Stacks {
		if s := &c.Stacks[i]; s.A != nil && s.B != nil {
			both = append(both, s)
			a, b = a+s.A.Bytes, b+s.B.Bytes
		}
	}
	if len(both) == 0 {
		return
	}
	t.line("\nRetained in both by %s: %s %s, %s %s", plural(len(both), "call stack"), labels[0], Size(a), labels[1], Size(b))
	shown := 0
	for shown < min(len(both), t.o.Top) && float64(both[shown].largest()) >= c.negligible() {
		shown++
	}
	if shown == 0 {
		return
	}
	width := max(cellWidth, len([]rune(labels[0])), len([]rune(labels[1]))) + 2
	t.line("\n%*s%*s%*s", width, labels[0], width, labels[1], width, "difference")
	for _, s := range both[:shown] {
		_, frames := splitAllocator(s.Stack.Frames)
		names := make([]string, 0, 3)
		for _, f := range frames[:min(len(frames), 3)] {
			names = append(names, printable(f.label()))
		}
		t.line("%*s%*s%*s  %s", width, Size(s.A.Bytes), width, Size(s.B.Bytes), width, SignedSize(s.B.Bytes-s.A.Bytes),
			shorten(strings.Join(names, " < "), t.o.Width-3*width-2))
	}
	if more := len(both) - shown; more > 0 {
		t.line("  and %s", plural(more, "more call stack"))
	}
}
