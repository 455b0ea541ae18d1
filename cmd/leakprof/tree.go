// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/target"
	"leakprof/profiler/terminal"
)

type treeFlags struct {
	process string // --pid as given
	pid     int
	depth   int
	classes bool
	json    bool
	lost    bool
	freeze  time.Duration
}

// defaultFreeze is for how long --freeze without a value stops BIRD at most.
const defaultFreeze = 100 * time.Millisecond

func treeCommand() *cobra.Command {
	var f treeFlags
	c := &cobra.Command{
		Use:   "tree --pid PID",
		Short: "Print BIRD's resource pools with their sizes",
		Long: `Reads BIRD's resource tree from the memory of the running process, and prints
each pool with the number of resources in it and their sizes: effective is what
was asked for, overhead what the allocators add, by the rules of BIRD's own
"show memory". The greatest come first, and each pool includes those below it.

BIRD is not stopped, and its control socket is not used. The tree is read again
until two readings agree. On a BIRD that never rests, --freeze stops all of its
threads while they are read, for 100 ms at most, or for as long as is said; it
is refused where a BFD protocol runs.

--lost prints what of BIRD's memory nothing points at, by pool, class and size:
no variable, no stack, and no other memory but such as is lost itself. The lists
on which BIRD has all of its memory do not count. It takes no probes and no
waiting, and says nothing of when and by whom it was lost: leakprof attach does.`,
		Example: `  leakprof tree --pid bird
  leakprof tree --pid bird --depth 2 --classes
  leakprof tree --pid bird --freeze=50ms --json
  leakprof tree --pid bird --lost`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runTree(c.OutOrStdout(), &f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.process, "pid", "", pidHelp)
	flags.IntVar(&f.depth, "depth", 0, "fold pools below this `LEVEL`; 0 shows all")
	flags.BoolVar(&f.classes, "classes", false, "show the resources of each pool by class, too")
	flags.BoolVar(&f.lost, "lost", false, "print what nothing points at")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.DurationVar(&f.freeze, "freeze", 0, "stop BIRD while it is read, at most for `TIME`")
	flags.Lookup("freeze").NoOptDefVal = defaultFreeze.String()
	return c
}

func runTree(stdout io.Writer, f *treeFlags) error {
	switch {
	case f.process == "":
		return usageError{errors.New("--pid is needed: leakprof tree --pid bird")}
	case f.depth < 0:
		return usageError{errors.New("--depth must be 0 or more")}
	case f.freeze < 0:
		return usageError{errors.New("--freeze must be a time such as 100ms")}
	case f.lost && (f.freeze > 0 || f.classes || f.depth > 0):
		return usageError{errors.New("--lost goes with --json only")}
	}
	var err error
	if f.pid, err = findPID(f.process); err != nil {
		return err
	}
	if f.lost {
		return withPIDHint(runLost(stdout, f))
	}
	t, err := readTree(f.pid, tree.Options{Freeze: f.freeze})
	if err != nil {
		return withPIDHint(err)
	}
	if f.json {
		return writeTreeJSON(stdout, f, t)
	}
	if err := writeTree(stdout, f, t.Root); err != nil {
		return err
	}
	for _, w := range t.Warnings {
		say(os.Stderr, "%s", w)
	}
	if !t.Consistent {
		say(os.Stderr, "BIRD changed its resources while they were read, so that sums may be of no single moment; --freeze stops it for the reading")
	}
	return nil
}

func readTree(pid int, o tree.Options) (*tree.Tree, error) {
	p, err := target.Open(pid)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	b, err := birdIn(p)
	if err != nil {
		return nil, err
	}
	return tree.Read(p, b, o)
}

// birdIn finds BIRD's classes in a process.
func birdIn(p *target.Process) (*bird.Bird, error) {
	modules, err := p.Modules()
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, m := range modules {
			m.Close()
		}
	}()
	if len(modules) == 0 {
		return nil, fmt.Errorf("read program of process %d: it has no ELF file mapped", p.PID)
	}
	return bird.Find(p, modules[0])
}

// bySize orders pools, the greatest first.
func bySize(nodes []*tree.Node) []*tree.Node {
	return slices.SortedStableFunc(slices.Values(nodes), func(a, b *tree.Node) int {
		return cmp.Or(cmp.Compare(b.Effective+b.Overhead, a.Effective+a.Overhead), strings.Compare(a.Name, b.Name))
	})
}

