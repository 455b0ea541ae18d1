// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"maps"
	"slices"

	"github.com/google/pprof/profile"
)

// labels decides on the labels of a profile's samples (docs/report.md); others
// are left out.
var labels = map[string]rule{
	"allocator": text, "pool": poolPath, "resource": text, "phase": text, "class": text,
}

// numericLabels have numbers, which stay.
var numericLabels = map[string]bool{"cycle": true, "bytes": true}

// Profile replaces in place. The report of the same run comes first
// (Document): it has the names that comments quote.
func (r *Redactor) Profile(p *profile.Profile) {
	for _, s := range p.Sample {
		for _, key := range slices.Sorted(maps.Keys(s.Label)) {
			values := s.Label[key]
			if labels[key] == nil {
				delete(s.Label, key)
				continue
			}
			for i := range values {
				values[i] = labels[key](r, values[i])
			}
		}
		for key := range s.NumLabel {
			if !numericLabels[key] {
				delete(s.NumLabel, key)
				delete(s.NumUnit, key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(s.NumUnit)) {
			r.texts(s.NumUnit[key])
		}
	}
	for _, m := range p.Mapping {
		m.File, m.BuildID = r.Path(m.File), r.buildIDOf(m.BuildID)
	}
	for _, f := range p.Function {
		f.Name, f.SystemName, f.Filename = r.function(f.Name), r.function(f.SystemName), r.source(f.Filename)
	}
	for _, t := range append(slices.Clone(p.SampleType), p.PeriodType) {
		if t != nil {
			t.Type, t.Unit = r.Text(t.Type), r.Text(t.Unit)
		}
	}
	r.texts(p.Comments)
	p.DefaultSampleType = r.Text(p.DefaultSampleType)
	p.DropFrames, p.KeepFrames, p.DocURL = "", "", ""
}

func (r *Redactor) texts(all []string) {
	for i := range all {
		all[i] = r.Text(all[i])
	}
}
