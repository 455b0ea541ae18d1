// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/elf"
	"encoding/hex"
	"fmt"
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
	f := &flow{index: make(map[uint64]int32), entries: []int32{0}, left: new(int)}
	*f.left = maxWork
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

// TestBounds: work ends, and never in a claim that nothing speaks against.
func TestBounds(t *testing.T) {
	for left := range 100 {
		f, ranges := drawn(t, "- i i=A i=A r")
		*f.left = left
		if err := f.once(1, ranges); err == nil || left < 40 && err != errTooMuch {
			t.Errorf("with %d steps left: %v", left, err)
		}
	}
	path := build(t, "gcc", "-g -O2")
	d, err := newFinder(open(t, path), names)
	if err != nil {
		t.Fatal(err)
	}
	d.work = 20
	found, err := d.find()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range found {
		for _, in := range list {
			if in.Doubt != errTooMuch.Error() {
				t.Errorf("%+v", in)
			}
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
	for _, flags := range []string{"-O2", "-O2 -fno-reorder-blocks-and-partition", "-gdwarf-4 -O2 -fno-reorder-blocks-and-partition"} {
		want := map[string]string{"checked": "", "called": "", "switched": errIndirect.Error()}
		for _, in := range find(t, compile(t, "gcc", "-g "+flags, "ways.c"), "seen")["seen"] {
			if doubt, ok := want[in.Into]; !ok || in.Doubt != doubt {
				t.Errorf("%s: in %s: %q, want %q", flags, in.Into, in.Doubt, doubt)
			}
			delete(want, in.Into)
		}
		if len(want) > 0 {
			t.Errorf("%s: seen is not in %v", flags, want)
		}
	}
}

// TestSteps decodes code that begins at 0x1000.
func TestSteps(t *testing.T) {
	const start = 0x1000
	for _, c := range []struct{ name, code, want string }{
		{"branch", "7402 90 90 c3", "1000>1002,1004 1002>1003 1004 leaves 1003>1004"},
		{"jump", "eb01 90 c3", "1000>1003 1003 leaves"},
		{"endbr64", "f30f1efa c3", "1000>1004 1004 leaves"},
		{"call", "e8fb0f0000 c3", "1000>1005 acts CALL 2000 1005 leaves"},
		{"call that ends", "90 e8fa0f0000", "1000>1001 1001 acts CALL 2000"},
		{"stop", "0f0b", "1000"},
		{"linkage table", "ff25fa0f0000", "1000 leaves"},
		{"switch", "3effe0", "it jumps through a register"},
		{"table", "ff24c500200000", "it jumps through a register"},
		{"garbage", "06", "its code cannot be decoded"},
		{"end of the code", "90", "its code cannot be decoded"},
		{"store", "488903 c3", "1000>1003 acts 1003 leaves"},
		{"store in rip's", "488905f90f0000 c3", "1000>1007 acts MOV 2000 1007 leaves"},
		{"exchange in rip's", "488705f90f0000 c3", "1000>1007 acts XCHG 2000 1007 leaves"},
		{"store at an address", "48890425 00200000 c3", "1000>1008 acts MOV 2000 1008 leaves"},
		{"store in the thread's", "6448890425 00200000 c3", "1000>1009 acts MOV FS:2000 1009 leaves"},
		{"store in a table", "488904c5 00200000 c3", "1000>1008 acts 1008 leaves"},
		{"store in the frame", "4889442408 c3", "1000>1005 1005 leaves"},
		{"store below rbp", "488945f8 c3", "1000>1004 acts 1004 leaves"},
		{"store below rbp, in the frame", "4889e5 488945f8 c3", "1000>1003 1003>1007 1007 leaves"},
		{"load", "488b05f90f0000 c3", "1000>1007 1007 leaves"},
		{"compare", "803df90f000000 c3", "1000>1007 1007 leaves"},
	} {
		text, err := hex.DecodeString(strings.ReplaceAll(c.code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		section := &elf.Section{SectionHeader: elf.SectionHeader{
			Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Addr: start, Size: uint64(len(text)),
		}}
		file := &elf.File{Sections: []*elf.Section{section}}
		in := &code{file: file, loaded: map[*elf.Section][]byte{section: text}}
		left := maxWork
		f, err := newFlow(in, []uint64{start}, map[uint64]bool{start + 6: true}, &left)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = f.String()
		}
		if got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

func (f *flow) String() string {
	var words []string
	for _, s := range f.steps {
		word := fmt.Sprintf("%x", s.pc)
		for i, n := range s.next {
			word += fmt.Sprintf("%c%x", ">,"[i], f.steps[n].pc)
		}
		if s.leaves {
			word += " leaves"
		}
		if s.acts {
			word += " acts"
		}
		if d := s.deed; d != (deed{}) {
			word += " " + d.op.String() + " "
			if d.segment != 0 {
				word += d.segment.String() + ":"
			}
			word += fmt.Sprintf("%x", d.address)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}
