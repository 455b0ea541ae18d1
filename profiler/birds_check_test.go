// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/internal/cut"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// TestCheck uses leakprof as those do who build BIRD: as a check, by its exit
// status, of a BIRD as it is, of one that was built so that it leaks, and of one
// that does not come to an answer.
func TestCheck(t *testing.T) {
	binary := birds(t)[1]
	program := filepath.Join(t.TempDir(), "leakprof")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "leakprof/cmd/leakprof")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build leakprof: %v\n%s", err, out)
	}
	leaky := withoutCalls(t, binary, "sl_free")
	for _, c := range []struct {
		name, bird string
		args       []string
		status     int
		verdict    report.VerdictKind
		says       string
	}{
		{"healthy", binary.Path, nil, 0, report.Clean, ""},
		{"leaky", leaky, nil, 3, report.Leak, "leakprof: retained more than --fail-on-retained allows: "},
		{"incomplete", binary.Path, []string{"--attach=false"}, 3, report.Incomplete, "leakprof: retained more than --fail-on-retained allows: the answer is incomplete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out")
			cmd := exec.CommandContext(t.Context(), program, append([]string{"lab", "--bird", c.bird, "--routes", "2000", "--peers", "2", "--settle", "300ms",
				"--fail-on-retained", "16k", "--out", out}, c.args...)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.Output()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if status := cmd.ProcessState.ExitCode(); status != c.status || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("exit status %d, want %d, and %q in\n%s\n%s", status, c.status, c.says, stderr.String(), stdout)
			}
			file, err := os.Open(filepath.Join(out, report.JSONFile))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			d, err := report.ReadJSON(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(d.VerdictSentence)
			if d.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s", d.Verdict, c.verdict)
			}
		})
	}
}

// withoutCalls makes a copy of a BIRD that never calls one of its functions, and
// returns its path.
func withoutCalls(t *testing.T, binary labBinary, release string) string {
	t.Helper()
	m, err := target.OpenModule(binary.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sites, err := cut.Find(m)
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(binary.Path)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, s := range sites {
		if s.Release != release {
			continue
		}
		offset, err := m.FileOffset(s.Address)
		if err != nil {
			t.Fatal(err)
		}
		// Instructions as long as the call (Intel SDM vol. 2, NOP, RET).
		instead := []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}
		if s.Tail {
			instead = []byte{0xc3, 0x0f, 0x1f, 0x40, 0x00}
		}
		calls += copy(code[offset:], instead) / len(instead)
	}
	if calls == 0 {
		t.Fatalf("%s calls %s nowhere", binary.Path, release)
	}
	t.Logf("%d calls of %s taken out", calls, release)
	dir, err := os.MkdirTemp(filepath.Join(binary.Root, "run"), "leakprof-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "bird")
	if err := os.WriteFile(path, code, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
