// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// waiting is a driver for which a BIRD does not do what it should.
type waiting struct{ up, down func(context.Context) error }

func (w waiting) Up(ctx context.Context) error   { return w.up(ctx) }
func (w waiting) Down(ctx context.Context) error { return w.down(ctx) }
func (waiting) Routes() int64                    { return 0 }
func (waiting) Doing() string                    { return "waiting for peer 1" }

// TestDriverIsBounded: what does not come to an end within the limit ends the
// experiment, with a result that says what it was.
func TestDriverIsBounded(t *testing.T) {
	const limit = 200 * time.Millisecond
	done := func(context.Context) error { return nil }
	forever := func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("bring up peer 1: %w\nbring up peer 2: %w", context.Cause(ctx), context.Cause(ctx))
	}
	killed := func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("signal: killed")
	}
	for name, c := range map[string]struct {
		driver  Driver
		command func(context.Context) error
		want    string
	}{
		"up":      {waiting{forever, done}, nil, "incomplete: speakers sending: bring up peer 1: not done after 200ms;"},
		"down":    {waiting{done, forever}, nil, "incomplete: sessions going down: bring up peer 1: not done after 200ms;"},
		"command": {nil, killed, "incomplete: the command of the cycle: not done after 200ms: signal: killed;"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := target.Open(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			var shown atomic.Bool
			res, err := Run(t.Context(), Config{
				Process: p, Driver: c.driver, Command: c.command, Cycles: 2,
				Status: func(s Status) {
					if s.Waiting == "waiting for peer 1" || s.Waiting == "the command of the cycle" {
						shown.Store(true)
					}
				},
				Session: session.Options{Settle: 20 * time.Millisecond, Limit: limit},
			})
			if err != nil {
				t.Fatal(err)
			}
			if !shown.Load() {
				t.Error("the status never said what the driver was at")
			}
			if res.Verdict.Kind != report.Incomplete || !strings.HasPrefix(res.Verdict.Sentence, c.want) {
				t.Errorf("verdict %s: %q, want %q", res.Verdict.Kind, res.Verdict.Sentence, c.want)
			}
		})
	}
}

// TestJudgeStuck: a driver that did not come to its end makes the answer
// incomplete, unless there was a leak already.
func TestJudgeStuck(t *testing.T) {
	r := &run{stuck: "speakers sending: not done after 1m"}
	for kind, want := range map[report.VerdictKind]report.VerdictKind{report.Clean: report.Incomplete, report.Held: report.Incomplete, report.Leak: report.Leak} {
		v := report.Verdict{Kind: kind, Sentence: string(kind) + ": x"}
		r.judgeStuck(&v)
		if v.Kind != want || !strings.HasPrefix(v.Sentence, string(want)+": ") || !strings.Contains(v.Sentence, r.stuck) {
			t.Errorf("%s becomes %s: %q, want %s", kind, v.Kind, v.Sentence, want)
		}
	}
	v := report.Verdict{Kind: report.Clean, Sentence: "x"}
	if new(run).judgeStuck(&v); v.Kind != report.Clean || v.Sentence != "x" {
		t.Errorf("nothing was stuck, and the verdict is %+v", v)
	}
}
