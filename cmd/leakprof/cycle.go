// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// cycleCommand runs --cycle-exec's command once for each cycle. It knows the
// BIRD by its environment.
func cycleCommand(line string, pid int, socket string) func(context.Context) error {
	cycle := 0
	return func(ctx context.Context) error {
		cycle++
		c := exec.CommandContext(ctx, "/bin/sh", "-c", line)
		c.Env = append(os.Environ(), "LEAKPROF_PID="+strconv.Itoa(pid), "LEAKPROF_CYCLE="+strconv.Itoa(cycle), "LEAKPROF_SOCKET="+socket)
		c.WaitDelay = time.Second // for what it leaves running with our pipe
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("run --cycle-exec %q in cycle %d: %w%s", line, cycle, err, lastWords(out))
		}
		return nil
	}
}

// lastWords is the last line that a command wrote, as the end of a sentence.
func lastWords(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := lines[len(lines)-1]
	if last == "" {
		return ""
	}
	return fmt.Sprintf(": %.200s", last)
}
