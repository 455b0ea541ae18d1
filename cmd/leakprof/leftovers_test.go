// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"leakprof/collector/lab"
	"leakprof/profiler/target"
)

// tortureVariable in the environment asks for as many rounds as `make torture`
// makes.
const tortureVariable = "LEAKPROF_TORTURE"

// rounds is how often something is done: a few times in `make test`.
func rounds(few, many int) int {
	if os.Getenv(tortureVariable) != "" {
		return many
	}
	return few
}

// traces are what leakprof could leave behind, in BIRD and in the kernel, as
// they were before it came.
type traces struct {
	bird    *lab.Bird
	objects map[string]bool
	files   int // open in BIRD
}

// tracesOf looks at a BIRD that leakprof has nothing to do with yet. Sessions
// that are to be there when it is looked at again have to be up.
func tracesOf(t *testing.T, bird *lab.Bird) *traces {
	t.Helper()
	return &traces{bird, kernelObjects(t), openFiles(t, bird.PID())}
}

// patience is for how long the kernel may take to be done with what a process
// had: it frees BPF objects when no CPU uses them any more, which takes the longer
// the more others come and go.
const patience = time.Minute

// mostCopies is more than all pages that have probes, in bytes.
const mostCopies = 32 * 4096

// gone fails the test if anything is there that was not before. BIRD has to run.
func (b *traces) gone(t *testing.T) {
	t.Helper()
	left := leftObjects(t, b.objects)
	select {
	case <-b.bird.Exited():
		t.Fatalf("BIRD has ended: %v", b.bird.Err())
	default:
	}
	var probes, files int
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		probes, files = patched(t, b.bird.PID()), openFiles(t, b.bird.PID())
		if probes == 0 && files <= b.files || time.Now().After(deadline) {
			break
		}
	}
	if probes > 0 {
		t.Errorf("%d bytes of code are not the files': probes are left", probes)
	}
	if files > b.files {
		t.Errorf("BIRD has %d files open, and had %d", files, b.files)
	}
	// The code is the files' again. The kernel (6.18, uprobe_write in
	// kernel/events/uprobes.c) gives up its copy of a page that had a breakpoint
	// unless somebody has a reference to it just then, and its page for stepping
	// over breakpoints with the process: both no more for many attaches than for one.
	if copies, steps := copiedCode(t, b.bird.PID()); copies > mostCopies || steps > 1 {
		t.Errorf("BIRD has %d bytes of code of its own, and %d mappings of the kernel's for probes", copies, steps)
	}
	if len(left) > 0 {
		t.Errorf("in the kernel are left: %v", left)
	}
}

// leftObjects are the kernel's BPF objects that were not there before, that no
// process holds, and that do not go away.
func leftObjects(t *testing.T, before map[string]bool) []string {
	t.Helper()
	left := kernelObjects(t)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		// What other processes hold is theirs. Of one moment alone it cannot be told:
		// they come and go.
		now, held := kernelObjects(t), heldObjects()
		maps.DeleteFunc(left, func(o string, _ bool) bool { return before[o] || !now[o] || held[o] })
		if len(left) == 0 || time.Now().After(deadline) {
			return slices.Sorted(maps.Keys(left))
		}
	}
}

// kernelObjects are the BPF programs, maps and links of the kernel by their
// numbers, which it does not give a second time before 2^31 others.
func kernelObjects(t *testing.T) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for id := ebpf.ProgramID(0); ; {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("prog_id %d", id)] = true
	}
	for id := ebpf.MapID(0); ; {
		var err error
		if id, err = ebpf.MapGetNextID(id); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("map_id %d", id)] = true
	}
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		all[fmt.Sprintf("link_id %d", links.ID)] = true
	}
	if err := links.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// heldObjects are those that a process has a file descriptor of, by its fdinfo
// (proc_pid_fdinfo(5)), and the maps of such programs.
func heldObjects() map[string]bool {
	held := make(map[string]bool)
	infos, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*")
	for _, path := range infos {
		if target, _ := os.Readlink(strings.Replace(path, "fdinfo", "fd", 1)); !strings.HasPrefix(target, "anon_inode:bpf") && !strings.HasPrefix(target, "anon_inode:[bpf") {
			continue
		}
		info, _ := os.ReadFile(path) // it may be closed by now
		for line := range bytes.Lines(info) {
			if name, number, ok := strings.Cut(string(line), ":"); ok && strings.HasSuffix(name, "_id") {
				held[name+" "+strings.TrimSpace(number)] = true
				if id, err := strconv.Atoi(strings.TrimSpace(number)); name == "prog_id" && err == nil {
					for _, m := range mapsOf(ebpf.ProgramID(id)) {
						held[fmt.Sprintf("map_id %d", m)] = true
					}
				}
			}
		}
	}
	return held
}

// mapsOf are the maps that a program uses; none if it is gone.
func mapsOf(id ebpf.ProgramID) []ebpf.MapID {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return nil
	}
	all, _ := info.MapIDs()
	return all
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// copiedCode is how much of a process's code is not its files' pages but copies,
// in bytes, and how many mappings the kernel has made there for probes.
func copiedCode(t *testing.T, pid int) (bytes uint64, steps int) {
	t.Helper()
	p, err := target.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	all, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all {
		switch {
		case u.Path == "[uprobes]": // kernel/events/uprobes.c, xol_add_vma
			steps++
		case u.Exec && u.Inode != 0:
			bytes += u.Anonymous
		}
	}
	return bytes, steps
}
