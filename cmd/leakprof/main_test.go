// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
)

// The tests run the program itself, built once, against real BIRDs.
var (
	program     string
	birds       = []string{"bird3-trixie", "bird2-sid", "bird3-sid"}
	runDeadline = 3 * time.Minute
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "leakprof-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "leakprof")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build leakprof: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// birdPath is the BIRD of a root that scripts/bird-root makes.
func birdPath(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../.bird", name, "usr/sbin/bird"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("BIRD %s is missing: scripts/bird-root %s", name, name)
	}
	return path
}

// result is how a run of the program ended.
type result struct {
	status         int
	stdout, stderr string
}

// running is a run under way.
type running struct {
	*exec.Cmd
	out, err safeBuffer
	done     chan struct{}
}

// safeBuffer can be read while the program writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start starts the program; it is killed with the test.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	return startWithin(t, runDeadline, args...)
}

// startWithin starts the program, which is killed if it takes longer.
func startWithin(t *testing.T, deadline time.Duration, args ...string) *running {
	t.Helper()
	// Ten seconds each are long where it is not about them.
	if args[0] == "attach" && !slices.Contains(args, "--estimate") {
		args = append(slices.Clone(args), "--estimate", "0")
	}
	return startCommand(t, deadline, program, args...)
}

// startCommand starts a command that becomes the program.
func startCommand(t *testing.T, deadline time.Duration, name string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	r := &running{Cmd: exec.CommandContext(ctx, name, args...), done: make(chan struct{})}
	r.Dir = t.TempDir()
	r.begin(t, cancel)
	return r
}

// begin starts the command, whose context cancel ends, and has it end with the
// test.
func (r *running) begin(t *testing.T, cancel context.CancelFunc) {
	t.Helper()
	r.Stdout, r.Stderr = &r.out, &r.err
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.Wait()
		cancel()
		close(r.done)
	}()
	t.Cleanup(func() {
		r.Process.Kill()
		<-r.done
	})
}

// wait waits for the end of the run.
func (r *running) wait() result {
	<-r.done
	return result{r.ProcessState.ExitCode(), r.out.String(), r.err.String()}
}

// says waits until the program has written text to its standard error.
func (r *running) says(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(r.err.String(), text) {
		select {
		case <-r.done:
			t.Fatalf("it ended before it said %q:\n%s", text, r.err.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"attach"}, exitUsage, "--pid is needed"},
		{[]string{"attach", "--settle", "x"}, exitUsage, "see leakprof attach --help"},
		{[]string{"attach", "--pid", "no-such-daemon"}, exitError, "no process runs a program of that name"},
		{[]string{"attach", "--pid", "1", "--bmp", "nowhere"}, exitUsage, "want an address and port"},
		{[]string{"attach", "--pid", "1", "--settle", "-1s"}, exitUsage, "must be more than 0"},
		{[]string{"attach", "--pid", "1", "--threshold", "big"}, exitUsage, "is no size"},
		{[]string{"attach", "--pid", "1", "extra"}, exitUsage, "unexpected argument"},
		{[]string{"lab", "--preset", "other"}, exitUsage, "only \"report\" is known"},
		{[]string{"lab", "--peers", "0"}, exitUsage, "at least 1"},
		{[]string{"lab", "--compare", "--bmp=false"}, exitUsage, "leave out --bmp"},
		{[]string{"lab", "--station", "fast"}, exitUsage, "stall@PHASE or close@PHASE"},
		{[]string{"lab", "--station", "stall", "--bmp=false"}, exitUsage, "there is none with --bmp=false"},
		{[]string{"lab", "--station", "stall@flooded", "--cycle-exec", "true"}, exitUsage, "the phases of a cycle are running"},
		{[]string{"lab", "--station", "stall@running"}, exitUsage, "flooding, flooded and dropping without"},
		{[]string{"lab", "--churn", "10/s", "--limit", "5s"}, exitUsage, "more than --churn-for"},
		{[]string{"nonsense"}, exitUsage, "unknown command"},
		{[]string{"attach", "--pid", "999999999", "--bmp", ""}, exitError, "no process has this number"},
		{[]string{"attach", "--pid", fmt.Sprint(os.Getpid()), "--bmp", ""}, exitError, "not a BIRD daemon"},
		{[]string{"lab", "--bird", "/no/such/bird"}, exitError, "/no/such/bird"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			got := start(t, c.args...).wait()
			if got.status != c.status {
				t.Errorf("exit status %d, want %d", got.status, c.status)
			}
			if lines := strings.Count(got.stderr, "\n"); lines != 1 {
				t.Errorf("%d lines of error, want 1:\n%s", lines, got.stderr)
			}
			if !strings.HasPrefix(got.stderr, "leakprof: ") || !strings.Contains(got.stderr, c.says) {
				t.Errorf("stderr %q does not say %q", got.stderr, c.says)
			}
		})
	}
}

// TestInterruptedEarly: an end by ^C before there is anything to report is said
// so, and not as what it interrupted.
func TestInterruptedEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, []string{"lab", "--bird", birdPath(t, birds[0]), "--out", t.TempDir()}); !errors.Is(err, errInterrupted) || status(err) != exitError {
		t.Errorf("got %v, want %v", err, errInterrupted)
	}
}

// TestHelp: each command has an example, and help that a terminal of 80 columns
// shows as it is.
func TestHelp(t *testing.T) {
	for _, command := range []string{"attach", "bmp", "bundle", "diff", "doctor", "lab", "man", "mark", "plan", "report", "tree", "version"} {
		got := start(t, command, "--help").wait()
		if got.status != exitDone || !strings.Contains(got.stdout, "Examples:\n  leakprof "+command) {
			t.Errorf("%s --help: exit status %d, no example in\n%s", command, got.status, got.stdout)
		}
		for line := range strings.Lines(got.stdout) {
			if n := utf8.RuneCountInString(line) - 1; n > helpColumns {
				t.Errorf("%s --help: %d columns: %s", command, n, line)
			}
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
	}{
		{"0", 0}, {"4096", 4096}, {"64k", 64 << 10}, {"64 kB", 64 << 10}, {"10M", 10 << 20}, {"2GiB", 2 << 30}, {"0.5g", 512 << 20},
		{"", -1}, {"-1", -1}, {"x", -1}, {"1e300", -1}, {"nan", -1}, {"k", -1},
	} {
		var s sizeFlag
		err := s.Set(c.text)
		if c.want < 0 {
			if err == nil {
				t.Errorf("%q: %d, want an error", c.text, s)
			}
		} else if err != nil || int64(s) != c.want {
			t.Errorf("%q: %d, %v, want %d", c.text, s, err, c.want)
		} else if again := s; s.Set(again.String()) != nil || s != again {
			t.Errorf("%q prints as %q, which is %d", c.text, again.String(), s)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitDone},
		{errors.New("x"), exitError},
		{usageError{errors.New("x")}, exitUsage},
		{fmt.Errorf("a: %w", usageError{errors.New("x")}), exitUsage},
		{fmt.Errorf("a: %w", errRetained), exitRetained},
	} {
		if got := status(c.err); got != c.want {
			t.Errorf("%v: status %d, want %d", c.err, got, c.want)
		}
	}
}

// startBird starts a BIRD that leakprof knows nothing of.
func startBird(t *testing.T, c lab.Config) *lab.Bird {
	t.Helper()
	return labtest.Start(t, c)
}

func findBird(t *testing.T, name string) *lab.Binary {
	t.Helper()
	b, err := lab.Find(t.Context(), birdPath(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
