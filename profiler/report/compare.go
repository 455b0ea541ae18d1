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
			if *sum == nil {
				*sum = &ComparedAmount{}
			}
			(*sum).Bytes += s.Bytes
			(*sum).Objects += s.Objects
		}
	}
	add(a.Document, func(s *ComparedStack) **ComparedAmount { return &s.A })
	add(b.Document, func(s *ComparedStack) **ComparedAmount { return &s.B })
	for i := range c.Stacks {
		// Several stacks of one side can be one by their functions.
		s := &c.Stacks[i]
		s.Stack.Bytes, s.Stack.Objects = s.first().Bytes, s.first().Objects
	}
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

// WriteText prints the comparison for a person: both verdicts, the stacks that
// one side alone has, those of both, and the tables side by side. Of o it heeds
// Width, Top and Color.
func (c *Comparison) WriteText(w io.Writer, o TextOptions) error {
	o.Width = max(cmp.Or(o.Width, 80), 60)
	if o.Top <= 0 {
		o.Top = 5
	}
	t := &text{o: o}
	for i, s := range []Side{c.a, c.b} {
		if i > 0 {
			t.line("")
		}
		t.d = s.Document
		t.line("%s", t.paint("1", wrap(printable(fmt.Sprintf("%c: %s", 'A'+i, s.Name)), o.Width, 0)))
		t.verdict()
	}
	c.onlyIn(t, "B", c.b, func(s *ComparedStack) bool { return s.A == nil })
	c.onlyIn(t, "A", c.a, func(s *ComparedStack) bool { return s.B == nil })
	c.inBoth(t)
	c.tables(t)
	if c.Same == "function" {
		t.line("\n%s", wrap("The builds of BIRD are not the same, or not known to be: stacks are the same if their functions are.", o.Width, 0))
	}
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// onlyIn prints the stacks that one side alone has, as its report does.
func (c *Comparison) onlyIn(t *text, letter string, side Side, only func(*ComparedStack) bool) {
	var stacks []DocumentStack
	for i := range c.Stacks {
		if s := &c.Stacks[i]; only(s) {
			stacks = append(stacks, s.Stack)
		}
	}
	if len(stacks) == 0 {
		t.line("\nRetained only in %s: nothing", letter)
		return
	}
	d := *side.Document
	d.Stacks = stacks
	t.d = &d
	t.stacks("Retained only in " + letter)
}

// inBoth prints what stacks of both sides retain, by the function that asked for
// the memory.
func (c *Comparison) inBoth(t *text) {
	n, more := 0, 0
	for i := range c.Stacks {
		s := &c.Stacks[i]
		if s.A == nil || s.B == nil {
			continue
		}
		if n++; n == 1 {
			t.line("\nRetained in both:\n\n%*s%*s%*s", cellWidth+2, "A", cellWidth+2, "B", cellWidth+2, "B − A")
		}
		if n > t.o.Top {
			more++
			continue
		}
		_, frames := splitAllocator(s.Stack.Frames)
		names := make([]string, 0, 3)
		for _, f := range frames[:min(len(frames), 3)] {
			names = append(names, printable(f.Function))
		}
		t.line("%*s%*s%*s  %s", cellWidth+2, Size(s.A.Bytes), cellWidth+2, Size(s.B.Bytes), cellWidth+2, SignedSize(s.B.Bytes-s.A.Bytes),
			shorten(strings.Join(names, " < "), t.o.Width-3*(cellWidth+2)-2))
	}
	if more > 0 {
		t.line("  and %s", plural(more, "more call stack"))
	}
}
