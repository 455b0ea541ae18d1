// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// HasSocket says whether the process holds a unix socket that was bound to the
// path, as the process named it: several daemons may have sockets of the same
// kind, and the one at the usual place may be another's.
func (p *Process) HasSocket(path string) (bool, error) {
	// Num RefCount Protocol Flags Type St Inode Path (proc(5), /proc/net/unix)
	table, err := p.read("net/unix")
	if err != nil {
		return false, fmt.Errorf("read sockets of process %d: %w", p.PID, err)
	}
	bound := make(map[string]bool)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) >= 8 && f[7] == path {
			bound[fmt.Sprintf("socket:[%s]", f[6])] = true
		}
	}
	files, err := filepath.Glob(p.path("fd/*"))
	if err != nil {
		return false, fmt.Errorf("read files of process %d: %w", p.PID, err)
	}
	for _, f := range files {
		if link, err := os.Readlink(f); err == nil && bound[link] {
			return true, nil
		}
	}
	return false, nil
}
