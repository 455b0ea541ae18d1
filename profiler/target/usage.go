// SPDX-License-Identifier: Apache-2.0

package target

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Usage is what a mapping holds of the machine's memory: an entry of
// /proc/PID/smaps (proc_pid_smaps(5)). Sizes are in bytes.
type Usage struct {
	Mapping
	RSS uint64 // resident, the shared zero page left out
	// Anonymous is the part of RSS that belongs to no file. In a mapping of a
	// file it is the private copies of pages that were written to.
	Anonymous uint64
	Swap      uint64
}

// Usage returns the process's mappings, and what each holds, in the order of
// their addresses. The kernel walks the page tables for it and holds the
// process's mappings still meanwhile, some 10 ms for each resident GB.
func (p *Process) Usage() ([]Usage, error) {
	f, err := os.Open(p.path("smaps"))
	if err != nil {
		return nil, fmt.Errorf("read memory usage of process %d: %w", p.PID, explain(err))
	}
	defer f.Close()
	all, err := parseUsage(f)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read memory usage of process %d: %w", p.PID, err)
	case len(all) == 0 || !p.Alive():
		return nil, fmt.Errorf("read memory usage of process %d: %w", p.PID, ErrGone)
	}
	return all, nil
}

// parseUsage reads entries of a line as in /proc/PID/maps and lines such as
//
//	Rss:                 132 kB
func parseUsage(r io.Reader) ([]Usage, error) {
	var all []Usage
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 8192), 1<<20)
	for lines.Scan() {
		line := lines.Text()
		name, value, isField := strings.Cut(line, ":")
		if !isField || strings.ContainsRune(name, ' ') {
			m, err := parseMapping(line)
			if err != nil {
				return nil, err
			}
			if len(all) == maxMappings {
				return nil, fmt.Errorf("more than %d mappings", maxMappings)
			}
			all = append(all, Usage{Mapping: m})
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("parse usage %q: it belongs to no mapping", line)
		}
		var to *uint64
		switch u := &all[len(all)-1]; name {
		case "Rss":
			to = &u.RSS
		case "Anonymous":
			to = &u.Anonymous
		case "Swap":
			to = &u.Swap
		default:
			continue
		}
		number, found := strings.CutSuffix(strings.TrimSpace(value), " kB")
		kB, err := strconv.ParseUint(number, 10, 64)
		if !found || err != nil || kB > 1<<50 {
			return nil, fmt.Errorf("parse usage %q: unknown format", line)
		}
		*to = kB << 10
	}
	return all, lines.Err()
}
