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

	"leakprof/profiler/target"
)

// handedSocket is the file descriptor by which a cycle's command has a socket
// that is in the process's root: the first of those that are handed on (ExtraFiles).
const handedSocket = "/proc/self/fd/3"

// cycleCommand runs --cycle-exec's command once for each cycle. It knows the
// BIRD by its environment; socket is the path of the control socket, "" for none.
func cycleCommand(line string, p *target.Process, socket string) func(context.Context) error {
	cycle := 0
	return func(ctx context.Context) error {
		cycle++
		c := exec.CommandContext(ctx, "/bin/sh", "-c", line)
		name := socket
		// A path into another's root leads wherever that one's links do by then.
		if inside, ok := strings.CutPrefix(socket, p.Root()+"/"); ok {
			f, err := openSocket(p, "/"+inside)
			if err != nil {
				return fmt.Errorf("run --cycle-exec %q in cycle %d: %w", line, cycle, err)
			}
			defer f.Close()
			name, c.ExtraFiles = handedSocket, []*os.File{f}
		}
		c.Env = append(os.Environ(), "LEAKPROF_PID="+strconv.Itoa(p.PID), "LEAKPROF_CYCLE="+strconv.Itoa(cycle), "LEAKPROF_SOCKET="+name)
		c.WaitDelay = time.Second // for what it leaves running with our pipe
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("run --cycle-exec %q in cycle %d: %w%s", line, cycle, err, lastWords(out))
		}
		return nil
	}
}

// openSocket opens a socket in the process's root for its place alone.
func openSocket(p *target.Process, name string) (*os.File, error) {
	s, err := p.OpenSocket(name)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.File()
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
