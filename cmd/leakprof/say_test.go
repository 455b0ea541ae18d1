// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"leakprof/collector/lab"
	"leakprof/profiler/terminal"
)

// hostile is a file's name that would clear the screen, set the terminal's title,
// and begin a line that seems to be ours.
const hostile = "bird\x1b[2J\x1b]0;owned\x07\u009b31m\u202e\nleakprof: all is well"

// TestHostileNames: nothing that a process is called, or that is in its names,
// reaches the terminal but what can be printed.
func TestHostileNames(t *testing.T) {
	binary := hostileBinary(t)
	bird := strconv.Itoa(startBird(t, lab.Config{Binary: binary}).PID())
	other := strconv.Itoa(hostileSleeper(t))
	shown := terminal.Line(strings.Split(hostile, "\n")[0]) // proc writes the line's end as \012
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"plan", "--pid", bird, "--json"}, `\u001b[2J\u001b]0;owned\u0007\u009b31m\u202e`},
		{[]string{"plan", "--pid", bird}, shown},
		{[]string{"tree", "--pid", bird}, "Root"},
		{[]string{"tree", "--pid", other}, shown},
		{[]string{"doctor", "--pid", other}, shown},
		{[]string{"doctor", "--pid", hostile}, shown}, // several have the name
		{[]string{"attach", "--pid", bird, "--bmp", "", "--settle", "100ms", "--duration", "500ms"}, shown},
	} {
		got := start(t, c.args...).wait()
		all := got.stdout + got.stderr
		if !strings.Contains(all, c.says) {
			t.Errorf("%q: nothing says %q\n%s", c.args, c.says, all)
		}
		if at := strings.IndexFunc(all, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
			t.Errorf("%q: %.80q is written", c.args, all[at:])
		}
		if strings.Contains("\n"+got.stderr, "\nleakprof: all is well") {
			t.Errorf("%q: a line of another's\n%s", c.args, got.stderr)
		}
	}
}

// hostileBinary is a BIRD of that name.
func hostileBinary(t *testing.T) *lab.Binary {
	t.Helper()
	original := birdPath(t, "bird3-trixie")
	from, root := strings.TrimSuffix(original, "/usr/sbin/bird"), t.TempDir()
	// Other BIRDs run in the original root: what they write there is none of it.
	if out, err := exec.Command("cp", "-a", from+"/usr", from+"/lib", from+"/lib64", from+"/.leakprof-root", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, dir := range []string{"run", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(root, "usr/sbin", hostile)
	if err := os.Rename(filepath.Join(root, "usr/sbin/bird"), path); err != nil {
		t.Fatal(err)
	}
	binary, err := lab.Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// hostileSleeper starts a process of that name that is no BIRD.
func hostileSleeper(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), hostile)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c.Process.Pid
}

func TestSay(t *testing.T) {
	var b strings.Builder
	say(&b, "read %s: %v", "a\x1b[2J\nleakprof: b", io.ErrUnexpectedEOF)
	if got, want := b.String(), "leakprof: read a?[2J leakprof: b: unexpected EOF\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestOnlySaySpeaks: what is written to standard error goes through say.
func TestOnlySaySpeaks(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasPrefix(f.Sel.Name, "Fprint") {
				return true
			}
			if to, ok := call.Args[0].(*ast.SelectorExpr); ok && to.Sel.Name == "Stderr" {
				t.Errorf("%s: written to standard error without say", fset.Position(call.Pos()))
			}
			return true
		})
	}
}
