// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"os"

	"leakprof/bpf"
	"leakprof/profiler/plan"
	"leakprof/profiler/probecost"
)

// measuredCosts is what probes cost here, nil if that was not measured.
func measuredCosts() *plan.Costs {
	table, err := probecost.Load()
	switch {
	case err == nil:
		return table.Plan(bpf.PlacesMulti(bpf.AttachBest))
	case !errors.Is(err, probecost.ErrNotMeasured) && !errors.Is(err, probecost.ErrNoPlace):
		say(os.Stderr, "warning: %v; leakprof doctor --probe-cost measures it anew", err)
	}
	return nil
}

// measureProbeCost measures what probes cost here, keeps it and prints it.
func measureProbeCost(ctx context.Context, stdout io.Writer, asJSON bool) error {
	table, err := probecost.Measure(ctx)
	if err != nil {
		return err
	}
	write := table.WriteText
	if asJSON {
		write = table.WriteJSON
	}
	return errors.Join(table.Save(), write(stdout))
}
