// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// made are sessions and CPU time as a driven run has them.
var (
	madeSessions = Sessions{ToldBy: "bmp", Driven: true, Ups: 8, Downs: 9, Dropped: 1, Down: []Down{
		{Time: noon, Peer: "127.0.0.2", Protocol: "peer1", Phase: "flooded", Cycle: 1, Reason: "Remote system closed, no data", Cause: Dropped},
		{Time: noon.Add(time.Minute), Peer: "127.0.0.3", Protocol: "peer2", Phase: "dropping", Cycle: 1, Cause: ByExperiment},
	}}
	madeOverhead = Overhead{BIRD: 10 * time.Second, Hits: 1_000_000, Probes: 3 * time.Second, Sampled: 12_345, Functions: []FunctionHits{{"mb_alloc", 700_000, 700_000}, {"mb_free", 300_000, 0}}}
	noon         = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func TestSessionsSentence(t *testing.T) {
	with := func(f func(*Sessions)) *Sessions {
		s := madeSessions
		f(&s)
		return &s
	}
	down := func(cause Cause, n int) (all []Down) {
		for i := range n {
			all = append(all, Down{Time: noon.Add(time.Duration(i) * time.Second), Peer: "192.0.2.1", Cause: cause})
		}
		return all
	}
	for name, c := range map[string]struct {
		sessions *Sessions
		want     string
	}{
		"nobody told": {nil, "nobody told of BGP sessions: neither BMP nor a control socket"},
		"dropped":     {&madeSessions, "8 up and 9 down, 1 DROPPED, not by the experiment: 127.0.0.2 (peer1) at 12:00:00 in flooded of cycle 1, Remote system closed, no data"},
		"none dropped": {with(func(s *Sessions) { s.Downs, s.Dropped, s.Down = 8, 0, nil }),
			"8 up and 8 down by the experiment, none dropped otherwise"},
		"speakers": {&Sessions{ToldBy: "speakers", Driven: true}, "none dropped but by the experiment, as its speakers saw it"},
		"speakers that lost one": {&Sessions{ToldBy: "speakers", Driven: true, Downs: 1, Dropped: 1, Down: down(Dropped, 1)},
			"1 DROPPED, not by the experiment: 192.0.2.1 at 12:00:00 in "},
		"a station that was not there": {&Sessions{ToldBy: "bmp", Driven: true, Ups: 4}, "BIRD told the station of 4 up and 0 down; none dropped but by the experiment"},
		"a command":                    {&Sessions{ToldBy: "control socket", Driven: true}, "BIRD told of 0 up and 0 down; none dropped but by the experiment"},
		"followed": {&Sessions{ToldBy: "bmp", Ups: 1, Downs: 5, Down: down(Followed, 5)},
			"1 up and 5 down, which the phases are made of: 192.0.2.1 at 12:00:02, 192.0.2.1 at 12:00:03, 192.0.2.1 at 12:00:04 and 2 before"},
		"nothing happened": {&Sessions{ToldBy: "control socket"}, "none came or went"},
		"only up":          {&Sessions{ToldBy: "bmp", Ups: 2}, "2 up and 0 down"},
		"other peers": {&Sessions{ToldBy: "bmp", OtherUps: 3, OtherDowns: 1, Down: down(OtherPeer, 1)},
			"none came or went; of other peers, as noise, 3 up and 1 down: 192.0.2.1 at 12:00:00"},
		"hostile": {&Sessions{ToldBy: "bmp", Driven: true, Downs: 1, Dropped: 1, Down: []Down{{Time: noon, Peer: "\x1b[1m", Protocol: "\u202e", Cause: Dropped}}},
			"0 up and 1 down, 1 DROPPED, not by the experiment: ?[1m (?) at 12:00:00 in "},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newSessions(c.sessions).sentence(false); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	intervals := &Sessions{ToldBy: "bmp", Ups: 1, Downs: 1, Down: down(Followed, 1)}
	if got, want := newSessions(intervals).sentence(true), "1 up and 1 down: 192.0.2.1 at 12:00:00"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOverheadSentence(t *testing.T) {
	for want, o := range map[string]Overhead{
		"about 3.0 s of BIRD's 10.0 s CPU time (30%) went to probes: 1,000,000 hits, 3.0 us each; estimated by what an empty probe costs and by 12,345 sampled runs": madeOverhead,
		"about 1.0 s of BIRD's 10.0 s CPU time (10%) went to probes: 10 hits, 100000.0 us each; estimated by what an empty probe costs, so it is more":               {BIRD: 10 * time.Second, Hits: 10, Probes: time.Second},
		"none: no probe was hit; BIRD used 10.0 s of CPU time": {BIRD: 10 * time.Second},
	} {
		if got := newOverhead(&o).sentence(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestFirstScreenAgain: a report that is read again says the same of sessions
// and CPU time, and the RSS comes last.
func TestFirstScreenAgain(t *testing.T) {
	r := leak()
	r.Sessions, r.Overhead = &madeSessions, &madeOverhead
	d := NewDocument(r)
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ReadJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	want, got := d.facts(true), again.facts(true)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read again the facts are\n%v, want\n%v", got, want)
	}
	said := make(map[string]string)
	for _, f := range got {
		said[f.Label] += f.Text
	}
	if said["Sessions"] != d.Sessions.sentence(false) || said["Overhead"] != d.Overhead.sentence() {
		t.Errorf("the facts do not have sessions or CPU time: %v", got)
	}
	if last := got[len(got)-1]; last.Label != "RSS" {
		t.Errorf("%s comes last, not the RSS", last.Label)
	}
}
