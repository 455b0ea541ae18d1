// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"leakprof/collector/lab"
	"leakprof/profiler/privilege"
	"leakprof/profiler/report"
)

// rights are those of a thread, by proc_pid_status(5).
type rights struct{ permitted, effective, bounding, ambient, noNewPrivs uint64 }

// rightsOf returns the rights that all threads of a process have; it fails the
// test if they differ.
func rightsOf(t *testing.T, pid int) rights {
	t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	var all []rights
	for _, f := range files {
		status, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		var r rights
		fields := map[string]*uint64{"CapPrm": &r.permitted, "CapEff": &r.effective, "CapBnd": &r.bounding, "CapAmb": &r.ambient, "NoNewPrivs": &r.noNewPrivs}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			if to := fields[name]; to != nil {
				if *to, err = strconv.ParseUint(strings.TrimSpace(value), 16, 64); err != nil {
					t.Fatal(err)
				}
			}
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		t.Fatalf("process %d has no threads", pid)
	}
	for _, r := range all {
		if r != all[0] {
			t.Fatalf("threads differ: %+v, %+v", all[0], r)
		}
	}
	return all[0]
}

// bits are capabilities as /proc shows them.
func bits(all ...cap.Value) (b uint64) {
	for _, v := range all {
		b |= 1 << v
	}
	return b
}

// children are the processes that a process has started.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, field := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
	}
	return pids
}

// TestRightsOfAttach: once the probes are in place attach has, in every thread,
// what following takes and no more, for good, and does its work with it to the
// end. A process beside it has CAP_SYS_ADMIN to measure run times, if that was
// there.
func TestRightsOfAttach(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird2-sid"), Peers: 1})
	var following []cap.Value
	for _, k := range privilege.Following() {
		following = append(following, k.Capability)
	}
	var walking, attaching []cap.Value
	for _, k := range privilege.Walking() {
		walking = append(walking, k.Capability)
	}
	for _, k := range privilege.Attaching(true) {
		attaching = append(attaching, k.Capability)
	}
	asRoot := func(t *testing.T, args ...string) *running { return start(t, args...) }
	asNobody := func(t *testing.T, args ...string) *running {
		return startAsNobody(t, numbers(t, unitCapabilities(t)), args...)
	}
	asNobodyWithoutBPF := func(t *testing.T, args ...string) *running {
		var capabilities []uintptr
		for _, c := range walking {
			capabilities = append(capabilities, uintptr(c))
		}
		return startAsNobody(t, capabilities, args...)
	}
	inDirectoryOfOthers := t.TempDir()
	if err := os.Chown(inDirectoryOfOthers, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	only := func(all []cap.Value) rights { return rights{bits(all...), bits(all...), bits(all...), 0, 1} }
	before := rightsOf(t, os.Getpid())
	for _, c := range []struct {
		name  string
		run   func(*testing.T, ...string) *running
		args  []string
		out   string
		want  rights
		meter bool
	}{
		{"root", asRoot, nil, "out", only(following), true},
		{"root, linpool objects, in a directory of others", asRoot, []string{"--linpool-objects", "--partial"}, inDirectoryOfOthers, only(append(following, cap.DAC_OVERRIDE)), true},
		{"root, with a command", asRoot, []string{"--cycle-exec", "true", "--interval", "0"}, "out", before, false},
		// Who may not change the bounding set is bound by no_new_privs alone.
		{"nobody, without BPF, walk", asNobodyWithoutBPF, []string{"--mode", "walk"}, "out", rights{bits(walking...), bits(walking...), before.bounding, 0, 1}, false},
		{"nobody, auto", asNobody, []string{"--mode", "auto"}, "out", rights{bits(attaching...), bits(attaching...), before.bounding, 0, 1}, false},
		{"nobody, pages", asNobody, []string{"--mode", "pages"}, "out", rights{bits(following...), bits(following...), before.bounding, 0, 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "100ms", "--interval", "100ms", "--cycles", "2", "--out", c.out}
			run := c.run(t, append(args, c.args...)...)
			run.says(t, "attached to pid")
			if got := rightsOf(t, run.Process.Pid); got != c.want {
				t.Errorf("rights are %+x, want %+x", got, c.want)
			}
			beside := children(t, run.Process.Pid)
			if (len(beside) == 1) != c.meter {
				t.Errorf("%d processes beside it", len(beside))
			}
			for _, pid := range beside {
				run.says(t, "interval") // it has been used by now
				if got, want := rightsOf(t, pid), only([]cap.Value{cap.SYS_ADMIN}); got != want {
					t.Errorf("the meter's rights are %+x, want %+x", got, want)
				}
			}
			got := run.wait()
			if got.status != exitDone {
				t.Fatalf("exit status %d\n%s", got.status, got.stderr)
			}
			if !filepath.IsAbs(c.out) {
				c.out = filepath.Join(run.Dir, c.out)
			}
			if d := readReport(t, c.out); d.Verdict != report.Clean {
				t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
			}
			for _, pid := range beside {
				if unix.Kill(pid, 0) == nil {
					t.Errorf("the meter is left")
				}
			}
		})
	}
}

// TestRightsOfStation: the station alone has none, whoever started it.
func TestRightsOfStation(t *testing.T) {
	run := start(t, "bmp", "--listen", "127.0.0.1:0", "--record", "record")
	run.says(t, "listening for BMP")
	if got, want := rightsOf(t, run.Process.Pid), (rights{noNewPrivs: 1}); got != want {
		t.Errorf("rights are %+x, want %+x", got, want)
	}
	run.Process.Signal(unix.SIGINT)
	if got := run.wait(); got.status != exitDone {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
}
