// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"math/rand/v2"
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
	// Least and Most are what a hit costs, by the site: of those that a route
	// passes.
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
	// slowSlices is how many there are at most where it takes long to end one.
	slowSlices = 2
	// slicePoll is how often hits are read in a slice.
	slicePoll = 2 * time.Millisecond
	// restShare of a core: a process that uses less is at rest.
	restShare = 0.01
)

// saysLittle: the process did next to nothing, so that what it would cost under
// load is not told.
func (e *Estimate) saysLittle() bool { return e.BIRD < restShare }

// Ratio is how many times the CPU time of BIRD alone it would use with the
// probes of a mode.
func (e *Estimate) Ratio(m ModeCost) float64 {
	if e.BIRD <= 0 {
		return 1 // nothing is known
	}
	return 1 + m.Extra/e.BIRD
}

// slice is what was seen in one period.
type slice struct {
	hits []uint64 // by site, while they were counted
	took time.Duration
	cpu  time.Duration // of the process then
	cost time.Duration // of counting, which is a part of it
	// isCut: it was ended because of its cost.
	isCut bool
	// restTook is the time before and after it, restCPU what the process used
	// then.
	restTook, restCPU time.Duration
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
	if counter.IsSlow() {
		n = min(n, slowSlices)
	}
	period := d / time.Duration(n)
	all := make([]slice, n)
	begin := time.Now()
	for i := range all {
		s, most, until := &all[i], time.Duration(sliceShare*float64(period)), begin.Add(time.Duration(i)*period)
		// Somewhere in the period: what the process does may have periods, too.
		err := s.rest(ctx, p, until.Add(rand.N(period-most)))
		if err == nil {
			err = s.count(p, counter, pl.Sites, most, time.Duration(share*float64(period)))
		}
		if err == nil {
			err = s.rest(ctx, p, until.Add(period))
		}
		if err != nil {
			return nil, fmt.Errorf("estimate the cost of probes: %w", err)
		}
	}
	return estimate(pl, all, time.Since(begin)), nil
}

// count counts for at most most, until the hits have cost budget.
func (s *slice) count(p *target.Process, counter *bpf.HitCounter, sites []plan.Site, most, budget time.Duration) error {
	if err := counter.On(); err != nil {
		return err
	}
	before, err := counter.Hits()
	if err != nil {
		return err
	}
	cpu, err := p.CPUTime()
	if err != nil {
		return err
	}
	s.hits = make([]uint64, len(sites))
	for begin := time.Now(); !s.isCut && s.took < most; s.took = time.Since(begin) {
		time.Sleep(slicePoll)
		hits, err := counter.Hits()
		if err != nil {
			return err
		}
		s.cost = 0
		for i, site := range sites {
			s.hits[i] = hits[i] - before[i]
			s.cost += time.Duration(s.hits[i]) * countCost(site)
		}
		s.isCut = s.cost >= budget
	}
	now, err := p.CPUTime()
	if err != nil {
		return err
	}
	s.cpu = now - cpu
	return counter.Off()
}

// rest lets the process go on without probes until a time.
func (s *slice) rest(ctx context.Context, p *target.Process, end time.Time) error {
	cpu, err := p.CPUTime()
	if err != nil {
		return err
	}
	begin := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(end)):
	}
	now, err := p.CPUTime()
	s.restTook, s.restCPU = s.restTook+time.Since(begin), s.restCPU+now-cpu
	return err
}

// perSecond is how often in a second there is what was seen once in the slice. A
// slice that was cut met a burst, which says nothing of how many there are: then
// it is reckoned by the process's own CPU time, of which as much as in the rest
// of the period goes to the like.
func (s *slice) perSecond() float64 {
	const leastShare = 0.1 // of what was measured is the process's own
	if !s.isCut {
		return 1 / s.took.Seconds()
	}
	own := max(s.cpu-s.cost, time.Duration(leastShare*float64(s.cpu))).Seconds()
	if own <= 0 || s.restTook <= 0 {
		return 1 / s.took.Seconds()
	}
	return s.restCPU.Seconds() / s.restTook.Seconds() / own
}

// countCost is what counting a hit costs.
func countCost(s plan.Site) time.Duration {
	s.Return = false
	return s.Cost()
}

// isCommon says whether a route passes a site.
func isCommon(s plan.Site) bool {
	return s.Event != plan.BlockResized && (s.Event != plan.BlockAllocated || s.Function == "malloc")
}

// estimate sums up periods, each of which counts the same.
func estimate(pl *plan.Plan, all []slice, took time.Duration) *Estimate {
	e := &Estimate{Took: took}
	rates := make([]float64, len(pl.Sites)) // hits per second
	var restTook, restCPU time.Duration
	for i := range all {
		s := &all[i]
		weight := s.perSecond() / float64(len(all))
		for i, n := range s.hits {
			rates[i] += float64(n) * weight
		}
		e.Counted += s.took
		restTook, restCPU = restTook+s.restTook, restCPU+s.restCPU
	}
	if restTook > 0 {
		e.BIRD = restCPU.Seconds() / restTook.Seconds()
	}
	for _, o := range ladder(pl.Options) {
		m := ModeCost{Options: o}
		for i, site := range pl.Sites {
			if !o.Follows(site.Event) {
				continue
			}
			each := site.Cost() + programTime(site)
			if isCommon(site) && (m.Least == 0 || each < m.Least) {
				m.Least = each
			}
			if isCommon(site) {
				m.Most = max(m.Most, each)
			}
			m.HitsPerSecond += rates[i]
			m.Extra += rates[i] * each.Seconds()
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
	if len(e.Modes) == 0 {
		return s
	}
	for i, m := range e.Modes {
		if e.Modes[0].HitsPerSecond < 0.5 {
			s += " and passed no place of a probe"
			break
		}
		sep := "; "
		if i > 0 {
			sep = ", "
		}
		s += fmt.Sprintf("%s%s would take %s more (%.1f times BIRD's own) for %.0f hits/s", sep, m.Options, percent(m.Extra), e.Ratio(m), m.HitsPerSecond)
	}
	if e.saysLittle() {
		m := e.Modes[0]
		s += fmt.Sprintf("; little goes on, which does not tell of a flood: %s, of %.1f to %.1f us each",
			hitsPerRoute, m.Least.Seconds()*1e6, m.Most.Seconds()*1e6)
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
