// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"leakprof/collector/lab"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// soakVariable in the environment is how long TestSoak takes, such as 1h.
const soakVariable = "LEAKPROF_SOAK"

const (
	shortSoak     = 8 * time.Second
	soakIntervals = 12
	soakPeers     = 2
	soakRoutes    = 5000 // of each peer
	soakChurn     = 200  // routes a second
)

// use is what a process takes at one moment.
type use struct {
	rss, anonymous int64 // bytes
	cpu            time.Duration
	kernel         int64 // bytes of its BPF maps and programs
}

// processUse reads proc_pid_status(5), the clock of the process, and the fdinfo
// of its BPF objects.
func processUse(pid int) (u use, err error) {
	field := func(text []byte, name string) (n int64) {
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				fmt.Sscan(rest, &n)
			}
		}
		return n
	}
	p, err := target.Open(pid)
	if err != nil {
		return u, err
	}
	defer p.Close()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	u.rss, u.anonymous = field(status, "VmRSS")<<10, field(status, "RssAnon")<<10
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, path := range infos {
		info, _ := os.ReadFile(path) // it may be closed already
		u.kernel += field(info, "memlock")
	}
	u.cpu, err = p.CPUTime()
	return u, err
}

// TestSoak follows BIRDs for long while their peers withdraw and announce
// routes again: neither leakprof grows nor BIRD, and at the end, when BIRD
// rests, the books agree to the byte.
func TestSoak(t *testing.T) {
	t.Parallel()
	duration, intervals := shortSoak, 4
	cases := []struct {
		bird string
		bmp  bool
	}{{"bird3-trixie", false}, {"bird2-sid", true}}
	if text := os.Getenv(soakVariable); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", soakVariable, err)
		}
		intervals = soakIntervals
	} else {
		cases = cases[:1]
	}
	for _, c := range cases {
		t.Run(c.bird, func(t *testing.T) {
			t.Parallel()
			soak(t, c.bird, c.bmp, duration, intervals)
		})
	}
}

func soak(t *testing.T, name string, bmp bool, duration time.Duration, intervals int) {
	station, config := "", lab.Config{Binary: findBird(t, name), Peers: soakPeers}
	if bmp {
		config.Station = freeAddr(t)
		station = config.Station.String()
	}
	bird := startBird(t, config)
	out := filepath.Join(t.TempDir(), "out")
	interval := duration / time.Duration(intervals)
	settle := min(interval/10, 10*time.Second)
	run := startWithin(t, duration+runDeadline, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", station, "--birdc", bird.Control(),
		"--settle", settle.String(), "--interval", interval.String(), "--cycles", strconv.Itoa(intervals), "--out", out)
	run.says(t, "attached to pid")
	if bmp {
		waitForStation(t, bird)
	}
	run.says(t, "baseline, quiet")
	begin := time.Now()
	// The last look is at a BIRD that rests, and so is the one before it.
	churn := duration - 2*interval
	speakers, err := lab.NewSpeakers(bird.BGPAddr(), soakPeers, lab.Flood{Routes: soakRoutes, Churn: soakChurn, ChurnFor: churn})
	if err != nil {
		t.Fatal(err)
	}
	flooded := make(chan error, 1)
	go func() { flooded <- speakers.Up(t.Context()) }()

	type sample struct {
		at         time.Duration
		ours, bird use
	}
	var samples []sample
	t.Logf("%8s  %9s %9s %9s %6s  %9s %9s %6s", "time", "our RSS", "anonymous", "kernel", "CPU", "BIRD RSS", "anonymous", "CPU")
	tick := time.NewTicker(duration / 60)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-run.done:
			ended = true
			continue
		case <-tick.C:
		}
		s := sample{at: time.Since(begin)}
		var err error
		if s.bird, err = processUse(bird.PID()); err != nil {
			t.Fatal(err)
		}
		if s.ours, err = processUse(run.Process.Pid); err != nil {
			continue // it has just ended
		}
		if samples = append(samples, s); len(samples) == 1 {
			continue
		}
		before := samples[len(samples)-2]
		share := func(now, then use) float64 {
			return 100 * (now.cpu - then.cpu).Seconds() / (s.at - before.at).Seconds()
		}
		t.Logf("%8s  %9s %9s %9s %5.1f%%  %9s %9s %5.1f%%", s.at.Round(time.Second/10),
			report.Size(s.ours.rss), report.Size(s.ours.anonymous), report.Size(s.ours.kernel), share(s.ours, before.ours),
			report.Size(s.bird.rss), report.Size(s.bird.anonymous), share(s.bird, before.bird))
	}
	got := run.wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	if err := <-flooded; err != nil {
		t.Fatalf("churn: %v", err)
	}
	if n := established(t, bird); n != soakPeers {
		t.Errorf("%d sessions are up, want %d", n, soakPeers)
	}
	if n, why := speakers.Dropped(); n > 0 {
		t.Errorf("%d sessions were dropped: %v", n, why)
	}

	// most is the largest value of a stretch of the run, from and to of its whole.
	most := func(from, to float64, value func(sample) int64) (n int64) {
		for _, s := range samples {
			if part := s.at.Seconds() / duration.Seconds(); part >= from && part <= to {
				n = max(n, value(s))
			}
		}
		return n
	}
	for _, what := range []struct {
		name  string
		value func(sample) int64
		slack int64 // what heap and files may differ by from one quarter to another
	}{
		{"our anonymous memory", func(s sample) int64 { return s.ours.anonymous }, 24 << 20},
		{"our memory in the kernel", func(s sample) int64 { return s.ours.kernel }, 1 << 20},
		{"BIRD's anonymous memory", func(s sample) int64 { return s.bird.anonymous }, 1 << 20},
	} {
		early, late := most(0.25, 0.5, what.value), most(0.75, 1, what.value)
		if late > early+what.slack {
			t.Errorf("%s: %s in the last quarter, %s in the second", what.name, report.Size(late), report.Size(early))
		}
	}

	d := readReport(t, out)
	t.Logf("verdict: %s", d.VerdictSentence)
	if d.Verdict == report.Leak || d.Verdict == report.Incomplete {
		t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
	}
	equal := 0
	for _, p := range d.Reconciliation.Phases {
		if p.Account != nil && p.Tree.Equal {
			equal++
		}
	}
	t.Logf("live set and resource tree are equal at %d of %d looks", equal, len(d.Reconciliation.Phases))
	last := d.Reconciliation.Phases[len(d.Reconciliation.Phases)-1]
	if last.Account == nil || !last.Tree.Equal {
		t.Fatalf("the books of the last look do not agree: %s", got.stdout)
	}
	for _, l := range last.Lines {
		if l.WithinRounding != nil && !*l.WithinRounding {
			t.Errorf("at the last look %s differs by %s", l.Name, report.SignedSize(l.Difference))
		}
	}
}
