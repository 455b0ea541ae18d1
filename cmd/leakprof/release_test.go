// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// release makes an archive of a checkout, in an environment of its own.
func release(t *testing.T, checkout string, env ...string) (name string, archive []byte) {
	t.Helper()
	var stdout, stderr strings.Builder
	c := exec.Command("sh", "-c", "umask $UMASK && exec scripts/release --out $OUT")
	c.Dir, c.Stdout, c.Stderr = checkout, &stdout, &stderr
	c.Env = append(append(os.Environ(), "OUT="+t.TempDir()), env...)
	if err := c.Run(); err != nil {
		t.Fatalf("scripts/release: %v\n%s", err, stderr.String())
	}
	path := strings.TrimSpace(stdout.String())
	archive, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(path), archive
}

// git runs git in the checkout.
func git(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.Command("git", args...)
	c.Dir = "../.."
	out, err := c.Output()
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// TestRelease: two archives of one commit, made in different places and
// circumstances, are the same to the byte, and what is in them works.
// (make check-release compiles everything anew for the second one.)
func TestRelease(t *testing.T) {
	commit := git(t, "rev-parse", "HEAD")
	name, archive := release(t, "../..", "UMASK=022", "TZ=Asia/Tokyo")
	clone := filepath.Join(t.TempDir(), "another place")
	git(t, "clone", "-q", ".", clone)
	// What is not committed is no part of it.
	if err := os.WriteFile(filepath.Join(clone, "cmd/leakprof/broken.go"), []byte("package broken"), 0o644); err != nil {
		t.Fatal(err)
	}
	again, second := release(t, clone, "UMASK=077", "LC_ALL=C.UTF-8", "TMPDIR="+t.TempDir())
	if name != again || !bytes.Equal(archive, second) {
		t.Errorf("%s (%d bytes) and %s (%d bytes) of one commit differ", name, len(archive), again, len(second))
	}

	prefix := unpack(t, archive)
	exe := filepath.Join(prefix, "bin/leakprof")
	checkStatic(t, exe)
	var v versionJSON
	if out, err := exec.Command(exe, "version", "--json").Output(); err != nil || json.Unmarshal(out, &v) != nil || v.Commit != commit || !strings.Contains(name, v.Version) {
		t.Errorf("commit %s, archive %s: %v, version %+v", commit, name, err, v)
	}
	for file, want := range map[string]string{
		"share/bash-completion/completions/leakprof":            "complete .* leakprof",
		"share/zsh/site-functions/_leakprof":                    "^#compdef leakprof\n",
		"share/fish/vendor_completions.d/leakprof.fish":         "complete -c leakprof",
		"share/man/man1/leakprof-attach.1":                      "^\\.TH LEAKPROF",
		"share/doc/leakprof/KNOWN_ISSUES.md":                    "46ba0e49b642",
		"share/doc/leakprof/CHANGELOG.md":                       "# Changelog",
		"share/doc/leakprof/LICENSE":                            "Apache License",
		"share/doc/leakprof/licences/leakprof/GPL-2.0-only.txt": "Version 2, June 1991",
		"share/doc/leakprof/licences/leakprof/BSD-2-Clause.txt": "leakprof authors",
		"share/doc/leakprof/licences/report.html/d3.LICENSE":    "Mike Bostock",
		"share/doc/leakprof/licences/go/LICENSE":                "Go Authors",
		"share/doc/leakprof/licences/golang.org/x/sys/LICENSE":  "Go Authors",
		"lib/systemd/system/leakprof.service":                   "(?m)^ExecStart=/usr/local/bin/leakprof attach ",
		"share/leakprof/Containerfile":                          "(?m)^COPY bin/leakprof ",
	} {
		data, err := os.ReadFile(filepath.Join(prefix, file))
		if err != nil || !regexp.MustCompile(want).Match(data) {
			t.Errorf("%s does not have %q: %v", file, want, err)
		}
	}
	if out, err := exec.Command("bash", "-n", filepath.Join(prefix, "share/bash-completion/completions/leakprof")).CombinedOutput(); err != nil {
		t.Errorf("bash completion: %v\n%s", err, out)
	}
}

// unpack unpacks an archive, checks that nothing in it tells who made it, and
// returns the directory that all of it is in.
func unpack(t *testing.T, archive []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("the archive tells its time %v and name %q", z.ModTime, z.Name)
	}
	root, top := t.TempDir(), ""
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(root, top)
		}
		if err != nil {
			t.Fatal(err)
		}
		if top == "" {
			top = filepath.Clean(h.Name)
		}
		if want := fs.FileMode(0o644); h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !strings.HasPrefix(h.Name, top+"/") ||
			h.FileInfo().Mode().IsRegular() && h.FileInfo().Mode().Perm()&^0o111 != want {
			t.Errorf("%s: mode %v, owner %d:%d %q", h.Name, h.FileInfo().Mode(), h.Uid, h.Gid, h.Uname)
		}
		path := filepath.Join(root, h.Name)
		if h.FileInfo().IsDir() {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, h.FileInfo().Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

// checkStatic: the program needs no library and no loader.
func checkStatic(t *testing.T, exe string) {
	t.Helper()
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it needs %v: %v", libraries, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it needs a loader")
		}
	}
}
