// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/report"
)

// ofSomebody is what the configuration, the directories and the notes of the run
// in TestBundle have, and nothing else.
var ofSomebody = []string{"zyxorp", "quillfeather", "100.73.19", "2a0c:b641", "4211119999"}

const configOfSomebody = `
ipv4 table t_zyxorp;
ipv6 table 'zyxorp.v6';
protocol static zyxorp_static { ipv4 { table t_zyxorp; }; route 100.73.19.0/24 blackhole { bgp_path.prepend(4211119999); }; }
protocol static quillfeather { ipv6 { table 'zyxorp.v6'; }; route 2a0c:b641:ff::/48 blackhole; }
protocol pipe zyxorp_pipe { table master4; peer table t_zyxorp; }
`

// somebodysRun makes the result of a real run on a BIRD whose configuration,
// path and sessions are somebody's.
func somebodysRun(t *testing.T) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "quillfeather")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	config, out := filepath.Join(home, "bird.conf"), filepath.Join(home, "rtr7.zyxorp.net")
	if err := os.WriteFile(config, []byte(configOfSomebody), 0o644); err != nil {
		t.Fatal(err)
	}
	got := start(t, "lab", "--bird", birdPath(t, "bird3-trixie"), "--config", config, "--peers", "1", "--routes", "500", "--cycles", "1", "--settle", "300ms", "--out", out).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	d := readReport(t, out)
	d.Target.Exe = home + d.Target.Exe
	d.NamesHint = "names are from " + home + "/zyxorp.debug"
	d.Notes = append(d.Notes, report.Note{Time: d.Ended, Text: "mark Zyxorp: 100.73.19.201 (AS4211119999, zyxorp_static) is down, (61999,1), rtr7.zyxorp.net"})
	if d.Sessions == nil {
		d.Sessions = &report.DocumentSessions{}
	}
	d.Sessions.Down = append(d.Sessions.Down, report.Down{Time: d.Ended, Peer: "2a0c:b641:ff::201", Protocol: "zyxorp_static", Reason: "peer administratively down: zyxorp maintenance", Cause: report.Dropped})
	if err := report.WriteFile(filepath.Join(out, report.JSONFile), d.WriteJSON); err != nil {
		t.Fatal(err)
	}
	return out
}

// untar returns the files of an archive and where it put them.
func untar(t *testing.T, archive string) (files map[string]string, top string) {
	t.Helper()
	raw, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files, top = make(map[string]string), t.TempDir()
	r := tar.NewReader(gunzip(t, raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, filepath.Join(top, bundleTop)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(h.Name, bundleTop+"/") || h.Uid+h.Gid != 0 || h.Uname+h.Gname != "" {
			t.Errorf("the archive has %+v", h)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(top, h.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, bundleTop+"/")] = string(data)
	}
}

func gunzip(t *testing.T, raw []byte) io.Reader {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// checkLeftovers looks into each file of an archive, and into what is compressed
// in it.
func checkLeftovers(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if strings.HasSuffix(name, ".gz") {
			plain, err := io.ReadAll(gunzip(t, []byte(content)))
			if err != nil {
				t.Fatal(err)
			}
			content = string(plain)
		}
		content = strings.ToLower(name + "\n" + content)
		for _, s := range ofSomebody {
			if i := strings.Index(content, s); i >= 0 {
				t.Errorf("%s has %q: %q", name, s, content[max(0, i-40):min(len(content), i+40)])
			}
		}
	}
}

// TestBundle packs a real run: nothing of whose it was is left, it is the same
// bytes again, and unpacked it is a result like others.
func TestBundle(t *testing.T) {
	run := somebodysRun(t)
	dir := t.TempDir()
	out, mapping := filepath.Join(dir, "b.tar.gz"), filepath.Join(dir, "b.map.json")
	// What is no part of a result stays away, and what leads out of it is not read.
	if err := errors.Join(os.WriteFile(filepath.Join(run, "zyxorp.bmp"), []byte("BMP"), 0o600), os.Symlink("/etc/passwd", filepath.Join(run, "link"))); err != nil {
		t.Fatal(err)
	}
	got := start(t, "bundle", run, "--out", out).wait()
	if got.status != exitDone || !strings.Contains(got.stdout, "left out: link,") || !strings.Contains(got.stdout, "left out: zyxorp.bmp,") {
		t.Fatalf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	files, top := untar(t, out)
	checkLeftovers(t, files)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"README.txt", report.BaselineFile, report.FloodedFile, report.HTMLFile, report.JSONFile, report.TextFile, report.RetainedFile, report.SettledFile}; !slices.Equal(names, want) {
		t.Errorf("it has %v, want %v", names, want)
	}

	before, after := readReport(t, run), readReport(t, top)
	if after.Target.BuildID != before.Target.BuildID || after.Target.Version != before.Target.Version || after.RetainedBytes != before.RetainedBytes || len(after.Stacks) != len(before.Stacks) || after.VerdictSentence != before.VerdictSentence {
		t.Errorf("target %+v, %d stacks, %q; want %+v, %d, %q", after.Target, len(after.Stacks), after.VerdictSentence, before.Target, len(before.Stacks), before.VerdictSentence)
	}
	if !strings.HasSuffix(after.Target.Exe, "/usr/sbin/bird") {
		t.Errorf("the program is %s", after.Target.Exe)
	}
	for i := range after.Stacks {
		for j, f := range after.Stacks[i].Frames {
			if was := before.Stacks[i].Frames[j]; f.Function != was.Function || f.File != was.File || f.Address != was.Address {
				t.Fatalf("frame %+v was %+v", f, was)
			}
		}
	}
	if got := start(t, "report", top).wait(); got.status != exitDone || !strings.HasPrefix(got.stdout, "CLEAN: ") || !strings.Contains(got.stdout, after.Target.Exe) {
		t.Errorf("report: exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	if got := start(t, "diff", top, run).wait(); got.status != exitDone || strings.Contains(got.stdout, "Only") {
		t.Errorf("diff: exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	for name := range files {
		if strings.HasSuffix(name, ".pb.gz") && name != report.BaselineFile {
			if top := pprof(t, "-top", filepath.Join(top, name)); !strings.Contains(top, "malloc") {
				t.Errorf("%s:\n%s", name, top)
			}
		}
	}

	// The mapping is its owner's alone, and has what was replaced.
	info, err := os.Stat(mapping)
	raw, err2 := os.ReadFile(mapping)
	if err != nil || err2 != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(err, err2, info)
	}
	for _, s := range []string{`"t_zyxorp"`, `"zyxorp.v6"`, `"zyxorp_static"`, `"quillfeather"`, `"100.73.19.201"`, `"4211119999"`, `"rtr7.zyxorp.net"`} {
		if !bytes.Contains(raw, []byte(s)) {
			t.Errorf("the mapping does not have %s", s)
		}
	}
	// The same bytes, anew and by the mapping; and nothing is written over.
	if got := start(t, "bundle", run, "--out", out).wait(); got.status != exitError || !strings.Contains(got.stderr, "is there already") {
		t.Errorf("exit status %d: %s", got.status, got.stderr)
	}
	first, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"--map", mapping}} {
		again := filepath.Join(t.TempDir(), "again.tar.gz")
		if got := start(t, append([]string{"bundle", run, "--out", again}, args...)...).wait(); got.status != exitDone {
			t.Fatalf("exit status %d\n%s", got.status, got.stderr)
		}
		if second, err := os.ReadFile(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%v: another archive, of %d bytes and not %d: %v", args, len(second), len(first), err)
		}
	}
	testBundleOfSeveral(t, run)
}

