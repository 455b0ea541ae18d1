// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"leakprof/profiler/plan"
)

// HitCounter counts how often a process passes the sites of a plan, while it is
// on, by a program that does nothing else. It is for one goroutine.
type HitCounter struct {
	objects countObjects
	pid     int
	sites   int
	multi   bool
	groups  []*group // one for each file
	links   []link.Link
}

// NewHitCounter loads the program for a process and a plan's sites; nothing is
// probed yet.
func NewHitCounter(pid int, sites []plan.Site, mode AttachMode) (*HitCounter, error) {
	spec, err := loadCount()
	if err != nil {
		return nil, fmt.Errorf("read BPF object: %w", err)
	}
	c := &HitCounter{pid: pid, sites: len(sites), multi: PlacesMulti(mode)}
	if !c.multi {
		for _, p := range spec.Programs {
			p.AttachType = ebpf.AttachNone
		}
	}
	spec.Maps[countMapCounts].MaxEntries = uint32(max(len(sites), 1))
	if err := spec.LoadAndAssign(&c.objects, nil); err != nil {
		return nil, fmt.Errorf("load BPF program that counts: %w", explain(err, false))
	}
	for i, s := range sites {
		if err := c.add(s, uint64(i)); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

func (c *HitCounter) add(s plan.Site, cookie uint64) error {
	path, err := s.Module.AttachPath()
	if err != nil {
		return err
	}
	offset, err := s.Module.FileOffset(s.Address + s.Offset)
	if err != nil {
		return err
	}
	addTo(&c.groups, group{path: path, program: c.objects.CountHit}, offset, cookie)
	return nil
}

// On places the probes.
func (c *HitCounter) On() error {
	for _, g := range c.groups {
		links, err := placeGroup(c.pid, g, c.multi)
		c.links = append(c.links, links...)
		if err != nil {
			return errors.Join(fmt.Errorf("attach probes that count: %w", explain(err, !c.multi)), c.Off())
		}
	}
	return nil
}

// Off removes the probes. The kernel waits for each perf event when it is
// closed, so all are closed at once.
func (c *HitCounter) Off() error {
	err := closeAll(c.links)
	c.links = nil
	return err
}

// Hits reads how often each site was passed so far, in their order.
func (c *HitCounter) Hits() ([]uint64, error) {
	hits, err := sums(c.objects.Counts)
	if err != nil {
		return nil, err
	}
	return hits[:c.sites], nil // of no site the map has room for one
}

// IsSlow says that probes are perf events, each of which waits for the kernel when
// it is closed: turning them off takes up to seconds.
func (c *HitCounter) IsSlow() bool { return !c.multi }

// Close removes the probes and unloads the program.
func (c *HitCounter) Close() error { return errors.Join(c.Off(), c.objects.Close()) }
