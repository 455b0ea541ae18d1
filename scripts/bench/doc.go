// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What stands between these lines of the document is what a command has printed.
const (
	beginTable = "<!-- bench: "
	endName    = " -->"
	endTable   = "<!-- end of bench -->"
)

// plotPrefix is what the names of plots' tables begin with.
const plotPrefix = "plot-"

// drawing is the file that a plot is drawn into, beside the document.
func drawing(by string) string { return "cost-by-" + by + ".svg" }

// runDoc puts the tables of earlier runs into the document.
func runDoc(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("bench doc", flag.ContinueOnError)
	out := flags.String("out", "bench-out", "the `directory` of the tables")
	doc := flags.String("doc", "docs/performance.md", "the `file` to put them into")
	if err := flags.Parse(args); err != nil {
		return err
	}
	before, err := os.ReadFile(*doc)
	if err != nil {
		return err
	}
	after, err := fill(string(before), func(name string) (string, error) {
		table, err := os.ReadFile(filepath.Join(*out, filepath.Base(name)+".txt"))
		if err != nil {
			return "", err
		}
		picture := ""
		if by, ok := strings.CutPrefix(name, plotPrefix); ok {
			picture = fmt.Sprintf("![what a hit costs, by %s](%s)\n\n", by, drawing(by))
		}
		return picture + "```\n" + strings.TrimRight(string(table), "\n") + "\n```\n", nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", *doc, err)
	}
	return os.WriteFile(*doc, []byte(after), 0o644)
}

// fill puts tables where the text asks for them by name. A table that is not there leaves
// what stood in its place.
func fill(text string, table func(name string) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, beginTable)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, found := strings.Cut(rest, endName+"\n")
		old, rest, ended := strings.Cut(rest, endTable)
		if !found || !ended {
			return "", fmt.Errorf("the table %q has no end", name)
		}
		now, err := table(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			now = old
		case err != nil:
			return "", err
		}
		b.WriteString(beginTable + name + endName + "\n" + now + endTable)
		text = rest
	}
}
