// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"leakprof/collector/bmp"
	"leakprof/profiler/report"
)

// sendQueue is the class of the pages in which a BIRD keeps what a station has
// not read yet.
const sendQueue = "BMP TX buffers"

// queued is how much of a phase's live memory is BMP's, in bytes.
func queued(p *report.DocumentPhase) (bytes uint64) {
	for _, l := range p.Live {
		if l.Pool != nil && strings.HasPrefix(*l.Pool, "Root/Protocols/bmp1") {
			bytes += l.Bytes
		}
	}
	return bytes
}

// TestStationStalls: what BIRD keeps for a station that does not read is held,
// and it says by whom; it is no growth, and gone once the station reads again.
func TestStationStalls(t *testing.T) {
	for _, name := range []string{"bird2-sid", "bird3-trixie"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out")
			got := start(t, "lab", "--bird", birdPath(t, name), "--station", "stall@flooding", "--routes", "20000", "--cycles", "2", "--settle", "300ms",
				"--limit", "1m", "--fail-on-retained", "256k", "--out", out).wait()
			if got.status != exitDone {
				t.Fatalf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
			}
			d := readReport(t, out)
			t.Log(d.VerdictSentence)
			if d.Verdict != report.Held || !strings.Contains(d.VerdictSentence, "while the station did not read") || !strings.Contains(d.VerdictSentence, " by Memory in Root/Protocols") {
				t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
			}
			var held int64
			for _, s := range d.Stacks {
				if s.Resource != sendQueue {
					continue
				}
				held += s.Bytes
				if s.Class != "held" || len(s.HeldBy) == 0 {
					t.Errorf("%d bytes of the queue are %s by %v: %s", s.Bytes, s.Class, s.HeldBy, s.WhyUnknown)
				}
			}
			if through := checkSources(t, birdPath(t, name), out); through["proto/bmp/"] == 0 {
				t.Errorf("no retained stack goes through BMP: %v", through)
			}
			if held < 256<<10 {
				t.Errorf("%d bytes of the queue are retained", held)
			}
			var names []string
			for i := range d.Phases {
				p := &d.Phases[i]
				names = append(names, p.Name)
				downs := p.BMPCounts[bmp.TypePeerDown.String()]
				switch p.Name {
				case "settled":
					if n := queued(p); n < 256<<10 || downs > uint64(4*(p.Cycle-1)) {
						t.Errorf("settled in cycle %d with %d bytes of BMP's, %d Peer Downs read: the station reads", p.Cycle, n, downs)
					}
				case "resumed":
					if n := queued(p); n > 64<<10 || downs != uint64(4*p.Cycle) {
						t.Errorf("after cycle %d %d bytes are BMP's, %d Peer Downs read: BIRD has not sent all", p.Cycle, n, downs)
					}
				}
			}
			if got, want := strings.Join(names, " "), "baseline"+strings.Repeat(" flooding flooded dropping settled resumed", 2); got != want {
				t.Errorf("phases %s, want %s", got, want)
			}
		})
	}
}

// TestStationNeverReads: a queue that grows in every cycle fails the check, and
// is no leak all the same.
func TestStationNeverReads(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, "bird2-sid"), "--station", "stall", "--routes", "10000", "--cycles", "3", "--settle", "300ms",
		"--limit", "1m", "--fail-on-retained", "256k", "--out", out).wait()
	if got.status != exitRetained || !strings.Contains(got.stderr, "in cycle 2") {
		t.Errorf("exit status %d\n%s\n%s", got.status, got.stderr, got.stdout)
	}
	d := readReport(t, out)
	if last := &d.Phases[len(d.Phases)-1]; d.Verdict != report.Held || last.Name != "resumed" || queued(last) > 64<<10 {
		t.Errorf("verdict %s: %s; at the end of %s %d bytes are BMP's", d.Verdict, d.VerdictSentence, last.Name, queued(last))
	}
}

// TestStationCloses: BIRD drops what it wanted to say to a station that goes
// away.
func TestStationCloses(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, "bird2-sid"), "--station", "close@flooded", "--routes", "2000", "--cycles", "1", "--settle", "300ms", "--limit", "1m", "--out", out).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	var notes strings.Builder
	for _, n := range d.Notes {
		notes.WriteString(n.Text + "\n")
	}
	if d.Verdict != report.Clean || !strings.Contains(notes.String(), "the BMP connection ended") {
		t.Errorf("verdict %s: %s; notes:\n%s", d.Verdict, d.VerdictSentence, notes.String())
	}
}

// TestBoundedStart: a BIRD that cannot be worked with in time is an error that
// says what was waited for.
func TestBoundedStart(t *testing.T) {
	t.Parallel()
	got := start(t, "lab", "--bird", birdPath(t, "bird2-sid"), "--attach=false", "--cycle-exec", "true", "--peers", "200", "--routes", "1", "--limit", "30ms", "--out", t.TempDir()).wait()
	if got.status != exitError || !strings.Contains(got.stderr, "not done after 30ms (--limit)") {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
}