// testBundleOfSeveral: a comparison, and runs beside each other.
func testBundleOfSeveral(t *testing.T, run string) {
	dir := t.TempDir()
	for _, name := range []string{withBMPDirectory, withoutBMPDirectory, "zyxorp", "3"} {
		if err := os.CopyFS(filepath.Join(dir, name), onlyFiles{os.DirFS(run)}); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "b.tar.gz")
	if got := start(t, "bundle", dir, "--out", out).wait(); got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	files, _ := untar(t, out)
	checkLeftovers(t, files)
	for name, want := range map[string]string{
		comparisonText: "without BMP", comparisonJSON: `"name": "with BMP"`, withBMPDirectory + "/" + report.TextFile: "CLEAN: ", "3/" + report.JSONFile: `"schema"`,
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s does not have %q", name, want)
		}
	}
	if want := 4*7 + 3; len(files) != want {
		t.Errorf("it has %d files, want %d", len(files), want)
	}
}

// onlyFiles has no symbolic links, which cannot be copied.
type onlyFiles struct{ fs.FS }

func (f onlyFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(f.FS, name)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool { return !e.IsDir() && !e.Type().IsRegular() }), err
}

func TestBundleRefuses(t *testing.T) {
	good, broken, outside := saved(t, "leak"), saved(t, "leak"), t.TempDir()
	out := filepath.Join(t.TempDir(), "b.tar.gz")
	badMap := filepath.Join(outside, "map")
	if err := errors.Join(
		os.WriteFile(filepath.Join(broken, report.SettledFile), []byte("no profile"), 0o600),
		os.Symlink(filepath.Join(good, report.JSONFile), filepath.Join(outside, report.JSONFile)),
		os.WriteFile(badMap, []byte(`{"version": 9}`), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{}, exitUsage, "DIR is missing"},
		{[]string{good, "--map", out}, exitUsage, "that is the archive"},
		{[]string{"/no/such/dir"}, exitError, "no such file"},
		{[]string{t.TempDir()}, exitError, "its run did not end"},
		{[]string{outside}, exitError, "its run did not end"},
		{[]string{broken}, exitError, "read settled.pb.gz: "},
		{[]string{good, "--map", badMap}, exitError, "version 9 is not known"},
	} {
		got := start(t, append([]string{"bundle", "--out", out}, c.args...)...).wait()
		if got.status != c.status || !strings.Contains(got.stderr, c.says) || strings.Count(got.stderr, "\n") != 1 || got.stdout != "" {
			t.Errorf("%q: exit status %d, want %d; stderr %q, want %q", c.args, got.status, c.status, got.stderr, c.says)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%q: wrote an archive", c.args)
		}
	}
}
