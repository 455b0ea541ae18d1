// SPDX-License-Identifier: Apache-2.0

package target

import (
	"bytes"
	"fmt"
	"os"
)

// Stopped says whether the process is stopped, by a signal or a debugger, so
// that it does nothing until it is told to go on: states T and t of
// proc_pid_stat(5).
func (p *Process) Stopped() (bool, error) {
	b, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return false, p.Explain(fmt.Errorf("read state of process %d: %w", p.PID, err))
	}
	// The name before it, in parentheses, may have any character.
	_, rest, _ := bytes.Cut(b[bytes.LastIndexByte(b, ')')+1:], []byte(" "))
	return len(rest) > 0 && (rest[0] == 'T' || rest[0] == 't'), nil
}
