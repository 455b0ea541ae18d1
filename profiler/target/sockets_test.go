// SPDX-License-Identifier: Apache-2.0

package target

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestHasSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	for _, c := range []struct {
		name string
		pid  int
		path string
		want bool
	}{
		{"ours", os.Getpid(), path, true},
		{"another path", os.Getpid(), path + "x", false},
		{"another process", other.Process.Pid, path, false},
	} {
		p, err := Open(c.pid)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if got, err := p.HasSocket(c.path); err != nil || got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}
