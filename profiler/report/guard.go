// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"time"

	"leakprof/profiler/guard"
)

// DocumentGuard is guard.Account in report.json. Shares are in percent of one
// core.
type DocumentGuard struct {
	Estimate *DocumentEstimate `json:"estimate"`
	// MaxOverhead is null where there was no limit; then nobody watched.
	MaxOverhead    *float64            `json:"max_overhead_percent"`
	WatchedSeconds int                 `json:"watched_seconds"`
	Peak           float64             `json:"peak_percent"`
	Steps          []DocumentGuardStep `json:"steps"`
}

// DocumentEstimate is guard.Estimate in report.json.
type DocumentEstimate struct {
	Sentence       string             `json:"sentence"`
	Seconds        float64            `json:"seconds"`
	CountedSeconds float64            `json:"counted_seconds"`
	BIRD           float64            `json:"bird_percent"`
	Modes          []DocumentModeCost `json:"modes"`
}

// DocumentModeCost is guard.ModeCost in report.json.
type DocumentModeCost struct {
	Mode          string  `json:"mode"`
	HitsPerSecond float64 `json:"hits_per_second"`
	Extra         float64 `json:"extra_percent"`
}

// DocumentGuardStep is guard.Step in report.json; To is "" where all probes were
// taken off.
type DocumentGuardStep struct {
	Time    time.Time `json:"time"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Percent float64   `json:"percent"`
	Reason  string    `json:"reason"`
}

func newGuard(a *guard.Account) *DocumentGuard {
	if a == nil {
		return nil
	}
	d := &DocumentGuard{WatchedSeconds: a.Windows, Peak: 100 * a.Peak, Steps: []DocumentGuardStep{}}
	if a.Limit > 0 {
		limit := 100 * a.Limit
		d.MaxOverhead = &limit
	}
	if e := a.Estimate; e != nil {
		d.Estimate = &DocumentEstimate{
			Sentence: e.String(), Seconds: e.Took.Seconds(), CountedSeconds: e.Counted.Seconds(), BIRD: 100 * e.BIRD,
			Modes: []DocumentModeCost{},
		}
		for _, m := range e.Modes {
			d.Estimate.Modes = append(d.Estimate.Modes, DocumentModeCost{m.Options.String(), m.HitsPerSecond, 100 * m.Extra})
		}
	}
	for _, s := range a.Steps {
		step := DocumentGuardStep{Time: s.Time, From: s.From.String(), To: s.To.String(), Percent: 100 * s.Share, Reason: s.Reason}
		if s.Detached {
			step.To = ""
		}
		d.Steps = append(d.Steps, step)
	}
	return d
}

// sentences say what was expected, and what was done about it.
func (d *DocumentGuard) sentences() (lines []string) {
	if d == nil {
		return nil
	}
	if d.Estimate != nil {
		lines = append(lines, "before attaching: "+d.Estimate.Sentence)
	}
	if d.MaxOverhead == nil {
		return lines
	}
	s := fmt.Sprintf("probes may take %g%% of a core; in %s they took at most %.1f%%", *d.MaxOverhead, plural(d.WatchedSeconds, "second"), d.Peak)
	if len(d.Steps) == 0 {
		s += ", and nothing had to be done"
	}
	lines = append(lines, s)
	for _, step := range d.Steps {
		what := "stepped down from " + step.From + " to " + step.To
		if step.To == "" {
			what = "took all probes off"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", step.Time.Format(time.TimeOnly), what, step.Reason))
	}
	return lines
}
