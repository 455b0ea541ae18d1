// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	text := start(t, "version").wait()
	asJSON := start(t, "version", "--json").wait()
	var v versionJSON
	if err := json.Unmarshal([]byte(asJSON.stdout), &v); err != nil || text.status != exitDone || asJSON.status != exitDone {
		t.Fatalf("exit status %d and %d: %v\n%s", text.status, asJSON.status, err, asJSON.stdout)
	}
	if v.Version == "" || v.Commit == "" || !strings.HasPrefix(v.Go, "go1.") || v.Platform != "linux/amd64" || len(v.BPFObjects) == 0 {
		t.Errorf("incomplete: %+v", v)
	}
	for _, want := range []string{"leakprof " + v.Version + "\n", "\ncommit " + v.Commit + "\n", v.BPFObjects[0].Name + " sha256:" + v.BPFObjects[0].SHA256 + "\n"} {
		if !strings.Contains(text.stdout, want) {
			t.Errorf("the text does not say %q:\n%s", want, text.stdout)
		}
	}
	for _, o := range v.BPFObjects {
		if len(o.SHA256) != 64 || strings.Trim(o.SHA256, "0") == "" {
			t.Errorf("%s: digest %q", o.Name, o.SHA256)
		}
	}
}

// TestVersionCommit: a program that the Makefile did not build knows its commit
// from go build, if that did.
func TestVersionCommit(t *testing.T) {
	noted := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}}}
	for _, c := range []struct {
		info *debug.BuildInfo
		ok   bool
		want string
	}{
		{noted, true, "0123abcd"},
		{&debug.BuildInfo{}, true, "unknown"},
		{nil, false, "unknown"},
	} {
		if got := versionOf(c.info, c.ok).Commit; got != c.want {
			t.Errorf("%+v: commit %q, want %q", c.info, got, c.want)
		}
	}
}
