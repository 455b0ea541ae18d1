// SPDX-License-Identifier: Apache-2.0

package target

import (
	"os/exec"
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	began := time.Now()
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	p, err := Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for time.Since(began) <= 100*time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	age, err := p.Age()
	// A tick is 10 ms.
	if longest := time.Since(began) + 10*time.Millisecond; err != nil || age <= 0 || age > longest {
		t.Errorf("%v, %v, want at most %v", age, err, longest)
	}
}

func TestParseStat(t *testing.T) {
	for _, text := range []string{"", "1 (x) S 1", "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 20", "1 (x"} {
		if s, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: %v, want an error", text, s)
		}
	}
	s, err := parseStat([]byte("1 (a) b) T 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 250 20"))
	if want := (stat{"T", 2500 * time.Millisecond}); err != nil || s != want {
		t.Errorf("%v, %v, want %v", s, err, want)
	}
}
