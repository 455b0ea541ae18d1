// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"leakprof/profiler"
	"leakprof/profiler/plan"
)

const (
	// window is over what time cost is compared with the limit.
	window = time.Second
	// sample is how often it is read: what was before a session went down is told
	// from what came after.
	sample = window / 5
)

// Step is a change that the guard made, for good.
type Step struct {
	Time     time.Time
	From, To plan.Options
	// Detached: all probes were taken off; To says nothing then.
	Detached bool
	// Share is how much of a core probes took when it was made.
	Share float64
	// Reason says why, in words.
	Reason string
}

// String says it in one line.
func (s Step) String() string {
	if s.Detached {
		return fmt.Sprintf("took all probes off: %s", s.Reason)
	}
	return fmt.Sprintf("stepped down from %s to %s: %s", s.From, s.To, s.Reason)
}

// Account is what a guard did.
type Account struct {
	// Estimate is what was counted beforehand, nil if nothing was.
	Estimate *Estimate
	// Limit is how much of a core probes may take, 0 if there is no limit; then
	// nobody watched.
	Limit float64
	// Windows were watched, of a second each; Peak is how much of a core the
	// probes took in the worst.
	Windows int
	Peak    float64
	// Steps are what was done about it, in the order of time. The first may be
	// of before attaching.
	Steps []Step
}

// Watcher watches what the probes of a profiler cost, and takes them off where
// that is more than they may, whatever else goes on.
type Watcher struct {
	profiler *profiler.Profiler
	began    time.Time
	steps    chan Step
	stop     chan struct{}
	done     sync.WaitGroup

	bfd, detached atomic.Bool

	mu      sync.Mutex
	account Account
	lost    []Loss   // in this window
	spared  []string // until they are taken
	trouble error
}

// Watch begins to watch. The account has what is known of before; its Limit must
// not be 0.
func Watch(p *profiler.Profiler, before Account) (*Watcher, error) {
	hits, err := p.Hits()
	if err != nil {
		return nil, err
	}
	rungs := ladder(p.Plan.Options)
	w := &Watcher{
		profiler: p, began: time.Now(), account: before, stop: make(chan struct{}),
		steps: make(chan Step, len(rungs)), // it never waits for who takes them
	}
	w.done.Go(func() {
		w.watch(newMeter(p.Plan.Sites, rungs, hits), &decider{limit: before.Limit, began: w.began, rungs: rungs})
	})
	return w, nil
}

// Close ends the watch; probes stay as they are.
func (w *Watcher) Close() {
	close(w.stop)
	w.done.Wait()
}

// Steps are sent when they have been made.
func (w *Watcher) Steps() <-chan Step { return w.steps }

// Detached says that it has taken all probes off.
func (w *Watcher) Detached() bool { return w.detached.Load() }

// Began is when it began to watch: the probes had just been placed.
func (w *Watcher) Began() time.Time { return w.began }

// SetBFD says whether the router has BFD sessions.
func (w *Watcher) SetBFD(has bool) { w.bfd.Store(has) }

// maxLosses bounds how many losses are kept until somebody takes note of them.
const maxLosses = 100

// Lost says that the router has lost sessions because a timer ran out.
func (w *Watcher) Lost(all ...Loss) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = append(w.lost, all[:min(len(all), maxLosses-len(w.lost))]...)
}

// Spared returns since the last call which sessions were lost and not held against
// the probes, and why not, in a line each.
func (w *Watcher) Spared() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.spared
	w.spared = nil
	return all
}

// Account is what it did so far.
func (w *Watcher) Account() Account {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.account
	a.Steps = slices.Clone(a.Steps)
	return a
}

// Trouble is why a step could not be made whole, or why it does not watch any
// more; nil if nothing went wrong.
func (w *Watcher) Trouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble
}

// clock is what a process has used and waited for until a moment.
type clock struct {
	at        time.Time
	cpu, wait time.Duration
}

func (w *Watcher) read() (c clock, err error) {
	c.at = time.Now()
	c.cpu, err = w.profiler.Process.CPUTime()
	// Where the kernel does not count waiting, none is known of.
	c.wait, _ = w.profiler.Process.CPUWait()
	return c, err
}

func (w *Watcher) watch(m *meter, d *decider) {
	tick := time.NewTicker(sample)
	defer tick.Stop()
	before, err := w.read()
	var sum Window
	for {
		if err != nil {
			w.fail(err)
			return
		}
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		var now clock
		if now, err = w.read(); err != nil {
			continue
		}
		hits, readErr := w.profiler.Hits()
		if err = readErr; err != nil {
			continue
		}
		used := now.cpu - before.cpu
		part := Window{End: now.at, Took: now.at.Sub(before.at), BIRD: used, Wait: max(now.wait-before.wait, 0), Cost: within(m.cost(hits), used)}
		before = now
		d.remember(part)
		if sum.add(part); sum.Took < window-sample/2 {
			continue
		}
		if r, err := w.profiler.Runtime(); err == nil {
			m.learn(r)
		}
		sum.BFD, sum.Lost = w.bfd.Load(), w.takeLost()
		next := d.take(sum)
		sum = Window{}
		w.note(d)
		if next != nil && w.step(m, next, now.at) {
			return
		}
	}
}

// within makes costs no more than what the process used: how long programs run is
// measured by the clock, which goes on where they wait for a CPU.
func within(costs []time.Duration, used time.Duration) []time.Duration {
	if all := costs[0]; all > used {
		for i := range costs {
			costs[i] = time.Duration(float64(costs[i]) * float64(used) / float64(all))
		}
	}
	return costs
}

func (w *Watcher) takeLost() []Loss {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := w.lost
	w.lost = nil
	return lost
}

// note writes down that a window was watched.
func (w *Watcher) note(d *decider) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account.Windows++
	w.account.Peak = d.peak
	w.spared = append(w.spared, d.spared[:min(len(d.spared), maxLosses-len(w.spared))]...)
	d.spared = d.spared[:0]
}

// step does what was decided; last says that there is nothing left to watch.
func (w *Watcher) step(m *meter, next *decision, at time.Time) (last bool) {
	s := Step{Time: at, From: m.rungs[next.from], Share: next.share, Reason: next.reason, Detached: next.to == len(m.rungs)}
	var err error
	if s.Detached {
		// Before the probes go: what is looked at meanwhile must know.
		w.detached.Store(true)
		err = w.profiler.Detach()
	} else {
		s.To = m.rungs[next.to]
		err = w.profiler.TakeOff(m.functionsAbove(next.to)...)
	}
	if err != nil {
		w.fail(err)
	}
	w.mu.Lock()
	w.account.Steps = append(w.account.Steps, s)
	w.mu.Unlock()
	w.steps <- s
	return s.Detached
}

func (w *Watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trouble == nil && w.profiler.Process.Alive() {
		w.trouble = fmt.Errorf("guard BIRD from the cost of probes: %w", err)
	}
}
