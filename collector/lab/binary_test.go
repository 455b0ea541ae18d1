// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindDefault(t *testing.T) {
	own := findRoot(t, "bird3-trixie")
	withBMP := script(t, t.TempDir(), "", "")
	withoutBMP := script(t, t.TempDir(), "exit 1", "")
	broken := filepath.Join(t.TempDir(), "bird")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, inPath, want string
	}{
		{"bird in PATH", withBMP, withBMP},
		{"bird in PATH without BMP", withoutBMP, own.Path},
		{"bird in PATH that does not run", broken, own.Path},
		{"no bird in PATH", "/nonexistent/bird", own.Path},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", filepath.Dir(test.inPath))
			b, err := Find(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if b.Path != test.want || !b.BMP {
				t.Errorf("Find says %+v, want %s", b, test.want)
			}
		})
	}

	t.Run("none", func(t *testing.T) {
		t.Setenv("PATH", filepath.Dir(withoutBMP))
		t.Chdir(t.TempDir())
		_, err := Find(t.Context(), "")
		if err == nil || !strings.Contains(err.Error(), withoutBMP+" has no BMP") || !strings.Contains(err.Error(), "scripts/bird-root") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestFindErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path, want string
	}{
		{"missing", filepath.Join(dir, "missing"), "no such file"},
		{"directory", dir, "is not a program"},
		{"not executable", text, "is not a program"},
		{"another program", "/bin/true", "does not answer like a BIRD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Find(t.Context(), test.path)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q in it", err, test.want)
			}
		})
	}
}

// A relative path leads to the same BIRD.
func TestFindRelative(t *testing.T) {
	own := findRoot(t, "bird3-trixie")
	t.Chdir(filepath.Dir(own.Path))
	b, err := Find(t.Context(), "./bird")
	if err != nil {
		t.Fatal(err)
	}
	if b.Path != own.Path || b.Root != own.Root || b.Version != own.Version {
		t.Errorf("Find says %+v, want %+v", b, own)
	}
}
