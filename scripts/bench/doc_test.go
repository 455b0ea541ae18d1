// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"regexp"
	"testing"
)

func TestFill(t *testing.T) {
	tables := func(name string) (string, error) {
		if name == "known" {
			return "```\n1 2\n3 4\n```\n", nil
		}
		return "", fs.ErrNotExist
	}
	const before = "# A\n<!-- bench: known -->\nold\n<!-- end of bench -->\ntext\n<!-- bench: other -->\nkept\n<!-- end of bench -->\n"
	const after = "# A\n<!-- bench: known -->\n```\n1 2\n3 4\n```\n<!-- end of bench -->\ntext\n<!-- bench: other -->\nkept\n<!-- end of bench -->\n"
	for _, text := range []string{before, after} { // again, it is the same
		if got, err := fill(text, tables); err != nil || got != after {
			t.Errorf("%v\n%s", err, got)
		}
	}
	for _, bad := range []string{"<!-- bench: known -->\nold\n", "<!-- bench: known", "<!-- bench: known -->"} {
		if got, err := fill(bad, tables); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}

// TestDocument: the document can be filled, with the tables that are written.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`^(machine|tables|runs|timings|leaks-\d+|plot-(objects|threads))$`)
	n := 0
	if _, err := fill(string(text), func(name string) (string, error) {
		if n++; !known.MatchString(name) {
			t.Errorf("the document asks for %q, which nothing writes", name)
		}
		return "", fs.ErrNotExist
	}); err != nil || n == 0 {
		t.Errorf("%d tables, %v", n, err)
	}
}