// writeTree prints the pools as a table.
func writeTree(out io.Writer, f *treeFlags, root *tree.Node) error {
	rows := [][4]string{{"pool", "count", "effective", "overhead"}}
	row := func(level int, name string, count int, effective, overhead uint64) {
		rows = append(rows, [4]string{strings.Repeat("  ", level) + terminal.Line(name), strconv.Itoa(count), birdSize(effective), birdSize(overhead)})
	}
	var walk func(n *tree.Node, level int)
	walk = func(n *tree.Node, level int) {
		row(level, n.Name, n.Count, n.Effective, n.Overhead)
		if f.classes {
			for _, c := range n.Classes {
				if c.Class != bird.PoolClass {
					row(level+1, "("+c.Class+")", c.Count, c.Effective, c.Overhead)
				}
			}
		}
		if f.depth > 0 && level+1 >= f.depth {
			return
		}
		for _, c := range bySize(n.Children) {
			walk(c, level+1)
		}
	}
	walk(root, 0)
	var width [4]int
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	buf := bufio.NewWriter(out)
	for _, r := range rows {
		fmt.Fprintf(buf, "%-*s  %*s  %*s  %*s\n", width[0], r[0], width[1], r[1], width[2], r[2], width[3], r[3])
	}
	return buf.Flush()
}

// birdSize prints a number of bytes as BIRD's "show memory" does: with one
// decimal, and divided by 1024 as long as there are five digits before it.
func birdSize(bytes uint64) string {
	const units = " kMGT"
	v, unit := bytes*10, 0
	for v >= 100_000 && unit < len(units)-1 {
		v, unit = (v+512)/1024, unit+1
	}
	return fmt.Sprintf("%d.%d %cB", v/10, v%10, units[unit])
}

// treeJSON is the document of leakprof tree --json.
type treeJSON struct {
	PID        int          `json:"pid"`
	Generation int          `json:"generation"` // of BIRD: 2 or 3
	Consistent bool         `json:"consistent"`
	FrozenMS   float64      `json:"frozen_ms"`
	DurationMS float64      `json:"duration_ms"`
	Walks      int          `json:"walks"`
	Warnings   []string     `json:"warnings,omitempty"`
	Root       treeNodeJSON `json:"root"`
}

type treeNodeJSON struct {
	Path      string          `json:"path"`
	Name      string          `json:"name"`
	PoolName  string          `json:"pool_name"`
	Protocol  string          `json:"protocol,omitempty"`
	Address   string          `json:"address"`
	Count     int             `json:"count"`
	Effective uint64          `json:"effective"`
	Overhead  uint64          `json:"overhead"`
	Classes   []treeClassJSON `json:"classes,omitempty"`
	Children  []treeNodeJSON  `json:"children,omitempty"`
}

type treeClassJSON struct {
	Class     string `json:"class"`
	Count     int    `json:"count"`
	Effective uint64 `json:"effective"`
	Overhead  uint64 `json:"overhead"`
}

func writeTreeJSON(out io.Writer, f *treeFlags, t *tree.Tree) error {
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	var node func(n *tree.Node, level int) treeNodeJSON
	node = func(n *tree.Node, level int) treeNodeJSON {
		j := treeNodeJSON{
			Path: n.Path(), Name: n.Name, PoolName: n.PoolName, Protocol: n.Protocol,
			Address: fmt.Sprintf("0x%x", n.Address), Count: n.Count, Effective: n.Effective, Overhead: n.Overhead,
		}
		for _, c := range n.Classes {
			j.Classes = append(j.Classes, treeClassJSON(c))
		}
		if f.depth > 0 && level+1 >= f.depth {
			return j
		}
		for _, c := range bySize(n.Children) {
			j.Children = append(j.Children, node(c, level+1))
		}
		return j
	}
	e := json.NewEncoder(terminal.JSON(out))
	e.SetIndent("", "  ")
	return e.Encode(treeJSON{
		PID: f.pid, Generation: int(t.Layout.Generation), Consistent: t.Consistent,
		FrozenMS: milliseconds(t.Frozen), DurationMS: milliseconds(t.Duration), Walks: t.Walks,
		Warnings: t.Warnings, Root: node(t.Root, 0),
	})
}
