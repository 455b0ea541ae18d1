// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"errors"
	"slices"

	"leakprof/collector/birdc"
	"leakprof/profiler/footprint"
	"leakprof/profiler/reconciliation"
	"leakprof/profiler/report"
	"leakprof/profiler/snapshot"
)

// books compares a look with BIRD's own books: its resource tree, what it
// answered to "show memory" before and after, and its resident memory.
func (r *run) books(s *snapshot.Snapshot, before, after *birdc.Memory) *report.Books {
	var replies []*birdc.Memory
	for _, m := range []*birdc.Memory{before, after} {
		if m != nil {
			replies = append(replies, m)
		}
	}
	account, errAccount := reconciliation.New(reconciliation.Input{
		Snapshot: s, Memory: replies, Process: r.Process, BIRD: r.Profiler.BIRD, Tree: r.Profiler.TreeReader(), Modules: r.Profiler.Modules(),
	})
	rss, errRSS := footprint.Read(r.Process, footprintInput(s))
	b := &report.Books{Account: account, Footprint: rss}
	if errAccount != nil {
		b.Account = nil
	}
	if errRSS != nil {
		b.Footprint = nil
	}
	if err := errors.Join(errAccount, errRSS); err != nil {
		b.Missing = err.Error()
	}
	return b
}

// footprintInput sorts what a snapshot has by what it is.
func footprintInput(s *snapshot.Snapshot) footprint.Input {
	var in footprint.Input
	for _, b := range s.Live.Blocks {
		if b.IsPage() {
			in.Pages = append(in.Pages, b.Address)
		} else {
			in.Blocks = append(in.Blocks, footprint.Block{Address: b.Address, Size: b.Size})
		}
	}
	if f := s.FreePages; f != nil {
		in.Kept, in.Cold, in.Index = slices.Sorted(slices.Values(f.Kept)), slices.Sorted(slices.Values(f.Cold)), slices.Sorted(slices.Values(f.Index))
		in.Unlisted = f.Lost + f.Unread
	}
	return in
}
