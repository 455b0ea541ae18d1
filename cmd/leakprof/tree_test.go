// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"leakprof/collector/lab"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sampleTree is a tree made up for its looks.
func sampleTree() *tree.Tree {
	pool := func(parent *tree.Node, name, poolName, protocol string, count int, effective, overhead uint64, classes ...tree.ClassSum) *tree.Node {
		n := &tree.Node{
			Name: name, PoolName: poolName, Protocol: protocol, Parent: parent,
			Address: 0x55d0c8f3a000 + effective, Count: count, Effective: effective, Overhead: overhead, Classes: classes,
		}
		if parent != nil {
			parent.Children = append(parent.Children, n)
		}
		return n
	}
	root := pool(nil, "Root", "Root", "", 60_105, 27_000_000, 5_700_000, tree.ClassSum{Class: "LinPool", Count: 1, Overhead: 88})
	pool(root, "CLI", "CLI", "", 0, 0, 72)
	tables := pool(root, "Routing tables", "Routing tables", "", 10, 9_999, 10_000)
	pool(tables, "Routing table master4", "Routing table master4", "", 8, 9_800, 9_900,
		tree.ClassSum{Class: "Slab", Count: 2, Effective: 9_000, Overhead: 9_000},
		tree.ClassSum{Class: bird.PoolClass, Overhead: 72})
	protocols := pool(root, "Protocols", "Protocols", "", 60_080, 26_000_000, 5_600_000)
	pool(protocols, "peer1", "BGP", "BGP", 60, 400_000, 50_000)
	bmp := pool(protocols, "bmp1", "BMP", "BMP", 60_010, 25_600_000, 5_500_000)
	pool(bmp, "BMP Buffer", "BMP Buffer", "", 60_000, 25_599_000, 5_499_000,
		tree.ClassSum{Class: bird.MemoryClass, Count: 60_000, Effective: 25_599_000, Overhead: 5_498_928})
	return &tree.Tree{
		Root: root, Consistent: true, Frozen: 12_345 * time.Microsecond, Walks: 2, Duration: 15 * time.Millisecond,
		Layout: tree.Layout{Generation: bird.BIRD2},
	}
}

func TestTreeGolden(t *testing.T) {
	for _, c := range []struct {
		file  string
		flags treeFlags
	}{
		{"tree.txt", treeFlags{}},
		{"tree-depth-2.txt", treeFlags{depth: 2}},
		{"tree-classes.txt", treeFlags{classes: true}},
		{"tree.json", treeFlags{json: true, pid: 4242}},
		{"tree-depth-1.json", treeFlags{json: true, pid: 4242, depth: 1}},
	} {
		t.Run(c.file, func(t *testing.T) {
			var out bytes.Buffer
			var err error
			if c.flags.json {
				err = writeTreeJSON(&out, &c.flags, sampleTree())
			} else {
				err = writeTree(&out, &c.flags, sampleTree().Root)
			}
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", c.file)
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
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
		})
	}
}

func TestBirdSize(t *testing.T) {
	for _, c := range []struct {
		bytes uint64
		want  string
	}{
		{0, "0.0  B"}, {9_999, "9999.0  B"}, {10_000, "9.8 kB"}, {10_239_900, "9999.9 kB"},
		{10_240_000, "9.8 MB"}, {1 << 40, "1024.0 GB"}, {20_000 << 40, "20000.0 TB"},
	} {
		if got := birdSize(c.bytes); got != c.want {
			t.Errorf("birdSize(%d) = %q, want %q", c.bytes, got, c.want)
		}
	}
}

func TestTree(t *testing.T) {
	for _, name := range birds {
		t.Run(name, func(t *testing.T) {
			pid := strconv.Itoa(startBird(t, lab.Config{Binary: findBird(t, name), Peers: 2}).PID())

			r := start(t, "tree", "--pid", pid).wait()
			if r.status != exitDone || !strings.Contains(r.stdout, "\nRoot ") || !strings.Contains(r.stdout, "\n  Protocols ") {
				t.Errorf("status %d, says %q:\n%s", r.status, r.stderr, r.stdout)
			}
			r = start(t, "tree", "--pid", pid, "--depth", "1").wait()
			if n := strings.Count(r.stdout, "\n"); r.status != exitDone || n != 2 {
				t.Errorf("status %d, %d lines at depth 1:\n%s", r.status, n, r.stdout)
			}
			r = start(t, "tree", "--pid", pid, "--json", "--freeze=1s").wait()
			var doc treeJSON
			if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
				t.Fatalf("%v: status %d, says %q:\n%s", err, r.status, r.stderr, r.stdout)
			}
			if doc.Root.Path != "Root" || doc.Root.Count == 0 || !doc.Consistent || doc.FrozenMS <= 0 {
				t.Errorf("document %+v", doc)
			}
		})
	}
}

func TestTreeRefuses(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"tree"}, exitUsage, "--pid is needed"},
		{[]string{"tree", "--pid", "1", "--depth", "-1"}, exitUsage, "must be 0 or more"},
		{[]string{"tree", "--pid", "1", "--freeze=-1s"}, exitUsage, "must be a time"},
		{[]string{"tree", "--pid", "1", "--lost", "--classes"}, exitUsage, "--lost goes with --json only"},
		{[]string{"tree", "--pid", strconv.Itoa(os.Getpid()), "--lost"}, exitError, "not a BIRD daemon; give the pid of BIRD"},
		{[]string{"tree", "--pid", "1", "x"}, exitUsage, "unexpected argument"},
		{[]string{"tree", "--pid", strconv.Itoa(os.Getpid())}, exitError, "not a BIRD daemon; give the pid of BIRD"},
		{[]string{"tree", "--pid", "999999999"}, exitError, "no process has this number"},
	} {
		r := start(t, c.args...).wait()
		if r.status != c.status || !strings.Contains(r.stderr, c.says) || strings.Count(r.stderr, "\n") != 1 || r.stdout != "" {
			t.Errorf("%q: status %d, says %q, prints %q", c.args, r.status, r.stderr, r.stdout)
		}
	}
}
