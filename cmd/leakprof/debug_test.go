// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

// command runs a tool of a package.
func command(t *testing.T, pkg, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: apt-get install -y %s\n%s", name, args, err, pkg, out)
	}
}

// waiting is a process of a stripped program in a chroot.
type waiting struct {
	root        string // of its file system
	full, debug string // the program unstripped, and its debug file
	pid         int
	buildID     string
	// What dwz took out of the debug file, and its build ID.
	shared, sharedID string
}

// share takes what the debug file has in common with another one into a file of
// its own, as Debian's debug files have it.
func (w *waiting) share(t *testing.T) {
	t.Helper()
	dir := filepath.Dir(w.debug)
	w.shared = filepath.Join(dir, "shared")
	command(t, "coreutils", "cp", w.full, w.debug)
	command(t, "coreutils", "cp", w.full, filepath.Join(dir, "other"))
	command(t, "binutils", "objcopy", "--remove-section=.note.gnu.build-id", filepath.Join(dir, "other"))
	command(t, "dwz", "dwz", "-m", w.shared, "-M", "/usr/lib/debug/.dwz/prog.debug", w.debug, filepath.Join(dir, "other"))
	f, err := os.Open(w.debug)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := symbol.Open(f, "prog")
	if err != nil || m.MissingSupplement() == nil {
		t.Fatalf("nothing is shared: %v", err)
	}
	w.sharedID = m.MissingSupplement().ID
}

func startWaiting(t *testing.T, stripped bool) *waiting { return startBuilt(t, stripped, "-g") }

