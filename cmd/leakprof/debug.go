// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"leakprof/profiler/symbol"
	"leakprof/profiler/symbol/debuginfod"
	"leakprof/profiler/target"
)

// debugFlags say where the names of a stripped BIRD may come from.
type debugFlags struct {
	file  string
	fetch bool
}

func (f *debugFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "debug-file", "", "the separate debug file of a stripped BIRD, `FILE` (default: found by build ID and .gnu_debuglink, in BIRD's own root and ours)")
	flags.BoolVar(&f.fetch, "debuginfod", false, "fetch BIRD's debug file from the servers in $DEBUGINFOD_URLS if there is none here")
}

func (f *debugFlags) validate() error {
	switch {
	case f.fetch && f.file != "":
		return usageError{errors.New("--debug-file and --debuginfod: choose one")}
	case f.fetch && len(debuginfod.Servers()) == 0:
		return usageError{errors.New("--debuginfod: DEBUGINFOD_URLS names no server, such as " + debuginfod.Example)}
	case f.fetch && debuginfod.Cache() == "":
		return usageError{errors.New("--debuginfod: there is no directory for what is fetched; set DEBUGINFOD_CACHE_PATH")}
	}
	return nil
}

// places says where debug files of the process are, and sees to it that BIRD's
// is there if it can be: before the probes come, for a download takes its time.
// That names cannot be had is no error, unless a file was named that does not
// fit; what the user should know goes to stderr.
func (f *debugFlags) places(ctx context.Context, stderr io.Writer, pid int) (symbol.Places, error) {
	p, err := target.Open(pid)
	if err != nil {
		return symbol.Places{}, err
	}
	defer p.Close()
	modules, err := p.Modules()
	if err != nil {
		return symbol.Places{}, p.Explain(err)
	}
	defer func() {
		for _, m := range modules {
			m.Close()
		}
	}()
	if len(modules) > 0 {
		if _, err := f.open(ctx, stderr, modules[0], p); err != nil {
			return symbol.Places{}, err
		}
	}
	return f.where(p), nil
}

// where says where debug files of a process may be, or of a file that none runs.
func (f *debugFlags) where(p *target.Process) symbol.Places {
	places := symbol.Places{File: f.file, Roots: []string{"/"}, Cache: debuginfod.Cache()}
	if p == nil {
		return places
	}
	if !sharesRoot(p) {
		places.Roots = []string{p.Root(), "/"}
	}
	// Seen from outside of a chroot, paths of the process begin with its root's.
	if root, err := os.Readlink(p.Root()); err == nil && root != "/" {
		places.Prefix = root
	}
	return places
}

// open reads the symbols of a program with those of its debug file, which may be
// fetched for it; nil if they cannot be read. p is the process, nil if none runs.
func (f *debugFlags) open(ctx context.Context, stderr io.Writer, exe *target.Module, p *target.Process) (*symbol.Module, error) {
	places := f.where(p)
	m, err := symbol.Open(exe.Reader, exe.Name)
	if err != nil {
		if f.file != "" {
			return nil, err
		}
		return nil, nil
	}
	if f.file != "" {
		if used, err := m.FindDebugFile(exe.Path, symbol.Places{File: f.file}); used == "" {
			if err == nil {
				err = fmt.Errorf("use debug file %s: there is no such file, or it is empty", f.file)
			}
			return nil, fmt.Errorf("%w (--debug-file)", err)
		}
		places.File = "" // what that lacks may be elsewhere
	}
	return m, f.complete(ctx, stderr, m, exe.Path, places)
}

// complete finds what debug information the module lacks, and fetches it if that
// was asked for: the debug file, and then the supplementary file that it may
// refer to. The error is that of a user who did not want to wait.
func (f *debugFlags) complete(ctx context.Context, stderr io.Writer, m *symbol.Module, path string, places symbol.Places) error {
	if m.Lacks() == nil {
		return nil
	}
	_, err := m.FindDebugFile(path, places)
	for range 2 {
		var id, what string
		switch missing := m.MissingSupplement(); {
		case !f.fetch:
		case missing != nil:
			id, what = missing.ID, "what that shares with others"
		case !m.HasDWARF() && m.DebugFile() == "":
			id, what = m.BuildID(), "the debug file of "+filepath.Base(path)
		}
		if id == "" {
			break
		}
		if missing := new(symbol.MissingSupplementError); err != nil && !errors.As(err, &missing) {
			say(stderr, "warning: %v", err)
		}
		say(stderr, "asking %s for %s", os.Getenv("DEBUGINFOD_URLS"), what)
		if _, err = debuginfod.Fetch(ctx, debuginfod.Servers(), places.Cache, id); err != nil {
			if ctx.Err() != nil {
				return err
			}
			break
		}
		_, err = m.FindDebugFile(path, places)
	}
	if err == nil && errors.Is(m.DWARFError(), symbol.ErrSplitDWARF) {
		err = fmt.Errorf("read debug information of %s: %w", filepath.Base(path), m.DWARFError())
	}
	if err != nil {
		say(stderr, "warning: %v", err)
	}
	return nil
}

// sharesRoot says whether the process sees the same file systems as we do.
func sharesRoot(p *target.Process) bool {
	for ours, theirs := range map[string]string{"/": p.Root(), "/proc/self/ns/mnt": fmt.Sprintf("/proc/%d/ns/mnt", p.PID)} {
		a, err := os.Stat(ours)
		if err != nil {
			return false
		}
		b, err := os.Stat(theirs)
		if err != nil || !os.SameFile(a, b) {
			return false
		}
	}
	return true
}
