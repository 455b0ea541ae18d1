// SPDX-License-Identifier: Apache-2.0

package target

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mapping is one line of /proc/PID/maps (proc_pid_maps(5)).
type Mapping struct {
	Start, End uint64 // addresses, End exclusive
	Offset     uint64 // of Start in the file
	Read       bool
	Write      bool
	Exec       bool
	Device     uint64 // as in stat(2); 0 without a file
	Inode      uint64 // 0 without a file
	Path       string // "" for anonymous memory, "[heap]" and the like for special areas
}

// maxMappings bounds what is read from a process: the kernel's own default
// limit (vm.max_map_count) is 65,530.
const maxMappings = 1 << 18

// Mappings returns the process's mappings in the order of their addresses.
func (p *Process) Mappings() ([]Mapping, error) {
	f, err := os.Open(p.path("maps"))
	if err != nil {
		return nil, fmt.Errorf("read mappings of process %d: %w", p.PID, err)
	}
	defer f.Close()
	m, err := parseMappings(f)
	if err != nil {
		return nil, fmt.Errorf("read mappings of process %d: %w", p.PID, err)
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("read mappings of process %d: %w", p.PID, ErrGone)
	}
	return m, nil
}

func parseMappings(r io.Reader) ([]Mapping, error) {
	var all []Mapping
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 8192), 1<<20)
	for lines.Scan() {
		m, err := parseMapping(lines.Text())
		if err != nil {
			return nil, err
		}
		if len(all) == maxMappings {
			return nil, fmt.Errorf("more than %d mappings", maxMappings)
		}
		all = append(all, m)
	}
	return all, lines.Err()
}

// parseMapping reads a line such as
//
//	7f2c4a000000-7f2c4a021000 r-xp 00001000 fe:00 131 /usr/sbin/bird
func parseMapping(line string) (Mapping, error) {
	var m Mapping
	bad := func() (Mapping, error) { return Mapping{}, fmt.Errorf("parse mapping %q: unknown format", line) }
	var fields [5]string
	rest := line
	for i := range fields {
		rest = strings.TrimLeft(rest, " ")
		var found bool
		if fields[i], rest, found = strings.Cut(rest, " "); !found && i < len(fields)-1 {
			return bad()
		}
	}
	m.Path = strings.TrimLeft(rest, " ")
	from, to, found := strings.Cut(fields[0], "-")
	major, minor, foundDev := strings.Cut(fields[3], ":")
	if !found || !foundDev || len(fields[1]) < 4 {
		return bad()
	}
	var maj, min uint64
	for _, n := range []struct {
		text string
		base int
		to   *uint64
	}{{from, 16, &m.Start}, {to, 16, &m.End}, {fields[2], 16, &m.Offset}, {major, 16, &maj}, {minor, 16, &min}, {fields[4], 10, &m.Inode}} {
		v, err := strconv.ParseUint(n.text, n.base, 64)
		if err != nil {
			return bad()
		}
		*n.to = v
	}
	if m.End < m.Start {
		return bad()
	}
	m.Device = unix.Mkdev(uint32(maj), uint32(min))
	m.Read, m.Write, m.Exec = fields[1][0] == 'r', fields[1][1] == 'w', fields[1][2] == 'x'
	return m, nil
}
