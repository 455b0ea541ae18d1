// SPDX-License-Identifier: Apache-2.0

package target_test

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/profiler/target"
)

func TestStopped(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := target.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, c := range []struct {
		signal unix.Signal
		want   bool
	}{{unix.SIGCONT, false}, {unix.SIGSTOP, true}, {unix.SIGCONT, false}} {
		unix.Kill(cmd.Process.Pid, c.signal)
		stopped := !c.want
		for deadline := time.Now().Add(20 * time.Second); stopped != c.want && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if stopped, err = p.Stopped(); err != nil {
				t.Fatal(err)
			}
		}
		if stopped != c.want {
			t.Errorf("after %v: stopped %v", c.signal, stopped)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if _, err := p.Stopped(); !errors.Is(err, target.ErrGone) {
		t.Errorf("after its end: %v", err)
	}
}
