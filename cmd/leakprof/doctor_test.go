// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
	"leakprof/profiler/doctor"
)

// TestDoctor: of a packaged BIRD that has a station where attach would run one,
// all works, or works but for its names.
func TestDoctor(t *testing.T) {
	station := freeAddress(t)
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird3-trixie"), Peers: 1, Station: station})
	args := []string{"doctor", "--json", "--pid", strconv.Itoa(bird.PID()), "--bmp", station.String()}
	got := start(t, args...).wait()
	var out struct {
		Fit    bool
		Checks []doctor.Check
	}
	if err := json.Unmarshal([]byte(got.stdout), &out); err != nil || got.status != exitDone || !out.Fit {
		t.Fatalf("exit status %d, fit %v: %v\n%s%s", got.status, out.Fit, err, got.stdout, got.stderr)
	}
	states := make(map[string]doctor.State)
	for _, c := range out.Checks {
		states[c.Name] = c.State
	}
	for name, want := range map[string]doctor.State{
		"kernel": doctor.Works, "programs": doctor.Works, "plan": doctor.Works, "control socket": doctor.Works, "BMP": doctor.Works,
		"names": doctor.Limited,
	} {
		if states[name] != want {
			t.Errorf("%s: %q, want %q\n%s", name, states[name], want, got.stdout)
		}
	}
	// Where nobody tells of sessions, attach would not do its job.
	got = start(t, append(args, "--birdc", "none", "--bmp", "")...).wait()
	if got.status != exitError || !strings.Contains(got.stderr, "control socket") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("exit status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
}

// TestLeastRights: a common user with exactly the capabilities that the doctor
// names can do all, for a BIRD of root in a chroot, and attach agrees; with each
// but one of them, but for that for replaced files, not.
func TestLeastRights(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird3-trixie"), Peers: 1, Station: freeAddress(t)})
	pid := strconv.Itoa(bird.PID())
	least := []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH, unix.CAP_CHECKPOINT_RESTORE}
	if got := start(t, "doctor").wait(); strings.Contains(got.stdout, "by perf events") {
		// Before Linux 6.10 CAP_SYS_ADMIN has to stand for three of them.
		least = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH}
	}
	for i := range least {
		if least[i] == unix.CAP_CHECKPOINT_RESTORE {
			continue // for files that were replaced: TestUpgraded
		}
		held := slices.Delete(slices.Clone(least), i, i+1)
		if got := startAsNobody(t, held, "doctor", "--pid", pid).wait(); got.status != exitError {
			t.Errorf("with capabilities %v: exit status %d\n%s%s", held, got.status, got.stdout, got.stderr)
		}
	}
	for _, args := range [][]string{
		{"doctor", "--pid", pid},
		{"attach", "--pid", pid, "--bmp", "", "--settle", "100ms", "--duration", "1s", "--out", "out"},
	} {
		if got := startAsNobody(t, least, args...).wait(); got.status != exitDone {
			t.Errorf("%v with capabilities %v: exit status %d\n%s%s", args, least, got.status, got.stdout, got.stderr)
		}
	}
}

// TestDoctorOfOthers: without a pid it is about the machine; a pid that is no
// BIRD is said to be none.
func TestDoctorOfOthers(t *testing.T) {
	if got := start(t, "doctor").wait(); got.status != exitDone || !strings.HasPrefix(got.stdout, "works       kernel") {
		t.Errorf("exit status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	if got := start(t, "doctor", "--pid", "1").wait(); got.status != exitError || !strings.Contains(got.stdout, "does not    pid 1") {
		t.Errorf("exit status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	for _, args := range [][]string{{"doctor", "--pid", "-1"}, {"doctor", "--bmp", "x"}, {"doctor", "bird"}} {
		if got := start(t, args...).wait(); got.status != exitUsage {
			t.Errorf("%v: exit status %d\n%s", args, got.status, got.stderr)
		}
	}
}

// freeAddress is one where nobody listens.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestCanBind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := netip.MustParseAddrPort(l.Addr().String())
	if err := canBind(taken); err == nil {
		t.Errorf("%s is taken, and can be bound", taken)
	}
	l.Close()
	for _, free := range []string{taken.String(), "[::1]:0"} {
		if err := canBind(netip.MustParseAddrPort(free)); err != nil {
			t.Error(err)
		}
	}
}

func TestStationIn(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{"  Created:            08:07:12.328", "  Station address:    127.0.0.1", "  Station port:       36199"}, "127.0.0.1:36199"},
		{[]string{"  Station address:    2001:db8::1", "  Station port:       1790"}, "[2001:db8::1]:1790"},
		{[]string{""}, ""},
		{[]string{"  Station address:    host", "  Station port:       1790"}, ""},
		{[]string{"  Station address:    127.0.0.1", "  Station port:       70000"}, ""},
	} {
		if got := stationIn(c.lines); got != c.want {
			t.Errorf("%q: %q, want %q", c.lines, got, c.want)
		}
	}
}
