// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"errors"
	"fmt"
	"sort"
)

// span is the addresses of one FDE and its rows, the first of which begins at lo.
type span struct {
	lo, hi   uint64
	row, end int // its rows are builder.rows[row:end]
	order    int // place among all FDEs; -1 for the entry point's
}

// builder collects FDEs' rows, then makes one sorted sequence of them.
type builder struct {
	image *image
	spans []span
	rows  []Row
	rules ruleSet
	stats Stats
	max   limits
}

// build makes the table of the file im from its CFI.
func build(im *image, sections []*frameSection, max limits) (*Table, error) {
	b := builder{image: im, rules: newRuleSet(max.rules), max: max}
	for _, s := range sections {
		if err := b.addSection(s); err != nil {
			return nil, err
		}
	}
	if len(b.spans) == 0 {
		if b.stats.FirstBad != nil {
			return nil, fmt.Errorf("no usable FDE of %d: %w", b.stats.FDEs, b.stats.FirstBad)
		}
		return nil, fmt.Errorf("no usable FDE of %d: %w", b.stats.FDEs, ErrNoFrames)
	}
	if err := b.addEntryPoint(); err != nil {
		return nil, err
	}
	rows, err := b.merge()
	if err != nil {
		return nil, err
	}
	return &Table{Rows: rows, Rules: b.rules.rules, Stats: b.stats}, nil
}

// addSection decodes all FDEs of s. The first pass finds the CIEs, which may
// come after their FDEs in .debug_frame, and makes sure that an FDE names the
// beginning of one.
func (b *builder) addSection(s *frameSection) error {
	b.stats.Sections = append(b.stats.Sections, s.name)
	b.stats.Bytes += len(s.data)
	bs := bases{section: s.addr, data: b.image.pltgot, deref: b.image.deref}
	cies := map[uint64]*cie{}
	fdes := 0
	err := s.entries(func(e entry) error {
		if !e.cie {
			fdes++
			return nil
		}
		if len(cies) == b.max.cies {
			return fmt.Errorf("read %s: over %d CIEs", s.name, b.max.cies)
		}
		cies[uint64(e.off)] = s.parseCIE(e.body, bs)
		return nil
	})
	if err != nil {
		return err
	}
	b.stats.CIEs += len(cies)
	if b.spans == nil {
		b.spans = make([]span, 0, fdes+1)
		b.rows = make([]Row, 0, min(len(s.data)/4, b.max.rows)) // measured: 5 to 6 bytes a row
	}
	p := program{bases: &bs}
	return s.entries(func(e entry) error {
		if e.cie {
			return nil
		}
		b.stats.FDEs++
		ci := cies[e.cieOff]
		if ci == nil {
			ci = &cie{err: errors.New("FDE's CIE pointer does not lead to a CIE")}
		}
		if err := b.addFDE(&p, ci, e.body); err != nil {
			return fmt.Errorf("read %s: FDE at %#x: %w", s.name, e.off, err)
		}
		return nil
	})
}

// errLimit is wrapped by errors that end the reading of the whole file.
var errLimit = errors.New("file exceeds a limit")

// addFDE decodes one FDE. The error is for the whole file only.
func (b *builder) addFDE(p *program, ci *cie, body cursor) error {
	bad := func(err error) {
		if b.stats.BadFDEs++; b.stats.FirstBad == nil {
			b.stats.FirstBad = err
		}
	}
	if ci.err != nil {
		bad(ci.err)
		return nil
	}
	p.bases.fn = 0
	lo, hi, err := ci.fdeRange(&body, p.bases)
	switch {
	case errors.Is(err, errEmpty):
		b.stats.DiscardedFDEs++
		return nil
	case err != nil:
		bad(err)
		return nil
	case !b.image.executable(lo):
		b.stats.DiscardedFDEs++
		return nil
	}
	p.bases.fn = lo
	p.cie, p.code, p.state, p.stack = ci, body, ci.init, p.stack[:0]
	first, before := len(b.rows), b.stats
	if err = ci.initErr; err == nil {
		err = p.run(lo, hi, func(pc uint64, s *state) error {
			r, reason, lost, ok := s.encode(ci.signal)
			if !ok {
				b.stats.Unsupported[reason]++
			}
			b.stats.LostRegisters += lost
			return b.addRow(first, pc, r)
		})
	}
	switch {
	case errors.Is(err, errLimit):
		return err
	case err != nil:
		b.rows, b.stats = b.rows[:first], before
		bad(err)
		b.stats.Unsupported[ReasonMalformed]++
		if err := b.addRow(first, lo, Rule{CFA: CFAUnsupported}); err != nil {
			return err
		}
	}
	b.spans = append(b.spans, span{lo: lo, hi: hi, row: first, end: len(b.rows), order: len(b.spans)})
	return nil
}

// addRow appends a row, unless its rule is that of the row before it in the
// same FDE, whose rows begin at index first.
func (b *builder) addRow(first int, pc uint64, r Rule) error {
	last := len(b.rows) - 1
	if last >= first && b.rules.rules[b.rows[last].Rule] == r {
		return nil
	}
	i, err := b.rules.add(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errLimit, err)
	}
	if len(b.rows) == b.max.rows {
		return fmt.Errorf("%w: over %d rows", errLimit, b.max.rows)
	}
	b.rows = append(b.rows, Row{PC: uint32(pc), Rule: i})
	return nil
}

// merge makes one sorted sequence of all spans' rows, with gaps marked and the
// overlaps resolved as the package comment says.
func (b *builder) merge() ([]Row, error) {
	// Of spans that begin together the first in the file comes last, on top.
	sort.Slice(b.spans, func(i, j int) bool {
		if b.spans[i].lo != b.spans[j].lo {
			return b.spans[i].lo < b.spans[j].lo
		}
		return b.spans[i].order > b.spans[j].order
	})
	out := make([]Row, 0, len(b.rows)+len(b.spans)+1)
	emit := func(pc uint64, rule uint32) {
		if n := len(out); n > 0 && out[n-1].Rule == rule || n == 0 && rule == 0 || pc >= 1<<32 {
			return
		}
		out = append(out, Row{PC: uint32(pc), Rule: rule})
	}
	var open []*span // that began at or before pos, the last begun on top
	pos := b.spans[0].lo
	// fill emits the rows from pos up to to.
	fill := func(to uint64) {
		for pos < to {
			n := len(open)
			if n == 0 {
				emit(pos, 0)
				pos = to
				return
			}
			top := open[n-1]
			if top.hi <= pos {
				open = open[:n-1]
				continue
			}
			end := min(top.hi, to)
			for top.row+1 < top.end && uint64(b.rows[top.row+1].PC) <= pos {
				top.row++
			}
			emit(pos, b.rows[top.row].Rule)
			for top.row+1 < top.end && uint64(b.rows[top.row+1].PC) < end {
				top.row++
				emit(uint64(b.rows[top.row].PC), b.rows[top.row].Rule)
			}
			pos = end
		}
	}
	last := pos
	for i := range b.spans {
		fill(b.spans[i].lo)
		open = append(open, &b.spans[i])
		last = max(last, b.spans[i].hi)
	}
	fill(last)
	emit(last, 0)
	if len(out) > b.max.rows {
		return nil, fmt.Errorf("%w: over %d rows", errLimit, b.max.rows)
	}
	return out, nil
}
