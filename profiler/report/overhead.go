// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"time"
)

// Overhead is the CPU time that the target used during the run, and how much of
// it was leakprof's doing.
type Overhead struct {
	BIRD time.Duration
	// Hits counts the calls that probes were hit by; Probes estimates what they
	// cost the target: what a hit costs (plan.Site.Cost), and what the programs
	// then do, by Sampled of their runs. All are 0 without probes; Sampled is 0
	// also where the kernel does not measure, and what programs do is left out.
	Hits    uint64
	Probes  time.Duration
	Sampled uint64
	// Functions are the probed functions that were hit, those with most hits first.
	Functions []FunctionHits
}

// FunctionHits is how often the probes of a function were hit.
type FunctionHits struct {
	// Function is its name in BIRD or the C library; LTO may have others of it.
	Function string `json:"function"`
	Entered  uint64 `json:"entered"`  // probes at entries, or a little behind
	Returned uint64 `json:"returned"` // probes at returns; 0 where there are none
}

// DocumentOverhead is Overhead in report.json.
type DocumentOverhead struct {
	BIRDSeconds   float64 `json:"bird_seconds"`
	Hits          uint64  `json:"hits"`
	ProbesSeconds float64 `json:"probes_seconds"`
	SampledRuns   uint64  `json:"sampled_runs"`
	// Functions is never nil.
	Functions []FunctionHits `json:"functions"`
}

func newOverhead(o *Overhead) *DocumentOverhead {
	if o == nil {
		return nil
	}
	return &DocumentOverhead{o.BIRD.Seconds(), o.Hits, o.Probes.Seconds(), o.Sampled, append([]FunctionHits{}, o.Functions...)}
}

// sentence says what the probes cost, and that this is an estimate; "" of nil.
func (o *DocumentOverhead) sentence() string {
	if o == nil {
		return ""
	}
	if o.Hits == 0 {
		return fmt.Sprintf("none: no probe was hit; BIRD used %.1f s of CPU time", o.BIRDSeconds)
	}
	s := fmt.Sprintf("about %.1f s of BIRD's %.1f s CPU time (%.0f%%) went to probes: %s hits, %.1f us each",
		o.ProbesSeconds, o.BIRDSeconds, 100*o.ProbesSeconds/max(o.BIRDSeconds, 1e-9), number(o.Hits), 1e6*o.ProbesSeconds/float64(o.Hits))
	if o.SampledRuns == 0 {
		return s + "; estimated by what an empty probe costs, so it is more"
	}
	return s + fmt.Sprintf("; estimated by what an empty probe costs and by %s", plural(o.SampledRuns, "sampled run"))
}
