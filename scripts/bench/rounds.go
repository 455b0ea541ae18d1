// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// rounds runs every variant of every setup once in each round, in another order each
// time, and writes each run as a line of JSON as soon as it is over. With an error
// there are the runs so far. A run that went wrong is no error here: it says so itself.
func rounds(ctx context.Context, setups []setup, variants []variant, f floodFlags, raw io.Writer) (runs []run, err error) {
	encoder := json.NewEncoder(raw)
	mine := slices.DeleteFunc(slices.Clone(variants), func(v variant) bool { return v.other })
	total := len(setups) * (f.rounds*len(mine) + min(f.rounds, f.others)*(len(variants)-len(mine)))
	for round := range f.rounds {
		if round == f.others {
			variants = mine
		}
		for i, s := range setups {
			for order, v := range shuffled(len(variants), f.seed, round*len(setups)+i) {
				r := measure(ctx, s, variants[v], f.limit)
				if ctx.Err() != nil {
					return runs, context.Cause(ctx)
				}
				r.Round, r.Order = round+1, order+1
				runs = append(runs, r)
				if err := encoder.Encode(r); err != nil {
					return runs, fmt.Errorf("write run: %w", err)
				}
				fmt.Fprintf(os.Stderr, "%d/%d  %s\n", len(runs), total, r)
			}
		}
	}
	return runs, nil
}

// String is the run in one line, for whoever waits.
func (r run) String() string {
	if r.Error != "" {
		return fmt.Sprintf("%s, %s: %s", r.Bird, r.Variant, r.Error)
	}
	return fmt.Sprintf("%s, %s: flood %.3f s, drop %.3f s of CPU, foreign %.0f %%", r.Bird, r.Variant, r.Flood.CPU, r.Drop.CPU, r.ForeignPercent)
}
