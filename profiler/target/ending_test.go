// SPDX-License-Identifier: Apache-2.0

package target

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEnding: a kernel since 6.15 tells how a process ended, an older one that
// it did.
func TestEnding(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"read x; exit 0", "exited with status 0"},
		{"read x; exit 3", "exited with status 3"},
		{"read x; kill -SEGV $$", "was killed by SIGSEGV"},
		{"read x; kill -40 $$", "was killed by signal 40"},
	} {
		other := exec.Command("sh", "-c", c.script)
		in, err := other.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		p, err := Open(other.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		other.Wait()
		if got := p.Ending(); got != c.want && got != "ended" {
			t.Errorf("%s: %q, want %q", c.script, got, c.want)
		}
		p.Close()
	}
	for status, want := range map[unix.WaitStatus]string{0x0100: "exited with status 1", 0x8b: "was killed by SIGSEGV", 9: "was killed by SIGKILL", 34: "was killed by signal 34", 0x137f: "ended"} {
		if got := ending(status); got != want {
			t.Errorf("0x%x: %q, want %q", status, got, want)
		}
	}
}
