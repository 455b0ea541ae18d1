// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// driver is one whose own ends may know which sessions broke.
type driver struct{ broken int }

func (*driver) Up(context.Context) error   { return nil }
func (*driver) Down(context.Context) error { return nil }
func (*driver) Routes() int64              { return 0 }
func (d *driver) Dropped() (int, error)    { return d.broken, errors.New("connection reset") }

// sessionStep is what happens between two observations.
type sessionStep struct {
	begin   session.Phase // that the driver or the command begins; "" for none
	ups     []string      // peers whose sessions BMP tells of
	downs   []string
	control map[string]bool // protocols that are up, by the control socket
	broken  int             // by the driver
}

func TestSessions(t *testing.T) {
	const a, b = "192.0.2.1", "192.0.2.2"
	up := sessionStep{begin: session.Flooding, ups: []string{a, b}}
	down := sessionStep{begin: session.Dropping, downs: []string{a, b}}
	causes := func(all ...report.Cause) []report.Cause { return all }
	own, dropped, followed, other := report.ByExperiment, report.Dropped, report.Followed, report.OtherPeer
	for _, c := range []struct {
		name       string
		pattern    string
		driver     *driver
		command    bool
		steps      []sessionStep
		ups, downs uint64
		dropped    uint64
		toldBy     string
		causes     []report.Cause
	}{
		{name: "a driver takes all down", driver: &driver{}, toldBy: "bmp", ups: 4, downs: 4,
			steps: []sessionStep{up, down, up, down}, causes: causes(own, own, own, own)},
		{name: "BMP tells of it late", driver: &driver{}, toldBy: "bmp", ups: 4, downs: 4,
			steps: []sessionStep{{begin: session.Flooding}, {begin: session.Dropping}, {begin: session.Flooding}, {ups: []string{a, b}, downs: []string{a, b}},
				{begin: session.Dropping}, {ups: []string{a, b}}, {downs: []string{a, b}}}, causes: causes(own, own, own, own)},
		{name: "one breaks", driver: &driver{}, toldBy: "bmp", ups: 4, downs: 4, dropped: 1,
			steps: []sessionStep{up, {downs: []string{a}}, {begin: session.Dropping, downs: []string{b}}, up, down}, causes: causes(dropped, own, own, own)},
		{name: "one breaks, and the next cycle has no excuse for it", driver: &driver{}, toldBy: "bmp", ups: 4, downs: 4, dropped: 2,
			steps:  []sessionStep{up, {downs: []string{a}}, {begin: session.Dropping, downs: []string{b}}, up, {downs: []string{a}}, {begin: session.Dropping, downs: []string{b}}},
			causes: causes(dropped, own, dropped, own)},
		{name: "one flaps", driver: &driver{}, toldBy: "bmp", ups: 3, downs: 3, dropped: 1,
			steps: []sessionStep{up, {downs: []string{a}, ups: []string{a}}, down}, causes: causes(dropped, own, own)},
		{name: "the driver's own ends tell", driver: &driver{}, toldBy: "speakers", downs: 2, dropped: 2,
			steps: []sessionStep{{begin: session.Flooding}, {begin: session.Flooded, broken: 2}, {begin: session.Dropping, broken: 3}}, causes: causes(dropped, dropped)},
		{name: "the driver's own ends tell what BMP does not", driver: &driver{}, toldBy: "bmp", ups: 2, downs: 3, dropped: 2,
			steps:  []sessionStep{{begin: session.Flooding, ups: []string{a, b}, downs: []string{a}, broken: 1}, {begin: session.Flooded, broken: 2}, {begin: session.Dropping, downs: []string{b}}},
			causes: causes(dropped, dropped, own)},
		{name: "a command", command: true, toldBy: "bmp", ups: 1, downs: 2, dropped: 1,
			steps: []sessionStep{{begin: session.Running, downs: []string{a}, ups: []string{a}}, {begin: session.Settled, downs: []string{b}}}, causes: causes(own, dropped)},
		{name: "followed", toldBy: "bmp", ups: 2, downs: 2,
			steps: []sessionStep{{ups: []string{a, b}}, {downs: []string{a, b}}}, causes: causes(followed, followed)},
		{name: "other peers", pattern: "192.0.2.1", toldBy: "bmp", ups: 1, downs: 1,
			steps: []sessionStep{{ups: []string{a, b}}, {downs: []string{b, a}}}, causes: causes(other, followed)},
		{name: "the control socket tells", toldBy: "control socket", ups: 1, downs: 2,
			steps:  []sessionStep{{control: map[string]bool{"r1": true}}, {control: map[string]bool{}}, {control: map[string]bool{"r2": true}}, {control: map[string]bool{}}},
			causes: causes(followed, followed)},
		{name: "nobody tells", steps: []sessionStep{{}, {}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1_000_000_000, 0)
			r := &run{peers: newPeers(c.pattern)}
			if c.driver != nil {
				r.Driver = c.driver
			}
			if c.command {
				r.Command = func(context.Context) error { return nil }
			}
			r.Session.Driven = c.driver != nil || c.command
			r.machine = session.NewMachine(r.Session, now)
			r.byBMP = c.toldBy == "bmp"
			for _, s := range c.steps {
				now = now.Add(time.Second)
				if s.begin != "" {
					if s.begin == session.Flooded || s.begin == session.Settled {
						r.machine.Mark(s.begin, now)
					} else {
						r.machine.Begin(s.begin, 0, now)
					}
				}
				for _, peer := range s.downs {
					r.peers.changes = append(r.peers.changes, change{peer: peer, at: now, downs: 1})
				}
				for _, peer := range s.ups {
					r.peers.changes = append(r.peers.changes, change{peer: peer, at: now, ups: 1, isUp: true})
				}
				if s.control != nil {
					r.protocols, r.protocolsAt = s.control, now
				}
				if c.driver != nil {
					c.driver.broken = s.broken
				}
				r.sessions.observe(r, now)
			}
			got := r.sessions.result(r)
			if got == nil {
				if c.toldBy != "" {
					t.Fatal("nobody tells")
				}
				return
			}
			var list []report.Cause
			for _, d := range got.Down {
				list = append(list, d.Cause)
			}
			if got.ToldBy != c.toldBy || got.Ups != c.ups || got.Downs != c.downs || got.Dropped != c.dropped || !reflect.DeepEqual(list, c.causes) {
				t.Errorf("%s tells of %d up, %d down, %d dropped: %v; want %s, %d, %d, %d: %v",
					got.ToldBy, got.Ups, got.Downs, got.Dropped, list, c.toldBy, c.ups, c.downs, c.dropped, c.causes)
			}
			if uint64(len(got.Down)) != got.Downs+got.OtherDowns {
				t.Errorf("%d are listed of %d", len(got.Down), got.Downs+got.OtherDowns)
			}
		})
	}
}
