// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"leakprof/collector/lab"
)

func TestLostGolden(t *testing.T) {
	for _, c := range []struct {
		file string
		doc  lostJSON
	}{
		{"lost.txt", lostJSON{
			LiveBytes: 1 << 30, LostBytes: 266_338_304, Unknown: 6_656,
			Lost: []lostRowJSON{
				{Pool: "Root/Protocols/bmp1/BMP Buffer", Class: "Memory", Size: 4_128, Count: 64_520, Bytes: 266_338_560},
				{Pool: "Root/Protocols/bmp1", Class: "Event", Size: 56, Count: 4, Bytes: 224},
				{Class: "malloc", Size: 32, Count: 1, Bytes: 32},
			},
			NotDecided: []lostRowJSON{
				{Pool: "Root/Protocols/peer1", Class: "Islab", Size: 64, Count: 100, Bytes: 6_400, Why: "BIRD addresses it by number, or what holds it"},
				{Pool: "Root", Class: "Memory", Size: 64, Count: 4, Bytes: 256, Why: "two looks in a row disagree"},
			},
		}},
		{"lost-nothing.txt", lostJSON{LiveBytes: 580_304}},
	} {
		var out bytes.Buffer
		if err := writeLost(&out, &c.doc); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", c.file)
		if *update {
			if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v (go test -update writes it)", err)
		}
		if !bytes.Equal(out.Bytes(), want) {
			t.Errorf("differs from %s (after a look, go test -update):\n%s", path, out.Bytes())
		}
	}
}

// TestTreeLost looks at BIRDs that have nothing to do: they have lost nothing.
func TestTreeLost(t *testing.T) {
	for _, name := range birds {
		t.Run(name, func(t *testing.T) {
			pid := strconv.Itoa(startBird(t, lab.Config{Binary: findBird(t, name), Peers: 2}).PID())

			r := start(t, "tree", "--pid", pid, "--lost").wait()
			if r.status != exitDone || !strings.HasPrefix(r.stdout, "lost     0.0  B of ") || r.stderr != "" {
				t.Errorf("status %d, says %q:\n%s", r.status, r.stderr, r.stdout)
			}
			r = start(t, "tree", "--pid", pid, "--lost", "--json").wait()
			var doc lostJSON
			if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
				t.Fatalf("%v: status %d, says %q:\n%s", err, r.status, r.stderr, r.stdout)
			}
			if !doc.Consistent || doc.LostBytes != 0 || doc.Unknown != 0 || doc.LiveBytes < 100_000 {
				t.Errorf("document %+v", doc)
			}
		})
	}
}
