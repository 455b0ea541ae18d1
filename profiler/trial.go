// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"fmt"

	"leakprof/profiler/plan"
)

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
