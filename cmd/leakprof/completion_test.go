// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
)

// TestCompletion: what the shells' scripts ask the program for. Each word that is
// offered for a flag is one that the flag takes, but for those that go on.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args  string
		want  string
		files bool // shells offer files
	}{
		{"attach --mode", "exact pages walk auto", false},
		{"doctor --mode", "exact pages walk auto", false},
		{"lab --drop", "notification reset silence", false},
		{"lab --station", "stall@ close@ normal slow= stall stall=", false},
		{"bmp --station", "normal slow= stall stall=", false},
		{"bmp --speed", "max real", false},
		{"lab --preset", "report", false},
		{"mark", "baseline flooding flooded dropping settled running", false},
		{"attach --debug-file", "", true},
		{"attach --pid", "", true},
		{"attach --out", "", false},
		{"report", "", false},
	} {
		args := strings.Fields(c.args)
		got := start(t, append(append([]string{"__complete"}, args...), "")...).wait()
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		words := strings.Join(lines[:len(lines)-1], " ")
		if files := lines[len(lines)-1] == ":0"; got.status != exitDone || words != c.want || files != c.files {
			t.Errorf("%s: exit status %d, %q, files %v; want %q, %v", c.args, got.status, words, files, c.want, c.files)
		}
		if len(args) < 2 {
			continue
		}
		for word := range strings.FieldsSeq(c.want) {
			if strings.HasSuffix(word, "=") || strings.HasSuffix(word, "@") {
				continue
			}
			// Help is asked for after the value, which is refused before that.
			if got := start(t, append(slices.Clone(args), word, "--help")...).wait(); got.status != exitDone {
				t.Errorf("%s %s: exit status %d, %s", c.args, word, got.status, got.stderr)
			}
		}
	}
}
