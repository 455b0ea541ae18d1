// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"fmt"

	"leakprof/bpf"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// Prove makes sure of a plan before its sites are probed: the code of each has to
// be its file's, and what does not stand a trial goes back to its function's
// entry, with a note in the plan.
func Prove(p *target.Process, made *plan.Plan, mode bpf.AttachMode) error {
	_, err := prove(p, made, mode)
	return err
}

func prove(p *target.Process, made *plan.Plan, mode bpf.AttachMode) ([]retreat, error) {
	if err := checkCode(p, made.Sites); err != nil {
		return nil, err
	}
	return tryPlan(made, func(sites []plan.Site) ([]error, error) { return bpf.Try(sites, mode) }), nil
}

// retreat is a site that was not armed where the plan had it.
type retreat struct {
	site plan.Site
	why  error
}

// from applies the retreat to a plan.
func (r retreat) from(p *plan.Plan) { p.Retreat(r.site.Address, r.site.Module, r.why) }

// tryPlan tries a plan's sites before they are armed, and puts those that fail
// on their functions' entries. Where nothing can be tried, as where no program
// may be run, only those that are proved without it stay.
func tryPlan(p *plan.Plan, try func([]plan.Site) (refused []error, err error)) (back []retreat) {
	refused, err := try(p.Sites)
	for i, s := range p.Sites {
		switch {
		case err == nil && refused[i] != nil:
			back = append(back, retreat{s, refused[i]})
		case err != nil && !s.IsProved():
			back = append(back, retreat{s, fmt.Errorf("%s+%d: %w", s.Function, s.Offset, err)})
		}
	}
	for _, r := range back {
		r.from(p)
	}
	return back
}
