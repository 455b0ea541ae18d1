// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestProcessAge(t *testing.T) {
	began := time.Now()
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	waitUntil(t, "a tenth of a second", func() bool { return time.Since(began) > 100*time.Millisecond })
	age, err := processAge(procfs, c.Process.Pid)
	// A tick is 10 ms.
	if longest := time.Since(began) + 10*time.Millisecond; err != nil || age <= 0 || age > longest {
		t.Errorf("%v, %v, want at most %v", age, err, longest)
	}
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, stat := range []string{"", "1 (x) S 1", "1 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 20", "1 (x"} {
		if err := os.WriteFile(filepath.Join(proc, "1/stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
		if age, err := processAge(proc, 1); err == nil {
			t.Errorf("%q: %v, want an error", stat, age)
		}
	}
}
