// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// without is the leak's twin in which BMP is off: nothing of BMP is retained.
func without() *Result {
	r := clean()
	r.Retained = append(r.Retained, leak().Retained[2])
	return r
}

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		a, b func() *Result
		o    TextOptions
	}{
		"leak-clean":        {leak, without, TextOptions{Width: 100}},
		"clean-leak-narrow": {without, leak, TextOptions{Width: 72, Color: true}},
		"leak-stripped":     {leak, stripped, TextOptions{}},
		"leak-incomplete":   {leak, incomplete, TextOptions{Width: 120, Top: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			cmp := Compare(Side{"with BMP", NewDocument(c.a())}, Side{"out/without-bmp", NewDocument(c.b())})
			var b bytes.Buffer
			if err := cmp.WriteText(&b, c.o); err != nil {
				t.Fatal(err)
			}
			golden(t, "diff-"+name+".txt", b.Bytes())
			for l := range strings.Lines(b.String()) {
				if l := strings.TrimSuffix(l, "\n"); !c.o.Color && utf8.RuneCountInString(l) > max(c.o.Width, 80) || strings.TrimRight(l, " ") != l {
					t.Errorf("line is too long or ends in spaces: %q", l)
				}
			}
		})
	}
}

// TestCompareWithoutProbes: BIRD's own tables are all that there is to compare.
func TestCompareWithoutProbes(t *testing.T) {
	r := clean()
	for i := range r.Phases {
		r.Phases[i].Heap = nil
	}
	r.Retained = nil
	var b bytes.Buffer
	if err := Compare(Side{"a", NewDocument(r)}, Side{"b", NewDocument(r)}).WriteText(&b, TextOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, "Retained") || strings.Contains(s, "retain ") || !strings.Contains(s, "Routing tables") {
		t.Errorf("it speaks of what was not followed, or not of what BIRD says:\n%s", s)
	}
}

// sides says which stacks are where, by their innermost function that is no
// allocator and their bytes on each side.
func sides(c *Comparison) map[string][2]int64 {
	all := make(map[string][2]int64)
	for _, s := range c.Stacks {
		_, frames := splitAllocator(s.Stack.Frames)
		var bytes [2]int64
		if s.A != nil {
			bytes[0] = s.A.Bytes
		}
		if s.B != nil {
			bytes[1] = s.B.Bytes
		}
		all[frames[0].Function] = bytes
	}
	return all
}

func TestCompareStacks(t *testing.T) {
	a, b := NewDocument(leak()), NewDocument(without())
	want := map[string][2]int64{
		"bmp_buffer_alloc": {960_000_000, 0}, "bmp_schedule_tx_packet": {96_000_000, 0},
		"rt_setup": {0, 65_584}, "0x7ffff7a01234": {50_368, 50_368},
	}
	if c := Compare(Side{"", a}, Side{"", b}); !reflect.DeepEqual(sides(c), want) || c.Same != "address" {
		t.Errorf("by %s: %v, want %v", c.Same, sides(c), want)
	}

	// Another build has other addresses and clones.
	b = NewDocument(leak())
	b.Target.BuildID = "ffff"
	for i := range b.Stacks {
		for j := range b.Stacks[i].Frames {
			f := &b.Stacks[i].Frames[j]
			f.Address, f.Line = "0x1", f.Line+1
			if f.Function == "bgp_rx" {
				f.Function = "bgp_rx.lto_priv.0"
			}
		}
	}
	c := Compare(Side{"", a}, Side{"", b})
	if c.Same != "function" || len(c.Stacks) != 3 {
		t.Errorf("by %s: %v", c.Same, sides(c))
	}
	for _, s := range c.Stacks {
		if s.A == nil || s.B == nil || *s.A != *s.B {
			t.Errorf("%v and %v of one stack", s.A, s.B)
		}
	}
	// Where several are one, all that is known of them is added up.
	twice := NewDocument(leak())
	twice.Stacks = append(twice.Stacks, twice.Stacks[0])
	for _, s := range Compare(Side{"", twice}, Side{"", b}).Stacks {
		if sum := s.Stack.LostBytes + s.Stack.HeldBytes + s.Stack.UnknownBytes; s.Stack.Bytes != s.A.Bytes || sum != s.A.Bytes {
			t.Errorf("%d bytes, of classes %d, want %d", s.Stack.Bytes, sum, s.A.Bytes)
		}
	}
	// In the same build they are others.
	b.Target.BuildID = a.Target.BuildID
	if c := Compare(Side{"", a}, Side{"", b}); len(c.Stacks) != 5 {
		t.Errorf("%d stacks, want what is of BIRD twice: %v", len(c.Stacks), sides(c))
	}
	// So they are where the pool or the resource differs.
	b = NewDocument(leak())
	b.Stacks[0].Pool, b.Stacks[1].Resource = nil, "Event"
	if c := Compare(Side{"", a}, Side{"", b}); len(c.Stacks) != 5 {
		t.Errorf("%d stacks, want 5: %v", len(c.Stacks), sides(c))
	}
}

func TestCompareJSON(t *testing.T) {
	c := Compare(Side{"with", NewDocument(leak())}, Side{"without", NewDocument(without())})
	var b bytes.Buffer
	if err := c.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	got := new(Comparison)
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(got); err != nil {
		t.Fatal(err)
	}
	c.a, c.b = Side{}, Side{}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("read back\n%+v\nwant\n%+v", got, c)
	}
	if c.A.Verdict != Leak || c.B.Verdict != Clean || c.A.Name != "with" || c.A.RetainedBytes != 1_056_050_368 {
		t.Errorf("sides %+v and %+v", c.A, c.B)
	}
}
