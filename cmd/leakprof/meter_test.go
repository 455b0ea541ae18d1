// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestServeMeter: it measures from "on" to whatever comes next, and answers each
// line with one.
func TestServeMeter(t *testing.T) {
	refused := errors.New("not\npermitted")
	for _, c := range []struct {
		name, in, out string
		starts, stops error
		did           string // "+" for each start, "-" for each end
		fails         bool
	}{
		{"nothing", "", "", nil, nil, "", false},
		{"on and off", "on\noff\n", "ok\nok\n", nil, nil, "+-", false},
		{"the input ends", "on\n", "ok\n", nil, nil, "+-", false},
		{"twice", "on\non\noff\noff\n", "ok\nok\nok\nok\n", nil, nil, "+-+-", false},
		{"refused", "on\noff\n", "not; permitted\nok\n", refused, nil, "", false},
		{"does not end", "on\noff\noff\n", "ok\nnot; permitted\nok\n", nil, refused, "+-", false},
		{"nonsense ends it", "on\nup\n", "ok\nread line: \"up\" is not on or off\n", nil, nil, "+-", false},
		{"too long", "on\n" + strings.Repeat("x", maxMeterLine+1) + "\n", "ok\n", nil, nil, "+-", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			did := ""
			measure := func() (io.Closer, error) {
				if c.starts != nil {
					return nil, c.starts
				}
				did += "+"
				return closerFunc(func() error {
					did += "-"
					return c.stops
				}), nil
			}
			var out strings.Builder
			err := serveMeter(strings.NewReader(c.in), &out, measure)
			if out.String() != c.out || did != c.did || (err != nil) != c.fails {
				t.Errorf("answers %q and does %q, %v; want %q, %q", out.String(), did, err, c.out, c.did)
			}
		})
	}
}

// TestServeMeterNobodyReads: it ends, and measuring with it, when nobody takes
// its answers.
func TestServeMeterNobodyReads(t *testing.T) {
	read, write := io.Pipe()
	read.Close()
	on := false
	err := serveMeter(strings.NewReader("on\noff\n"), write, func() (io.Closer, error) {
		on = true
		return closerFunc(func() error { on = false; return nil }), nil
	})
	if !errors.Is(err, io.ErrClosedPipe) || on {
		t.Errorf("got %v, measuring %v", err, on)
	}
}

// TestMeterAnswer: an error is one line that whoever asked can read whole, however
// long it is, and so is the next.
func TestMeterAnswer(t *testing.T) {
	for _, length := range []int{0, 1, maxMeterAnswer - 2, maxMeterAnswer - 1, maxMeterAnswer, 10 * maxMeterAnswer} {
		in, tell := io.Pipe()
		answers, out := io.Pipe()
		long := errors.New(strings.Repeat("ä", length/2) + strings.Repeat("\n", length%2))
		go func() {
			serveMeter(in, out, func() (io.Closer, error) { return nil, long })
			out.Close()
		}()
		m := &meter{in: tell, answers: bufio.NewScanner(answers)}
		m.answers.Buffer(nil, maxMeterAnswer)
		_, err := m.measure()
		if err == nil || !utf8.ValidString(err.Error()) || length > 10 && !strings.HasPrefix(err.Error(), "ääää") {
			t.Errorf("%d bytes: %.100v", length, err)
		}
		if err := m.tell("off"); err != nil {
			t.Errorf("after %d bytes: %v", length, err)
		}
		tell.Close()
		if err := m.tell("on"); err == nil {
			t.Error("an answer after the end")
		}
	}
}
