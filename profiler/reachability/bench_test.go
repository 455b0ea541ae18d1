// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"testing"

	"leakprof/profiler/bird/tree"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/snapshot"
)

// BenchmarkClassify measures both looks through a heap of 2,000 pages of objects
// and 200,000 blocks in chains, lost and kept.
func BenchmarkClassify(b *testing.B) {
	f := fixture.Start(b, fixture.BuildBIRD(b, 2, "gcc", "-O2"))
	for _, command := range []string{"init", "lose chain 100000", "keep chain 100000", "keep object 60000"} {
		f.Do(b, command)
	}
	p, found := open(b, f.PID)
	resources, err := tree.Read(p, found, tree.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := &snapshot.Snapshot{Tree: resources, Quiet: true}
	for b.Loop() {
		r, err := Classify(p, found, s, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(r.Bytes[Lost] + r.Bytes[Held]))
		if r.Bytes[Lost] == 0 {
			b.Fatal("nothing is lost")
		}
	}
}
