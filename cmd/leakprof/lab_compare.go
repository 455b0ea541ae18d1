// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"leakprof/profiler/report"
)

// What lab --compare writes into --out: a directory for each run, and the
// comparison beside them.
const (
	withBMPDirectory    = "with-bmp"
	withoutBMPDirectory = "without-bmp"
	comparisonText      = "compare.txt"
	comparisonJSON      = "compare.json"
	// comparisonWidth lets both tables stand beside each other, in columns.
	comparisonWidth = 100
)

// compareLab runs the experiment with BMP and without, on a BIRD each, and
// prints both beside each other.
func compareLab(ctx context.Context, stdout io.Writer, f *labFlags) error {
	binary, err := f.prepare(ctx)
	if err != nil {
		return err
	}
	if f.out == "" {
		f.out = fmt.Sprintf("leakprof-compare-%d", os.Getpid())
	}
	sides := []struct {
		name, directory string
		bmp             bool
	}{{"with BMP", withBMPDirectory, true}, {"without BMP", withoutBMPDirectory, false}}
	// What an earlier comparison left must not stand beside these runs.
	for _, name := range []string{comparisonText, comparisonJSON} {
		if err := os.Remove(filepath.Join(f.out, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove an earlier comparison: %w", err)
		}
	}
	var judged error
	compared := make([]report.Side, 0, len(sides))
	for i, s := range sides {
		say(os.Stderr, "run %d of %d, %s", i+1, len(sides), s.name)
		out := filepath.Join(f.out, s.directory)
		result, err := f.run(ctx, binary, s.bmp, &out)
		if err == nil && ctx.Err() != nil && i+1 < len(sides) {
			err = fmt.Errorf("interrupted before the run %s", sides[i+1].name)
		}
		if err != nil {
			// What is there is still worth reading.
			if result != nil {
				compared = append(compared, report.Side{Name: s.name, Document: report.NewDocument(result)})
			}
			for i, c := range compared {
				err = errors.Join(err, f.print(stdout, c.Document, filepath.Join(f.out, sides[i].directory)))
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := f.judge(result); err != nil {
			judged = errors.Join(judged, fmt.Errorf("%s: %w", s.name, err))
		}
		compared = append(compared, report.Side{Name: s.name, Document: report.NewDocument(result)})
	}
	c := report.Compare(compared[0], compared[1])
	if err := errors.Join(
		report.WriteFile(filepath.Join(f.out, comparisonText), func(w io.Writer) error { return c.WriteText(w, report.TextOptions{Width: comparisonWidth}) }),
		report.WriteFile(filepath.Join(f.out, comparisonJSON), c.WriteJSON),
	); err != nil {
		return err
	}
	if err := c.WriteText(stdout, textOptions(stdout, shownStacks)); err != nil {
		return fmt.Errorf("print comparison: %w", err)
	}
	with, without := filepath.Join(f.out, withBMPDirectory), filepath.Join(f.out, withoutBMPDirectory)
	fmt.Fprintf(stdout, "\nNext     leakprof report %s, or %s: each run's own report; report.html and profiles are there too\n", with, without)
	return judged
}
