// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

var results = map[string]func() *Result{"leak": leak, "clean": clean, "incomplete": incomplete, "stripped": stripped}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s (after a look, go test -update):\n%s", path, got)
	}
}

func TestText(t *testing.T) {
	for name, result := range results {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteText(&b, result(), TextOptions{Dir: "out"}); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", b.Bytes())
			for _, l := range strings.Split(b.String(), "\n") {
				if utf8.RuneCountInString(l) > 80 || strings.TrimRight(l, " ") != l {
					t.Errorf("line is too long or ends in spaces: %q", l)
				}
			}
		})
	}
	for name, o := range map[string]TextOptions{
		"leak-narrow.txt": {Width: 60, Top: 1, Dir: "my out"},
		"leak-color.txt":  {Width: 100, Color: true},
		"leak-books.txt":  {Books: true},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteText(&b, leak(), o); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		})
	}
}

func TestJSON(t *testing.T) {
	for name, result := range results {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteJSON(&b, result()); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", b.Bytes())
			got, err := ReadJSON(&b)
			if err != nil {
				t.Fatal(err)
			}
			// What is read must print what was written.
			if want := NewDocument(result()); !reflect.DeepEqual(got, want) {
				t.Errorf("read back\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// TestTextIsSafe: names come from the target, which may be anybody's.
func TestTextIsSafe(t *testing.T) {
	r := leak()
	evil := "x\x1b]0;owned\x07\n\u202e\xff"
	r.Target.Exe, r.Verdict.Sentence, r.NamesHint = evil, evil, evil
	r.Retained[0].Stack.Locations[3].Lines[0].Function, r.Retained[0].Stack.Locations[3].Lines[0].File = evil, evil
	r.Retained[0].Allocator, r.Retained[0].Class = evil, evil
	r.Retained[0].Stack.Complete, r.Retained[0].Stack.End = false, evil
	r.Health[0].Name, r.Health[0].Meaning = evil, evil
	r.Phases[0].ShowMemory[0].Name, r.Phases[0].ShowMemory[0].Text, r.Phases[1].Incomplete = evil, evil+" 1 2 3", evil
	r.CPU.Limit, r.Stacks.Ends = evil, map[string]uint64{evil: 1}
	var b bytes.Buffer
	if err := WriteText(&b, r, TextOptions{Dir: "out"}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\x07\u202e\xff") || !utf8.Valid(b.Bytes()) {
		t.Errorf("control characters of the target reach the terminal:\n%q", b.String())
	}
	for _, c := range comments(r) {
		if strings.ContainsAny(c, "\x1b\x07\n\u202e") {
			t.Errorf("control characters of the target in comment %q", c)
		}
	}
}
