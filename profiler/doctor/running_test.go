// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"maps"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// TestMachine: on the machine on which the tests run, as root, all is there.
func TestMachine(t *testing.T) {
	m := ReadMachine(plan.Exact)
	if len(m.Features) == 0 || m.Release == "" || m.Capabilities == 0 || m.Memory.Available == 0 || m.Memory.Budget == 0 {
		t.Errorf("little is known: %+v", m)
	}
	if err := Verdict(Examine(Facts{Machine: m})); err != nil {
		t.Errorf("%v: %+v", err, m)
	}
}

// TestProbe: the probe on ourselves can be placed by perf events as well, and
// again and again.
func TestProbe(t *testing.T) {
	ways := []bool{false, false}
	if ReadMachine(plan.Exact).Multi {
		ways = append(ways, true, true)
	}
	for _, multi := range ways {
		if err := tryProbe(multi); err != nil {
			t.Errorf("multi %v: %v", multi, err)
		}
	}
	if probed() != 1 {
		t.Error("the function that was probed is not what it was")
	}
}

// TestTarget: of each packaged BIRD attach could do all.
func TestTarget(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			b := labtest.Start(t, lab.Config{Binary: binary, Peers: 1})
			got := ReadTarget(b.PID(), plan.Options{})
			if !got.Known() || got.Plan != nil || got.Sites == 0 || got.BuildID == "" || got.Need == 0 || len(got.Replaced) > 0 || len(got.Elsewhere) > 0 {
				t.Errorf("got %+v", got)
			}
			if got.Need > 64<<20 {
				t.Errorf("an idle BIRD needs %d bytes of the live set", got.Need)
			}
		})
	}
}

// TestElsewhere: of a BIRD in a network namespace of its own that alone is told.
func TestElsewhere(t *testing.T) {
	n, err := lab.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	b := labtest.Start(t, lab.Config{Binary: labtest.Binaries(t)["bird2-sid"], Peers: 1, Namespace: n})
	if got := ReadTarget(b.PID(), plan.Options{}).Elsewhere; !maps.Equal(got, map[string]bool{"net": true}) {
		t.Errorf("elsewhere in %v", got)
	}
}

// TestStoppedTarget: a BIRD that is stopped is told as such, and asked nothing,
// for it does not answer.
func TestStoppedTarget(t *testing.T) {
	b := labtest.Start(t, lab.Config{Binary: labtest.Binaries(t)["bird2-sid"], Peers: 1})
	if err := unix.Kill(b.PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(b.PID(), unix.SIGCONT)
	p, err := target.Open(b.PID())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for {
		if stopped, err := p.Stopped(); err != nil {
			t.Fatal(err)
		} else if stopped {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if got := ReadTarget(b.PID(), plan.Options{}); got.Known() || !got.Stopped {
		t.Errorf("got %+v", got)
	}
}

// TestNoTarget: neither a program that is no BIRD nor one that has ended is one.
func TestNoTarget(t *testing.T) {
	if got := ReadTarget(os.Getpid(), plan.Options{}); got.Known() || !errors.Is(got.BIRD, bird.ErrNotBIRD) {
		t.Errorf("ourselves: %+v", got)
	}
	if got := ReadTarget(1<<22+1, plan.Options{}); got.Known() || got.Read == nil {
		t.Errorf("nobody: %+v", got)
	}
}
