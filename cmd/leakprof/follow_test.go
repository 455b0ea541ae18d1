// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"leakprof/collector/lab"
	"leakprof/profiler/privilege"
	"leakprof/profiler/report"
)

// waitUntil waits for something that must come, however busy the machine is.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	const atMost = 2 * time.Minute
	for deadline := time.Now().Add(atMost); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, atMost)
		}
	}
}

// startAgain starts a BIRD of the lab again, as its supervisor would.
func startAgain(t *testing.T, bird *lab.Bird, root string, args []string) *exec.Cmd {
	t.Helper()
	waitUntil(t, "the end of BIRD", func() bool { return identify(procfs, bird.PID()).exe == "" })
	c := exec.Command(args[0], args[1:]...)
	c.Dir, c.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c
}

// TestFollow: one report per life, of a BIRD that crashes and is started again,
// with the rights that each process needs; and ^C ends it with a report of the
// life that goes on.
func TestFollow(t *testing.T) {
	binary := findBird(t, "bird2-sid")
	station := freeAddr(t)
	bird := startBird(t, lab.Config{Binary: binary, Peers: 1, Station: station})
	again := argumentsOf(procfs, bird.PID())
	run := start(t, "attach", "--follow", "--pid", strconv.Itoa(bird.PID()), "--bmp", station.String(), "--settle", "100ms", "--interval", "100ms", "--out", "out")
	run.says(t, fmt.Sprintf("attached to pid %d ", bird.PID()))
	attachingBits := bits(attaching()...)
	if got, want := rightsOf(t, run.Process.Pid), (rights{attachingBits, attachingBits, attachingBits, 0, 1}); got != want {
		t.Errorf("the rights of the process that waits are %+x, want %+x", got, want)
	}
	var following []cap.Value
	for _, k := range privilege.Following() {
		following = append(following, k.Capability)
	}
	workers := children(t, run.Process.Pid)
	if len(workers) != 1 {
		t.Fatalf("%d processes follow one life", len(workers))
	}
	if got, want := rightsOf(t, workers[0]), (rights{bits(following...), bits(following...), bits(following...), 0, 1}); got != want {
		t.Errorf("the rights of the process that follows are %+x, want %+x", got, want)
	}
	run.says(t, "baseline, quiet")
	if err := unix.Kill(bird.PID(), unix.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	next := startAgain(t, bird, binary.Root, again)
	run.says(t, fmt.Sprintf("attached to pid %d ", next.Process.Pid))
	waitForStation(t, bird)
	waitUntil(t, "an interval of the second life", func() bool {
		_, second, _ := strings.Cut(run.err.String(), fmt.Sprintf("attached to pid %d ", next.Process.Pid))
		return strings.Contains(second, "interval 2")
	})
	run.Process.Signal(unix.SIGINT)
	got := run.wait()
	if got.status != exitDone {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
	lines := regexp.MustCompile(`(?m)^life .*$`).FindAllString(got.stdout, -1)
	want := []*regexp.Regexp{
		regexp.MustCompile(fmt.Sprintf(`^life 1: pid %d, BIRD 2\.\S+, \S+, (was killed by SIGSEGV|ended): \w+; out/1$`, bird.PID())),
		regexp.MustCompile(fmt.Sprintf(`^life 2: pid %d, BIRD 2\.\S+, \S+, still runs: \w+; out/2$`, next.Process.Pid)),
	}
	if len(lines) != 2 || !want[0].MatchString(lines[0]) || !want[1].MatchString(lines[1]) {
		t.Errorf("lives are %q", lines)
	}
	if d := readReport(t, filepath.Join(run.Dir, "out/1")); !strings.Contains(d.VerdictSentence, "the process ended") {
		t.Errorf("the first report does not say that the process ended: %s", d.VerdictSentence)
	}
	d := readReport(t, filepath.Join(run.Dir, "out/2"))
	if d.Verdict != report.Clean || d.Target.PID != next.Process.Pid {
		t.Errorf("the second report is of pid %d: %s: %s", d.Target.PID, d.Verdict, d.VerdictSentence)
	}
}

// TestFollowKilled: whoever waits takes whoever follows along, at once.
func TestFollowKilled(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird2-sid"), Peers: 1})
	file := filepath.Join(t.TempDir(), "bird.pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(bird.PID())+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := start(t, "attach", "--follow", "--pid", file, "--bmp", "", "--birdc", "none", "--settle", "100ms", "--out", "out")
	run.says(t, "attached to pid")
	if patched(t, bird.PID()) == 0 {
		t.Fatal("no probe is seen: the check below means nothing")
	}
	run.Process.Kill()
	waitUntil(t, "the end of all probes", func() bool { return patched(t, bird.PID()) == 0 })
}

// TestFollowStale: that the process of a pid file does not run is said, once, and
// the next one that is in the file is followed.
func TestFollowStale(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bird.pid")
	write := func(pid int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(ended.Process.Pid)
	run := start(t, "attach", "--follow", "--pid", file, "--bmp", "", "--out", "out")
	says := fmt.Sprintf("leakprof: waiting: pid %d, which %s holds, does not run\n", ended.Process.Pid, file)
	run.says(t, says)
	write(os.Getpid())
	got := run.wait()
	if got.status != exitError || !strings.Contains(got.stderr, "not a BIRD daemon") || strings.Count(got.stderr, says) != 1 {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
}

// TestFollowRefuses: what is wrong with the first life is likely wrong with how it
// was asked for.
func TestFollowRefuses(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"--pid", strconv.Itoa(os.Getpid()), "--bmp", ""}, exitError, "not a BIRD daemon"},
		{[]string{"--pid", "999999999", "--bmp", ""}, exitError, "open process 999999999"},
		{[]string{"--pid", "1", "--bmp", "nowhere"}, exitUsage, "want an address and port"},
		{[]string{"--pid", "1", "--settle", "-1s"}, exitUsage, "must be more than 0"},
	} {
		got := start(t, append([]string{"attach", "--follow", "--out", "out"}, c.args...)...).wait()
		if got.status != c.status || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%v: exit status %d\n%s", c.args, got.status, got.stderr)
		}
	}
}

// TestLifeGone: one that ends before it is followed is no error.
func TestLifeGone(t *testing.T) {
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(c.Process.Pid)
	got := start(t, "attach", "--life", "7", "--pid", pid, "--bmp", "", "--out", "out/7").wait()
	if want := "life 7: pid " + pid + " ended before it could be followed\n"; got.status != exitDone || got.stdout != want {
		t.Errorf("exit status %d, %q, want %q\n%s", got.status, got.stdout, want, got.stderr)
	}
}

func TestContinues(t *testing.T) {
	before := identity{exe: "/usr/sbin/bird", arguments: "bird\x00-f", dev: 1, root: 2, group: "0::/system.slice/bird.service\n"}
	for _, c := range []struct {
		name   string
		change func(*identity)
		want   bool
	}{
		{"the same", func(*identity) {}, true},
		{"nothing is known", func(id *identity) { *id = identity{} }, false},
		{"another program", func(id *identity) { id.exe = "/usr/local/sbin/bird" }, false},
		{"another instance", func(id *identity) { id.arguments = "bird\x00-f\x00-c\x00b.conf" }, false},
		{"a container that was started again", func(id *identity) { id.dev, id.root = 3, 4 }, true},
		{"a service that was moved", func(id *identity) { id.group = "0::/other\n" }, true},
		{"another container", func(id *identity) { id.dev, id.root, id.group = 3, 4, "0::/other\n" }, false},
		{"no control groups", func(id *identity) { id.root, id.group = 4, noGroup }, false},
	} {
		id := before
		c.change(&id)
		if got := id.continues(before); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	bare := identity{exe: "bird", root: 1, group: noGroup}
	if (identity{exe: "bird", root: 2, group: noGroup}).continues(bare) {
		t.Error("the control group of all is taken for one's own")
	}
}

// TestCandidate: with several of a name, the next life is the one that was
// started as the last; with a number, only such a one.
func TestCandidate(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "follow-candidate")
	data, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, data, 0o755); err != nil {
		t.Fatal(err)
	}
	sleeper := func(seconds string) int {
		c := exec.Command(exe, seconds)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c.Process.Kill()
			c.Wait()
		})
		return c.Process.Pid
	}
	name := follower{process: filepath.Base(exe)}
	number := follower{process: "4711"}
	known := identify(procfs, os.Getpid())
	known.exe, known.arguments = exe, exe+"\x0061"
	if _, err := name.candidate(&known); err != errNotYet {
		t.Errorf("nothing runs: %v", err)
	}
	other := sleeper("60")
	if pid, err := name.candidate(&known); pid != other {
		t.Errorf("one of the name: %d, %v, want %d", pid, err, other)
	}
	if pid, err := number.candidate(&known); err != errNotYet {
		t.Errorf("one of other arguments: %d, %v", pid, err)
	}
	next := sleeper("61")
	for _, w := range []follower{name, number} {
		if pid, err := w.candidate(&known); pid != next {
			t.Errorf("%s, two of the name: %d, %v, want %d", w.process, pid, err, next)
		}
	}
	sleeper("61")
	if pid, err := name.candidate(&known); err == nil || !strings.Contains(err.Error(), "2 processes may be it") {
		t.Errorf("two alike: %d, %v", pid, err)
	}
}

