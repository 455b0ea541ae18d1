// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
)

// TestAssets: what is embedded is what its makers published, with its licence,
// and every file is accounted for.
func TestAssets(t *testing.T) {
	readme, err := assets.ReadFile("assets/README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `(.+?)` \\|.*`(.+?)`\\) \\| `([0-9a-f]{64})` \\|$").FindAllStringSubmatch(string(readme), -1) {
		file, err := assets.ReadFile("assets/" + row[1])
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(file)); got != row[3] {
			t.Errorf("%s has sha256 %s, README says %s", row[1], got, row[3])
		}
		if _, err := assets.ReadFile("assets/" + row[2]); err != nil {
			t.Error(err)
		}
		listed[row[1]], listed[row[2]] = true, true
	}
	entries, err := assets.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); !listed[name] && !strings.HasPrefix(name, "report.") && name != "README.md" {
			t.Errorf("README does not say where %s comes from", name)
		}
	}
}

func BenchmarkWriteHTML(b *testing.B) {
	d := NewDocument(leak())
	for b.Loop() {
		if err := d.WriteHTML(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// TestHTMLRefuses: what JSON does not have is an error.
func TestHTMLRefuses(t *testing.T) {
	d := NewDocument(leak())
	nan := 0.0
	nan /= nan
	d.Phases[0].ShowMemory[0].EffectiveBytes = nan
	var b bytes.Buffer
	if err := d.WriteHTML(&b); err == nil || !strings.HasPrefix(err.Error(), "write report: ") || b.Len() > 0 {
		t.Errorf("error %v after %d bytes", err, b.Len())
	}
}
