// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes as BIRD prints it: exact below 10,000 bytes, and otherwise
// with one decimal of a unit.
type Size struct {
	Bytes    uint64 // the printed number, to the nearest byte
	Min, Max uint64 // the least and the most that BIRD prints so
}

// MemoryLine is one line of "show memory".
type MemoryLine struct {
	Name      string // such as "Protocols"
	Effective Size
	Overhead  Size
	// Single: the line has one number, which is Effective. BIRD since 2.16 counts pages so.
	Single bool
}

// Memory is the reply to "show memory".
type Memory struct {
	Lines []MemoryLine // in BIRD's order
	Raw   string       // as BIRD wrote it, without codes
}

// Line finds a line by its name.
func (m *Memory) Line(name string) (MemoryLine, bool) {
	for _, l := range m.Lines {
		if l.Name == name {
			return l, true
		}
	}
	return MemoryLine{}, false
}

// ShowMemory runs "show memory".
func (c *Conn) ShowMemory(ctx context.Context) (*Memory, error) {
	r, err := c.Command(ctx, "show memory")
	if err != nil {
		return nil, err
	}
	return parseMemory(r)
}

// memoryLine is "Protocols:   164.7 MB   1018.2 kB", or with one number.
var memoryLine = regexp.MustCompile(`^\s*([A-Z][A-Za-z ]+):\s+(\d{1,15})\.(\d) ([ kMGT])B(?:\s+(\d{1,15})\.(\d) ([ kMGT])B)?\s*$`)

func parseMemory(r *Reply) (*Memory, error) {
	m := &Memory{}
	var raw strings.Builder
	for _, l := range r.Lines {
		if l.Code != codeMemory {
			continue
		}
		raw.WriteString(l.Text + "\n")
		f := memoryLine.FindStringSubmatch(l.Text)
		if f == nil {
			continue // the title, the column heads, an empty line
		}
		line := MemoryLine{Name: f[1], Single: f[5] == ""}
		var err error
		if line.Effective, err = parseSize(f[2], f[3], f[4]); err == nil && !line.Single {
			line.Overhead, err = parseSize(f[5], f[6], f[7])
		}
		if err != nil {
			return nil, fmt.Errorf("parse show memory: line %q: %w", cut(l.Text), err)
		}
		m.Lines = append(m.Lines, line)
	}
	if _, ok := m.Line("Total"); !ok {
		return nil, fmt.Errorf("parse show memory: no line Total in %q", cut(r.Text()))
	}
	m.Raw = raw.String()
	return m, nil
}

// parseSize undoes BIRD's way of printing a size: times ten, and while that is 100,000 or
// more and a greater unit is left, divided by 1024 and rounded half up, each time.
func parseSize(whole, decimal, unit string) (Size, error) {
	n, err := strconv.ParseUint(whole+decimal, 10, 64)
	if err != nil {
		return Size{}, err
	}
	steps := strings.Index(" kMGT", unit)
	lo, hi := n, n
	for range steps {
		if hi > 1<<53 {
			return Size{}, fmt.Errorf("size %s.%s %sB is too large", whole, decimal, unit)
		}
		// (v + 512) / 1024 == n for v in this range, of which only 100,000 and more is divided.
		lo, hi = max(lo*1024-min(512, lo*1024), 100_000), hi*1024+511
	}
	scale := uint64(1) << (10 * steps)
	if n > 1<<63/scale {
		return Size{}, fmt.Errorf("size %s.%s %sB is too large", whole, decimal, unit)
	}
	return Size{Bytes: (n*scale + 5) / 10, Min: (lo + 9) / 10, Max: max(hi/10, (lo+9)/10)}, nil
}