func TestPauseAfter(t *testing.T) {
	var pause time.Duration
	for _, c := range []struct{ life, want time.Duration }{
		{time.Hour, 0}, {time.Second, time.Second}, {time.Second, 2 * time.Second}, {time.Second, 4 * time.Second}, {shortLife, 0},
		{0, time.Second}, {0, 2 * time.Second}, {0, 4 * time.Second}, {0, 8 * time.Second}, {0, 16 * time.Second}, {0, 32 * time.Second}, {0, time.Minute}, {0, time.Minute},
	} {
		if pause = pauseAfter(c.life, pause); pause != c.want {
			t.Errorf("after a life of %v: %v, want %v", c.life, pause, c.want)
		}
	}
}

// TestLifeArguments: flags go on as they were given, but for those of all lives.
func TestLifeArguments(t *testing.T) {
	c := attachCommand()
	given := []string{"--pid=bird", "--out=x", "--follow", "--duration=1h", "--bmp=", "--settle=1s", "--threshold=64k", "--fail-on-retained=1M", "--mode=pages", "--partial"}
	if err := c.ParseFlags(given); err != nil {
		t.Fatal(err)
	}
	args := lifeArguments(c.Flags())
	again := attachCommand()
	if err := again.ParseFlags(args); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	for name, want := range map[string]string{"pid": "", "out": "", "follow": "false", "duration": "0s"} {
		if got := again.Flags().Lookup(name).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"bmp", "settle", "threshold", "fail-on-retained", "mode", "partial"} {
		if got, want := again.Flags().Lookup(name).Value.String(), c.Flags().Lookup(name).Value.String(); got != want || !again.Flags().Changed(name) {
			t.Errorf("--%s is %q, want %q", name, got, want)
		}
	}
}

func TestLastLife(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"", "1", "9", "10", "x"} {
		if name != "" {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := lastLife(dir); err != nil || got != []int{0, 1, 9, 10, 10}[i] {
			t.Errorf("with %q: %d, %v", name, got, err)
		}
	}
	if _, err := lastLife(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there is no error")
	}
}
