// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"os"
	"strings"

	"leakprof/bpf"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/plan"
	"leakprof/profiler/symbol"
	"leakprof/profiler/symbol/debuginfod"
	"leakprof/profiler/target"
)

// Target is the process that attach would follow.
type Target struct {
	PID  int
	Exe  string // as the target names it
	Read error  // why it cannot be read, nil if it can; nothing below is known then
	// Files is why its ELF files cannot be opened, BIRD why it is none, nil if it
	// is one; nothing below is known then.
	Files, BIRD error
	// Stopped says that it does nothing until it is told to go on, so that attach
	// refuses it and nobody answers for it; nothing below is known then.
	Stopped    bool
	Generation bird.Generation
	BuildID    string // in hex, "" if it has none
	// Replaced are the program and the libraries, by their paths, where another file
	// or none is now.
	Replaced []string
	Sites    int   // places that would be probed
	Plan     error // why attach would refuse the plan, nil if it would not
	// Symbols and DWARF say what names the program's file has, with DebugFile if
	// one was found; Debug is why one that is there cannot be used.
	Symbols   bool
	DWARF     error // why there are no functions and lines, nil if there are
	DebugFile string
	Debug     error
	Fetch     string // the command that would fetch its debug file, "" without a build ID
	// Need is about how much kernel memory what BIRD holds now takes in the live
	// set, bytes; 0 if that cannot be told.
	Need uint64
	// Elsewhere are the namespaces that are not ours: "mnt", "pid", "net", "user".
	Elsewhere map[string]bool
	Sessions  Sessions
}

// Sessions are who tells of BGP sessions. It is for the caller to find out, who
// knows what the user said of it.
type Sessions struct {
	Socket  string // BIRD's control socket, "" if there is none or it is not to be used
	Version string // of BIRD, as it says there
	Control error  // why there is none
	// Station is the address of our BMP station, "" for none, and Listen why
	// nobody can listen there.
	Station string
	Listen  error
	// Stations are those of BIRD's BMP protocols, "" for one whose address is not
	// known.
	Stations []string
}

// ReadTarget collects what is to be known of a process, without a change to it.
// Sessions are left empty.
func ReadTarget(pid int, o plan.Options) *Target {
	t := &Target{PID: pid}
	p, err := target.Open(pid)
	if err != nil {
		t.Read = err
		return t
	}
	defer p.Close()
	t.Exe, t.Elsewhere = p.Exe, elsewhere(pid)
	modules, err := p.Modules()
	for _, m := range modules {
		defer m.Close()
	}
	if err != nil || len(modules) == 0 || len(modules[0].Areas) == 0 {
		if t.Files = err; err == nil {
			t.Files = fmt.Errorf("process %d has no ELF file mapped", pid)
		}
		return t
	}
	exe := modules[0]
	if _, ok, err := p.ReadBatch([]uint64{exe.Areas[0].Start}, 1); err != nil || !ok[0] {
		if t.Read = err; err == nil {
			t.Read = fmt.Errorf("read memory of process %d: its first page cannot be read", pid)
		}
		return t
	}
	b, err := bird.Find(p, exe)
	if err != nil {
		t.BIRD = err
		return t
	}
	if stopped, err := p.Stopped(); err == nil && stopped {
		t.Stopped = true
		return t
	}
	t.Generation, t.BuildID = b.Generation, exe.BuildID()
	for _, m := range modules {
		if p.Replaced(m) {
			t.Replaced = append(t.Replaced, strings.TrimSuffix(m.Path, " (deleted)"))
		}
	}
	t.names(p, exe)
	if plan, err := plan.New(p, modules, o); err != nil {
		t.Plan = err
	} else {
		t.Sites, t.Plan = len(plan.Sites), plan.Refusal()
	}
	if r, err := tree.Read(p, b, tree.Options{}); err == nil {
		t.Need = need(r)
	}
	return t
}

// names looks where names would come from, as attach does without flags.
func (t *Target) names(p *target.Process, exe *target.Module) {
	s, err := symbol.Open(exe.Reader, exe.Name)
	if err != nil {
		t.DWARF = err
		return
	}
	if s.Lacks() != nil {
		places := symbol.Places{Roots: []string{p.Root(), "/"}, Cache: debuginfod.Cache()}
		// Seen from outside of a chroot, paths of the process begin with its root's.
		if root, err := os.Readlink(p.Root()); err == nil && root != "/" {
			places.Prefix = root
		}
		t.DebugFile, t.Debug = s.FindDebugFile(exe.Path, places)
	}
	t.Symbols, t.DWARF = s.HasSymbols(), s.Lacks()
	if t.BuildID != "" {
		t.Fetch = debuginfod.Command(t.BuildID)
	}
	if s.HasDWARF() && t.DWARF != nil {
		t.Debug = nil // it says no more than that
	}
}

// Known says whether the process is a BIRD that runs and can be read.
func (t *Target) Known() bool {
	return t.Read == nil && t.Files == nil && t.BIRD == nil && !t.Stopped
}

// need adds up what the blocks and pages of a resource tree take in the live
// set.
func need(t *tree.Tree) (bytes uint64) {
	for range t.Blocks() {
		bytes += bpf.BlockBytes
	}
	for p := range t.Pages() {
		bytes += bpf.BlockBytes + uint64(p.Capacity)*4
	}
	return bytes
}

// namespaces are those that matter, by their files in /proc/PID/ns.
var namespaces = []struct{ file, name string }{{"mnt", "mount"}, {"pid", "pid"}, {"net", "network"}, {"user", "user"}}

// elsewhere are the namespaces (namespaces(7)) in which a process is and we are
// not. What cannot be compared is taken to be ours.
func elsewhere(pid int) map[string]bool {
	out := make(map[string]bool)
	for _, n := range namespaces {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, n.file))
		if err != nil {
			continue
		}
		if ours, err := os.Readlink("/proc/self/ns/" + n.file); err == nil && ours != theirs {
			out[n.file] = true
		}
	}
	return out
}
