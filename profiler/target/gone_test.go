// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"

	"leakprof/profiler/target"
)

// TestExplain: what fails with a process that has ended fails for that.
func TestExplain(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := target.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Explain(io.EOF); err != io.EOF {
		t.Errorf("while it runs: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	gone := fmt.Errorf("read: %w", target.ErrGone)
	for _, c := range []struct{ err, want error }{{io.EOF, target.ErrGone}, {io.EOF, io.EOF}, {gone, target.ErrGone}} {
		if err := p.Explain(c.err); !errors.Is(err, c.want) {
			t.Errorf("%v is explained as %v, want %v", c.err, err, c.want)
		}
	}
	if err := p.Explain(gone); err != gone {
		t.Errorf("it is said twice: %v", err)
	}
	if err := p.Explain(nil); err != nil {
		t.Errorf("no error is explained as %v", err)
	}
}

// TestOpenEnded: a process that has ended and was not waited for has a pid, and
// no executable.
func TestOpenEnded(t *testing.T) {
	cmd := exec.Command("true")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	io.Copy(io.Discard, out) // until it has closed its files, just before its end
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		p, err := target.Open(cmd.Process.Pid)
		if errors.Is(err, target.ErrGone) {
			return
		}
		if err == nil {
			p.Close()
		}
		if time.Now().After(deadline) {
			t.Fatalf("opened a process that has ended: %v", err)
		}
	}
}