// startBuilt is startWaiting with the compiler's flags for debug information.
func startBuilt(t *testing.T, stripped bool, debug ...string) *waiting {
	t.Helper()
	dir := t.TempDir()
	w := &waiting{root: filepath.Join(dir, "root"), full: filepath.Join(dir, "prog"), debug: filepath.Join(dir, "prog.debug")}
	source := filepath.Join(dir, "prog.c")
	if err := os.WriteFile(source, []byte("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.root, "opt"), 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(w.root, "opt/prog")
	command(t, "gcc libc6-dev", "gcc", append(debug, "-static", "-Wl,--build-id", "-o", w.full, source)...)
	command(t, "binutils", "objcopy", "--only-keep-debug", w.full, w.debug)
	if stripped {
		command(t, "binutils", "strip", "-o", program, w.full)
		command(t, "binutils", "objcopy", "--add-gnu-debuglink="+w.debug, program)
	} else {
		command(t, "coreutils", "cp", w.full, program)
	}
	c := exec.Command("/opt/prog")
	// No Pdeathsig: threads of ours end, that of another test's BIRD for one, and
	// it would be killed with the one that started it.
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: w.root}
	c.Dir = "/"
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	w.pid = c.Process.Pid
	w.buildID = w.symbols(t, nil).BuildID()
	return w
}

// symbols opens the program as attach does; a debug file is looked for in
// places, if these are not nil.
func (w *waiting) symbols(t *testing.T, places *symbol.Places) *symbol.Module {
	t.Helper()
	p, err := target.Open(w.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	modules, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		defer m.Close()
	}
	m, err := symbol.Open(modules[0].Reader, modules[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	if places != nil {
		if _, err := m.FindDebugFile(modules[0].Path, *places); err != nil {
			t.Error(err)
		}
	}
	return m
}

// install puts the debug file to a place.
func (w *waiting) install(t *testing.T, to string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "coreutils", "cp", w.debug, to)
	return to
}

func TestDebugPlaces(t *testing.T) {
	tests := []struct {
		name   string
		whole  bool // the program is not stripped
		fetch  bool
		status int // of the server; 0: it must not be asked
		// make lays out files and returns the flag --debug-file.
		make   func(t *testing.T, w *waiting) string
		want   func(w *waiting, cache string) string // the file that is used
		stderr string
		err    string
	}{
		{name: "nothing"},
		{name: "own symbols", whole: true, fetch: true},
		{
			name: "linked, in its root",
			make: func(t *testing.T, w *waiting) string {
				w.install(t, filepath.Join(w.root, "usr/lib/debug/opt/prog.debug"))
				return ""
			},
			want: func(w *waiting, _ string) string { return "usr/lib/debug/opt/prog.debug" },
		},
		{
			name: "linked wrongly",
			make: func(t *testing.T, w *waiting) string {
				command(t, "coreutils", "truncate", "-s", "+1", w.install(t, filepath.Join(w.root, "opt/.debug/prog.debug")))
				return ""
			},
			stderr: "leakprof: warning: use debug file ",
		},
		{
			name: "given",
			make: func(_ *testing.T, w *waiting) string { return w.debug },
			want: func(w *waiting, _ string) string { return w.debug },
		},
		{
			name: "given, of another program",
			make: func(t *testing.T, w *waiting) string { return buildOther(t) },
			err:  `, that of prog is "`,
		},
		{
			name: "given, not there",
			make: func(_ *testing.T, w *waiting) string { return w.debug + "x" },
			err:  "prog.debugx: there is no such file, or it is empty (--debug-file)",
		},
		{
			name: "fetched", fetch: true, status: http.StatusOK,
			want:   func(w *waiting, cache string) string { return filepath.Join(cache, w.buildID, "debuginfo") },
			stderr: "leakprof: asking http://127.0.0.1:",
		},
		{name: "not to be had", fetch: true, status: http.StatusNotFound, stderr: "no server has it\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := startWaiting(t, !test.whole)
			server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				switch test.status {
				case 0:
					t.Errorf("server was asked for %s", r.URL.Path)
				case http.StatusOK:
					http.ServeFile(out, r, w.debug)
				default:
					out.WriteHeader(test.status)
				}
			}))
			defer server.Close()
			cache := t.TempDir()
			t.Setenv("DEBUGINFOD_URLS", server.URL)
			t.Setenv("DEBUGINFOD_CACHE_PATH", cache)
			f := debugFlags{fetch: test.fetch}
			if test.make != nil {
				f.file = test.make(t, w)
			}
			if err := f.validate(); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			places, err := f.places(context.Background(), &stderr, w.pid)
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if got := stderr.String(); !strings.Contains(got, test.stderr) || got != "" && test.stderr == "" {
				t.Errorf("stderr %q, want %q", got, test.stderr)
			}
			if err != nil || strings.Contains(test.stderr, "warning") {
				return
			}
			want := ""
			if test.want != nil {
				want = test.want(w, cache)
			}
			m := w.symbols(t, &places)
			if got := m.DebugFile(); got != want && !(want != "" && strings.HasSuffix(got, "/root/"+want)) {
				t.Errorf("used %q, want %q", got, want)
			}
			if m.HasDWARF() != (want != "" || test.whole) {
				t.Errorf("HasDWARF %v", m.HasDWARF())
			}
		})
	}
}

// TestSharedDebugFile: what a debug file shares with others is found, or fetched,
// or said to be missing.
func TestSharedDebugFile(t *testing.T) {
	for _, c := range []struct {
		name            string
		fetch, has      bool
		stderr, missing string
	}{
		{"missing", false, true, "names that ", "debuginfod-find debuginfo "},
		{"fetched", true, true, "asking http://127.0.0.1:", ""},
		{"on no server", true, false, "asking http://127.0.0.1:", "no server has it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := startWaiting(t, true)
			w.share(t)
			server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/buildid/"+w.buildID+"/debuginfo":
					http.ServeFile(out, r, w.debug)
				case r.URL.Path == "/buildid/"+w.sharedID+"/debuginfo" && c.has:
					http.ServeFile(out, r, w.shared)
				default:
					out.WriteHeader(http.StatusNotFound)
				}
			}))
			defer server.Close()
			t.Setenv("DEBUGINFOD_URLS", server.URL)
			t.Setenv("DEBUGINFOD_CACHE_PATH", t.TempDir())
			if !c.fetch {
				w.install(t, filepath.Join(w.root, "usr/lib/debug/.build-id", w.buildID[:2], w.buildID[2:]+".debug"))
			}
			var stderr bytes.Buffer
			places, err := (&debugFlags{fetch: c.fetch}).places(context.Background(), &stderr, w.pid)
			if err != nil {
				t.Fatal(err)
			}
			if got := stderr.String(); !strings.Contains(got, c.stderr) || !strings.Contains(got, c.missing) || c.missing == "" && strings.Contains(got, "warning") {
				t.Errorf("stderr %q, want %q and %q", got, c.stderr, c.missing)
			}
			p, err := target.Open(w.pid)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			f, err := os.Open(filepath.Join(w.root, "opt/prog"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			m, err := symbol.Open(f, "prog")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = m.FindDebugFile(filepath.Join(w.root, "opt/prog"), places)
			if !m.HasDWARF() || (m.Lacks() == nil) != (c.missing == "") {
				t.Errorf("HasDWARF %v, lacks %v", m.HasDWARF(), m.Lacks())
			}
		})
	}
}

