// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// TestWriteFile: a file that cannot be written leaves what was there, and
// nothing else; and while it is written nothing is seen of it.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "profile")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("disk is full")
	var result error
	write := func(w io.Writer) error {
		if _, err := io.WriteString(w, strings.Repeat("x", 100_000)); err != nil {
			return err
		}
		if got := names(t, dir); !slices.Equal(got, []string{"profile"}) {
			t.Errorf("while it is written there are %q", got)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "before" {
			t.Errorf("while it is written the file has %q, %v", got, err)
		}
		return result
	}
	result = cause
	if err := WriteFile(path, write); !errors.Is(err, cause) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"profile"}) {
		t.Errorf("left are %q", got)
	}
	result = nil
	if err := WriteFile(path, write); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 100_000 || info.Mode() != 0o600 {
		t.Errorf("written: %v, %v", info, err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"profile"}) {
		t.Errorf("beside it are %q", got)
	}
	if err := WriteProfile(filepath.Join(dir, "none", "x"), &profile.Profile{}); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

// TestWriteFileNamed: where a file cannot be without a name it is renamed.
func TestWriteFileNamed(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		want []string
	}{{"new", []string{"new"}}, {"new", []string{"new"}}, {"none/x", []string{"new"}}} {
		named, err := os.CreateTemp(dir, "other-")
		if err != nil {
			t.Fatal(err)
		}
		f := &file{named, named.Name()}
		if err := f.name(filepath.Join(dir, c.name)); (err != nil) != strings.Contains(c.name, "/") {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if got := names(t, dir); !slices.Equal(got, c.want) {
			t.Errorf("%s: there are %q, want %q", c.name, got, c.want)
		}
	}
}

// TestWriteFileAbandoned: what a writer has left that was killed before its file
// got its name, the next one removes; what one has that lives, and what is no
// writer's, stays.
func TestWriteFileAbandoned(t *testing.T) {
	dir := t.TempDir()
	alive, err := namedFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	stay := []string{filepath.Base(alive.temporary), ".leakprof-dir", ".leakprof-link", ".leakprof-other", "profile", "x.leakprof-1"}
	for _, name := range []string{".leakprof-12345678", ".leakprof-87654321", ".leakprof-other", "x.leakprof-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a part"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, ".leakprof-other"), 65534, -1); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".leakprof-dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("x.leakprof-1", filepath.Join(dir, ".leakprof-link")); err != nil {
		t.Fatal(err)
	}
	write := func() {
		t.Helper()
		if err := WriteFile(filepath.Join(dir, "profile"), func(io.Writer) error { return nil }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(stay)
		if got := names(t, dir); !slices.Equal(got, stay) {
			t.Errorf("there are %q, want %q", got, stay)
		}
	}
	write()
	// Killed, it is closed and keeps its name.
	stay = slices.DeleteFunc(stay, func(name string) bool { return name == filepath.Base(alive.temporary) })
	if err := alive.File.Close(); err != nil {
		t.Fatal(err)
	}
	write()
}
