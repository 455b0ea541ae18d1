// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"io"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Runtime is how long programs ran, and how often, while it was measured.
type Runtime struct {
	Time time.Duration
	Runs uint64
}

// MeasureRuntime has the kernel measure how long each program runs, those of
// others on the machine too, until it is closed: some 50 ns a run, so it is for
// samples (BPF_ENABLE_STATS, Linux 5.8). It needs CAP_SYS_ADMIN.
func MeasureRuntime() (io.Closer, error) {
	c, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("measure run time of programs: %w", err)
	}
	return c, nil
}

// Runtime reads how long the programs at probes have run while that was
// measured.
func (p *Programs) Runtime() (r Runtime, err error) {
	for _, prog := range p.objects.all() {
		stats, err := prog.Stats()
		if err != nil {
			return r, fmt.Errorf("read program statistics: %w", err)
		}
		r.Time, r.Runs = r.Time+stats.Runtime, r.Runs+stats.RunCount
	}
	return r, nil
}