// TestSplitDWARF: functions that are in .dwo files are said to be missing, once.
func TestSplitDWARF(t *testing.T) {
	t.Chdir(t.TempDir()) // where the compiler leaves them
	for _, compiled := range []string{"-gdwarf-4", "-gdwarf-5"} {
		w := startBuilt(t, false, compiled, "-g", "-gsplit-dwarf")
		t.Setenv("DEBUGINFOD_CACHE_PATH", t.TempDir())
		var stderr bytes.Buffer
		if _, err := new(debugFlags).places(context.Background(), &stderr, w.pid); err != nil {
			t.Fatal(err)
		}
		want := "leakprof: warning: read debug information of prog: " + symbol.ErrSplitDWARF.Error() + "\n"
		if got := stderr.String(); got != want {
			t.Errorf("%s: stderr %q, want %q", compiled, got, want)
		}
	}
}

// buildOther returns the debug file of a program that does not run.
func buildOther(t *testing.T) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), "other")
	source := other + ".c"
	if err := os.WriteFile(source, []byte("int main(void) { return 1; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, "gcc libc6-dev", "gcc", "-g", "-Wl,--build-id", "-o", other, source)
	return other
}

func TestDebugFlags(t *testing.T) {
	tests := []struct {
		name, urls, cache string
		flags             debugFlags
		err               string
	}{
		{"none", "", "", debugFlags{}, ""},
		{"server", "http://127.0.0.1:1", "/cache", debugFlags{fetch: true}, ""},
		{"no server", " ", "/cache", debugFlags{fetch: true}, "DEBUGINFOD_URLS names no server"},
		{"no cache", "http://127.0.0.1:1", "", debugFlags{fetch: true}, "set DEBUGINFOD_CACHE_PATH"},
		{"both", "http://127.0.0.1:1", "/cache", debugFlags{file: "x", fetch: true}, "choose one"},
	}
	for _, test := range tests {
		t.Setenv("DEBUGINFOD_URLS", test.urls)
		t.Setenv("DEBUGINFOD_CACHE_PATH", test.cache)
		t.Setenv("XDG_CACHE_HOME", "")
		t.Setenv("HOME", "")
		err := test.flags.validate()
		if (err != nil) != (test.err != "") || err != nil && (!strings.Contains(err.Error(), test.err) || !errors.As(err, &usageError{})) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
	}
}

// TestDebugRoots: of a process in our own root the paths are ours.
func TestDebugRoots(t *testing.T) {
	jailed := startWaiting(t, true)
	for pid, want := range map[int][]string{
		os.Getpid(): {"/"},
		jailed.pid:  {fmt.Sprintf("/proc/%d/root", jailed.pid), "/"},
	} {
		places, err := new(debugFlags).places(context.Background(), io.Discard, pid)
		if err != nil || !slices.Equal(places.Roots, want) {
			t.Errorf("roots %q, %v, want %q", places.Roots, err, want)
		}
	}
}
