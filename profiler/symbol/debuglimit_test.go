// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestChecksumLimit: a process has any number of files that are large and made
// of nothing; of all together no more is read than of one.
func TestChecksumLimit(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 1000)
	path := filepath.Join(t.TempDir(), "prog.debug")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := debugLink{name: "prog.debug", crc: crc32.ChecksumIEEE(content)}
	unread := int64(2500)
	for range 2 {
		if err := l.check(f, &unread); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := l.check(f, &unread); err == nil || !strings.Contains(err.Error(), "have more than") {
			t.Errorf("of %d bytes that may be read: %v", unread, err)
		}
	}
}

// TestHugeDebugFile: a file of nothing is not read for its checksum at all.
func TestHugeDebugFile(t *testing.T) {
	root := t.TempDir()
	m := &Module{name: "prog", noDWARF: ErrNoDWARF, debugLink: debugLink{name: "prog.debug"}}
	for _, dir := range []string{"opt", "opt/.debug", "usr/lib/debug/opt"} {
		path := filepath.Join(root, dir, "prog.debug")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 4<<30); err != nil {
			t.Fatal(err)
		}
	}
	used, err := m.FindDebugFile("/opt/prog", Places{Roots: []string{root}})
	if used != "" || err == nil || strings.Count(err.Error(), "are too many") != 3 {
		t.Errorf("used %q, %v", used, err)
	}
}
