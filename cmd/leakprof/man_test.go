// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// groff renders a man page, and fails at any warning.
func groff(t *testing.T, page string) string {
	t.Helper()
	path, err := exec.LookPath("groff")
	if err != nil {
		t.Fatal("groff is missing: apt-get install groff-base")
	}
	var stdout, stderr strings.Builder
	// -c: emphasis by overstriking, which is taken away below.
	c := exec.Command(path, "-man", "-Tutf8", "-ww", "-P-c", page)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("groff %s: %v\n%s", page, err, stderr.String())
	}
	return regexp.MustCompile(".\b").ReplaceAllString(stdout.String(), "")
}

// TestManPages: there is a page for each command of the help, which groff takes
// without a warning, and it has each flag, the examples and the date of the
// source.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	c := exec.Command(program, "man", dir)
	c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1000000000")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	commands := regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`).FindAllStringSubmatch(start(t, "--help").wait().stdout, -1)
	pages := map[string][]string{"leakprof": nil}
	for _, m := range commands {
		if m[1] != "help" {
			pages["leakprof-"+m[1]] = []string{m[1]}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != len(pages) || len(pages) < 9 {
		t.Errorf("%d pages, %d commands: %v", len(files), len(pages), err)
	}
	flag := regexp.MustCompile(`(?m)^ +(?:-., +)?(--[a-z0-9-]+)`)
	for page, args := range pages {
		text := groff(t, filepath.Join(dir, page+".1"))
		help := start(t, append(args, "--help")...).wait().stdout
		_, flags, _ := strings.Cut(help, "\nFlags:\n")
		for _, m := range flag.FindAllStringSubmatch(flags, -1) {
			if !regexp.MustCompile(`(?m)^ +(-., )?` + m[1] + `\b`).MatchString(text) {
				t.Errorf("%s does not have %s", page, m[1])
			}
		}
		_, examples, _ := strings.Cut(help, "Examples:\n")
		examples, _, _ = strings.Cut(examples, "\n\n")
		for line := range strings.Lines(examples) {
			if line = strings.TrimSpace(line); !strings.Contains(text, line) {
				t.Errorf("%s does not have the example %q:\n%s", page, line, text)
			}
		}
		for _, want := range []string{"2001-09-09", "NAME\n       " + page + " - ", "SYNOPSIS\n       leakprof", "SEE ALSO"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not have %q", page, want)
			}
		}
	}
}

// TestRoff: text comes out of groff as it went in, whatever is in it.
func TestRoff(t *testing.T) {
	for _, text := range []string{
		".SH no request", "'no request", `back\slash \n \fB`, "--flag 'quoted' `tick` ^C ~ \"x\"", "7 % of 1 · €", "leakprof - x",
	} {
		page := filepath.Join(t.TempDir(), "x.1")
		if err := os.WriteFile(page, []byte(".TH X 1 2026-01-01\n.SH NAME\n"+roff(text)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := groff(t, page); !strings.Contains(got, text) {
			t.Errorf("%q becomes\n%s", text, got)
		}
	}
}

func TestManRefuses(t *testing.T) {
	for _, c := range []struct {
		args   []string
		epoch  string
		status int
	}{
		{[]string{"man"}, "0", exitUsage},
		{[]string{"man", "/no/such/directory"}, "0", exitError},
		{[]string{"man", t.TempDir()}, "yesterday", exitError},
	} {
		t.Setenv("SOURCE_DATE_EPOCH", c.epoch)
		if got := start(t, c.args...).wait(); got.status != c.status || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%v: exit status %d\n%s", c.args, got.status, got.stderr)
		}
	}
}
