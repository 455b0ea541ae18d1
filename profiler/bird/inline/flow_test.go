// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"strings"
	"testing"
)

// drawn makes a flow of steps at the addresses 0, 1, 2 and so on, each a word of:
//
//	i  inside of the copy     !  acts
//	=X does the deed X        r  leaves the function
//	>N leads to step N, not the next one     ?N leads to both
func drawn(t *testing.T, steps string) (*flow, [][2]uint64) {
	t.Helper()
	f := &flow{index: make(map[uint64]int32), entries: []int32{0}}
	var ranges [][2]uint64
	for i, word := range strings.Fields(steps) {
		s := step{pc: uint64(i), next: []int32{int32(i) + 1}}
		for k, c := range word {
			switch c {
			case 'i':
				ranges = append(ranges, [2]uint64{uint64(i), uint64(i) + 1})
			case '!':
				s.acts = true
			case '=':
				s.acts, s.deed = true, deed{address: uint64(word[k+1])}
			case 'r':
				s.next, s.leaves = nil, true
			case '>':
				s.next = []int32{int32(word[k+1] - '0')}
			case '?':
				s.next = append(s.next, int32(word[k+1]-'0'))
			}
		}
		f.index[s.pc] = int32(i)
		f.steps = append(f.steps, s)
	}
	return f, ranges
}

// TestOnce: which ways through a function leave no doubt that each call passes
// the entry once.
func TestOnce(t *testing.T) {
	for _, c := range []struct {
		name, steps string
		entry       uint64
		doubt       string // a part, "" for none
	}{
		{"straight", "- i i=A i! r", 1, ""},
		{"the entry does it", "- i=A r", 1, ""},
		{"two branches", "- i?4 i=A >5 i=B r", 1, ""},
		{"entry before the copy", "- - i=A r", 1, ""},
		{"hoisted above the entry", "- i i i=A r", 2, ""},
		{"loop", "- i i=A - -?1 r", 1, ""},
		{"loop within", "- i i=A i?2 r", 1, ""},
		{"a branch around", "-?3 i i=A r", 1, ""},
		{"written before the entry", "- i! i i=A r", 2, "avoids its entry"},
		{"a way in behind the entry", "-?2 i i=A r", 1, "a way to 0x2 avoids"},
		{"loop back behind the entry", "- i i=A -?2 r", 1, "back to 0x2 avoids"},
		{"rotated", "- i i=A -?5 r i?2 >2", 1, "back to 0x2 avoids"},
		{"unrolled", "- i i=A - i=A r", 1, "back to 0x4 avoids"},
		{"unrolled, nothing between", "- i i=A i i=A r", 1, "and before to the same"},
		{"the same in two branches", "- i?4 i=A >5 i=A r", 1, ""},
		{"passed without a call", "- i -?4 i=A r", 1, "nothing it does"},
		{"passed twice", "- i -?1 i=A r", 1, "nothing it does"},
		{"does nothing", "- i i r", 1, "nothing it does"},
		{"entry is nowhere", "- i i=A r", 9, "no way to its entry"},
	} {
		f, ranges := drawn(t, c.steps)
		err := f.once(c.entry, ranges)
		if (err == nil) != (c.doubt == "") || err != nil && !strings.Contains(err.Error(), c.doubt) {
			t.Errorf("%s: %v, want %q", c.name, err, c.doubt)
		}
	}
}

// TestDoubt: why of an instance cannot be said whether each call passes.
func TestDoubt(t *testing.T) {
	path := build(t, "gcc", "-g -O2")
	for name, list := range find(t, path, names...) {
		for _, in := range list {
			if in.Once != (in.Doubt == "") {
				t.Errorf("%s: %+v", name, in)
			}
			if rotated := in.Into == "rotated"; rotated && !strings.Contains(in.Doubt, "out of it and back") {
				t.Errorf("%s in %s: %q", name, in.Into, in.Doubt)
			}
		}
	}
	for _, in := range find(t, compile(t, "gcc", "-g -O2", "ways.c"), "seen")["seen"] {
		want := map[string]string{"checked": "", "switched": errIndirect.Error(), "called": ""}[in.Into]
		if in.Doubt != want {
			t.Errorf("in %s: %q, want %q", in.Into, in.Doubt, want)
		}
	}
}
