// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"errors"
	"fmt"

	"leakprof/profiler/glibc"
	"leakprof/profiler/live"
	"leakprof/profiler/walk"
)

// Walks says whether the live set is told by walking the process's memory, so
// that nothing in it has a stack, and of a process that has ended there is none.
func (p *Profiler) Walks() bool { return p.walker != nil }

// tryWalk says beforehand whether the process can be walked.
func (p *Profiler) tryWalk() error {
	if p.BIRD == nil {
		return fmt.Errorf("walk process %d: only a BIRD's memory can be told apart without probes", p.Process.PID)
	}
	p.walker = &walk.Walker{Process: p.Process}
	_, err := p.walker.Live()
	if errors.Is(err, glibc.ErrNotGlibc) {
		return fmt.Errorf("%w; run --mode exact or pages", err)
	}
	return err
}

// walk is the live set of now; Look has found the lists of free pages.
func (p *Profiler) walk() (*live.Snapshot, error) {
	if c := p.sources.freePages; c != nil { // a nil *Cache is no nil FreePages
		p.walker.FreePages = c
	}
	return p.walker.Live()
}
