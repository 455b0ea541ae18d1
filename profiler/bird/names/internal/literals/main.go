// SPDX-License-Identifier: Apache-2.0

// Command literals makes the table by which package names tells a function's
// source file from the strings it refers to. It reads releases of BIRD from a
// clone of its repository, and writes hashes of the string literals that only
// one C file of each release has:
//
//	go run ./internal/literals -repository DIR > literals.txt
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"leakprof/profiler/bird/names/internal/hash"
)

// releases are those of each generation of BIRD that are read, by major
// version: the last of each minor one.
var releases = map[int][]string{
	2: {"v2.13.1", "v2.14", "v2.15.1", "v2.16.2", "v2.17.6", "v2.18.3", "v2.19.2"},
	3: {"v3.0.5", "v3.1.8", "v3.2.3", "v3.3.2"},
}

// directories hold the sources of the daemon.
var directories = []string{"conf", "filter", "lib", "nest", "proto", "sysdep"}

func main() {
	repository := flag.String("repository", "", "a clone of BIRD's `directory`")
	flag.Parse()
	if err := run(*repository, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "literals:", err)
		os.Exit(1)
	}
}

func run(repository string, w io.Writer) error {
	if repository == "" {
		return errors.New("missing -repository")
	}
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "# Made by internal/literals of BIRD's releases. One line a file: BIRD's major version, path, hashes.")
	for _, major := range slices.Sorted(maps.Keys(releases)) {
		of := make(map[string]string) // file by literal, "" if several have it
		for _, tag := range releases[major] {
			files, err := readRelease(repository, tag)
			if err != nil {
				return fmt.Errorf("read release %s: %w", tag, err)
			}
			merge(of, files)
		}
		write(out, major, of)
	}
	return out.Flush()
}

// readRelease returns the sources of a release by path.
func readRelease(repository, tag string) (map[string]string, error) {
	cmd := exec.Command("git", append([]string{"-C", repository, "archive", tag, "--"}, directories...)...)
	cmd.Stderr = os.Stderr
	data, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run git archive: %w", err)
	}
	files := make(map[string]string)
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		switch path.Ext(h.Name) {
		case ".c", ".h", ".Y", ".l", ".m4":
			text, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			files[h.Name] = string(text)
		}
	}
}

// merge adds a release's literals. What is not in one file alone, and in the
// same one in each release, tells of none. Text that becomes part of several
// files (headers, the parser's, the filter language's) counts as another one.
func merge(of map[string]string, files map[string]string) {
	m := &macros{text: make(map[string]string), around: make(map[string][]template)}
	sorted := slices.Sorted(maps.Keys(files))
	for _, name := range sorted {
		if path.Ext(name) == ".h" {
			m.add(files[name])
		}
	}
	for _, name := range sorted {
		own := &macros{text: maps.Clone(m.text), around: maps.Clone(m.around)}
		own.add(files[name])
		file := name
		if path.Ext(name) != ".c" && path.Ext(name) != ".l" || path.Base(name) == "f-inst.c" || strings.HasSuffix(name, "_test.c") {
			file = ""
		}
		for _, text := range own.literals(files[name]) {
			if known, ok := of[text]; ok && known != file {
				of[text] = ""
			} else {
				of[text] = file
			}
		}
	}
}

func write(w io.Writer, major int, of map[string]string) {
	hashes := make(map[string][]string)
	for text, file := range of {
		if file != "" && hash.Telling(text) {
			hashes[file] = append(hashes[file], fmt.Sprintf("%016x", hash.Of(text)))
		}
	}
	for _, file := range slices.Sorted(maps.Keys(hashes)) {
		slices.Sort(hashes[file])
		fmt.Fprintln(w, major, file, strings.Join(hashes[file], " "))
	}
}
