// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// DefaultCounting is for how long hits are counted before attaching.
const DefaultCounting = 10 * time.Second

// Estimate is what it would cost a process to be followed, by how often it
// passed the sites of the plan for a while.
type Estimate struct {
	// Took is for how long the process was looked at, and Counted in how much of
	// that hits were counted.
	Took, Counted time.Duration
	// BIRD is how much of one core the process used, without the counting.
	BIRD float64
	// Modes are what was asked for, and all that is cheaper, the cheapest last.
	Modes []ModeCost
}

// ModeCost is what a mode would cost a process that goes on as it did.
type ModeCost struct {
	Options plan.Options
	// HitsPerSecond counts calls: one whose return is probed as well is one.
	HitsPerSecond float64
	// Extra is how much of one core the probes would take.
	Extra float64
	// Least and Most are what a hit costs, by the site.
	Least, Most time.Duration
}

const (
	// slicePeriod is how often hits are counted, sliceShare for what part of
	// that time at most.
	slicePeriod = time.Second
	sliceShare  = 0.2
	// countingShare of a core is what counting may cost meanwhile: a slice ends
	// when its hits have cost that. With a limit it is less.
	countingShare = 0.02
	// slicePoll is how often hits are read in a slice.
	slicePoll = 2 * time.Millisecond
	// restShare of a core: a process that uses less is at rest.
	restShare = 0.01
)

// IsAtRest says that the process did next to nothing, so that what it costs
// under load is not known.
func (e *Estimate) IsAtRest() bool { return e.BIRD < restShare }

// Ratio is how many times the CPU time of BIRD alone it would use with the
// probes of a mode.
func (e *Estimate) Ratio(m ModeCost) float64 {
	if e.BIRD <= 0 {
		return 1
	}
	return 1 + m.Extra/e.BIRD
}

// seen is what was seen while hits were counted.
type seen struct {
	took, counted time.Duration
	cpu           time.Duration // of the process, over all the time
	counting      time.Duration // of that, while hits were counted
	hits          []uint64      // then, by site
	cost          time.Duration // of counting them
}

// Count counts hits of a plan's sites for a while, in short slices, and tells
// what it would cost to attach. limit is how much of one core attaching may cost
// (0: no limit); counting costs 2 % of a core at most, and half of the limit.
func Count(ctx context.Context, p *target.Process, pl *plan.Plan, d time.Duration, limit float64, mode bpf.AttachMode) (*Estimate, error) {
	counter, err := bpf.NewHitCounter(p.PID, pl.Sites, mode)
	if err != nil {
		return nil, err
	}
	defer counter.Close()
	share := countingShare
	if limit > 0 {
		share = min(share, limit/2)
	}
	n := max(int(d/slicePeriod), 1)
	period := d / time.Duration(n)
	s := seen{hits: make([]uint64, len(pl.Sites))}
	begin := time.Now()
	cpu, err := p.CPUTime()
	if err != nil {
		return nil, err
	}
	for i := range n {
		if err := s.count(p, counter, pl.Sites, time.Duration(sliceShare*float64(period)), time.Duration(share*float64(period))); err != nil {
			return nil, fmt.Errorf("estimate the cost of probes: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(begin.Add(time.Duration(i+1) * period))):
		}
	}
	now, err := p.CPUTime()
	if err != nil {
		return nil, err
	}
	s.took, s.cpu = time.Since(begin), now-cpu
	return s.estimate(pl), nil
}

// count counts in one slice of at most most, until the hits have cost budget.
func (s *seen) count(p *target.Process, counter *bpf.HitCounter, sites []plan.Site, most, budget time.Duration) error {
	if err := counter.On(); err != nil {
		return err
	}
	before, err := counter.Hits()
	if err != nil {
		return err
	}
	begin := time.Now()
	cpu, err := p.CPUTime()
	if err != nil {
		return err
	}
	var hits []uint64
	var cost time.Duration
	for cost < budget && time.Since(begin) < most {
		time.Sleep(slicePoll)
		if hits, err = counter.Hits(); err != nil {
			return err
		}
		cost = 0
		for i, site := range sites {
			cost += time.Duration(hits[i]-before[i]) * countCost(site)
		}
	}
	now, err := p.CPUTime()
	if err != nil {
		return err
	}
	for i := range hits {
		s.hits[i] += hits[i] - before[i]
	}
	s.counted, s.counting, s.cost = s.counted+time.Since(begin), s.counting+now-cpu, s.cost+cost
	return counter.Off()
}

// countCost is what counting a hit costs.
func countCost(s plan.Site) time.Duration {
	s.Return = false
	return s.Cost()
}

// estimate reckons by the process's own CPU time: what it does in a second of
// that it does in the slices as elsewhere, and slices that were ended for their
// cost are those in which it did much.
func (s *seen) estimate(pl *plan.Plan) *Estimate {
	const leastShare = 0.1 // of what was measured is the process's own
	own := max(s.cpu-s.cost, time.Duration(leastShare*float64(s.cpu)))
	ownCounting := max(s.counting-s.cost, time.Duration(leastShare*float64(s.counting)))
	e := &Estimate{Took: s.took, Counted: s.counted, BIRD: own.Seconds() / s.took.Seconds()}
	// How often in a second there is what was seen once in the slices.
	perSecond := 0.0
	if ownCounting > 0 {
		perSecond = own.Seconds() / ownCounting.Seconds() / s.took.Seconds()
	}
	for _, o := range ladder(pl.Options) {
		m := ModeCost{Options: o}
		for i, site := range pl.Sites {
			if !o.Follows(site.Event) {
				continue
			}
			each := site.Cost() + programTime(site)
			if m.Least == 0 || each < m.Least {
				m.Least = each
			}
			m.Most = max(m.Most, each)
			m.HitsPerSecond += float64(s.hits[i]) * perSecond
			m.Extra += float64(s.hits[i]) * perSecond * each.Seconds()
		}
		e.Modes = append(e.Modes, m)
	}
	return e
}

// hitsPerRoute is how many hits a route brings that is announced and withdrawn
// once, with BMP: in BIRD 3.1.7, 3.4 and 2.19.2 there were 3.0 to 4.2, and 0.2 to
// 1.3 in pages; in 2.13, where BMP takes blocks for each route, 12.1 and 8.1.
const hitsPerRoute = "3 to 12 hits per route in exact, up to 8 in pages"

// String says it in one line.
func (e *Estimate) String() string {
	s := fmt.Sprintf("in %s BIRD used %s of a core", e.Took.Round(100*time.Millisecond), percent(e.BIRD))
	if e.IsAtRest() {
		m := e.Modes[0]
		return s + fmt.Sprintf(": it is at rest, and what it costs under load is not known: %.1f to %.1f us per hit; %s",
			m.Least.Seconds()*1e6, m.Most.Seconds()*1e6, hitsPerRoute)
	}
	for i, m := range e.Modes {
		sep := "; "
		if i > 0 {
			sep = ", "
		}
		s += fmt.Sprintf("%s%s would take %s more (%.2f times BIRD's own) for %.0f hits/s", sep, m.Options, percent(m.Extra), e.Ratio(m), m.HitsPerSecond)
	}
	return s
}

// Fitting returns the first of the modes that takes no more than a limit, which
// is in cores; ok is false if none does.
func (e *Estimate) Fitting(limit float64) (i int, ok bool) {
	for i, m := range e.Modes {
		if m.Extra <= limit {
			return i, true
		}
	}
	return 0, false
}
