// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"strings"

	"leakprof/profiler/footprint"
	"leakprof/profiler/reconciliation"
)

// Books is what a look tells of BIRD's own books.
type Books struct {
	// Account compares the live set with the resource tree and with the lines of
	// "show memory"; nil if it could not be made.
	Account *reconciliation.Account
	// Footprint explains the RSS; nil if it could not be read.
	Footprint *footprint.Footprint
	// Missing says why one of them is nil, "" if neither is.
	Missing string
}

// Reconciliation puts the followed memory beside BIRD's own account of it.
type Reconciliation struct {
	Phases []ReconciliationPhase `json:"phases"`
}

// ReconciliationPhase compares at the end of a phase. Account's fields are the
// phase's own in report.json.
type ReconciliationPhase struct {
	Name      string `json:"name"`
	Cycle     int    `json:"cycle"`
	LiveBytes uint64 `json:"live_bytes"`
	*reconciliation.Account
	RSS     *footprint.Footprint `json:"rss"`
	Missing string               `json:"missing"`
}

func newReconciliation(p *Phase) ReconciliationPhase {
	bytes, _ := p.Heap.Totals()
	return ReconciliationPhase{
		Name: p.Name, Cycle: p.Cycle, LiveBytes: bytes,
		Account: p.Books.Account, RSS: p.Books.Footprint, Missing: p.Books.Missing,
	}
}

func (p *ReconciliationPhase) title() string {
	return (&DocumentPhase{Name: p.Name, Cycle: p.Cycle}).title()
}

// books says in a line or two whether the books agree.
func (d *Document) books() (facts []fact) {
	add := func(label, s string) { facts = append(facts, fact{label, printable(s)}) }
	all := d.Reconciliation.Phases
	if len(all) == 0 {
		return nil
	}
	var looks, equal, lines, within int
	var trouble []string
	for i := range all {
		p := &all[i]
		looks++
		if p.Account == nil {
			trouble = append(trouble, p.title()+": "+p.Missing)
			continue
		}
		switch {
		case p.Tree.Equal:
			equal++
		case !p.Quiet:
			trouble = append(trouble, fmt.Sprintf("%s: not of one moment (%s)", p.title(), p.Why))
		default:
			trouble = append(trouble, fmt.Sprintf("%s: live set and tree differ%s", p.title(), unexplained(p.Tree)))
		}
		for _, l := range p.Lines {
			if l.WithinRounding == nil {
				continue
			}
			lines++
			if *l.WithinRounding {
				within++
			} else {
				trouble = append(trouble, fmt.Sprintf("%s: %s differs by %s", p.title(), l.Name, SignedSize(l.Difference)))
			}
		}
	}
	s := fmt.Sprintf("live set and BIRD's resource tree equal to the byte at %d of %s", equal, plural(looks, "look"))
	if lines > 0 {
		s += fmt.Sprintf("; %d of %s of show memory within their rounding", within, plural(lines, "line"))
	}
	add("Books", s)
	const most = 6
	for i, what := range trouble {
		if i == most {
			add("", fmt.Sprintf("and %d more; report.json has all", len(trouble)-most))
			break
		}
		add("", what)
	}
	return facts
}

// unexplained says what of the difference is of no kind that is known.
func unexplained(c reconciliation.Comparison) string {
	s := ""
	for _, r := range c.Reasons {
		if !r.Known {
			s += fmt.Sprintf("; %s in %d %s: %s", Size(int64(r.Bytes)), r.Objects, r.Where, r.Reason)
		}
	}
	return s
}

// rss is the footprint of the last look that has one.
func (d *Document) rss() *footprint.Footprint {
	all := d.Reconciliation.Phases
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].RSS != nil {
			return all[i].RSS
		}
	}
	return nil
}

// resident says in a sentence what the RSS is made of; it is no evidence.
func resident(f *footprint.Footprint) string {
	size := func(names ...footprint.Name) (n uint64) {
		for _, name := range names {
			n += f.Part(name).Bytes
		}
		return n
	}
	live := size(footprint.LiveBlocks, footprint.LivePages)
	kept := size(footprint.KeptPages, footprint.IndexPages, footprint.ColdPages)
	unlisted := size(footprint.UnlistedPages)
	libc := size(footprint.LibcFree)
	own := f.Own()
	rest := f.RSS - min(f.RSS, live+kept+unlisted+libc+own)
	pages := fmt.Sprintf("%s free pages kept by BIRD", Size(int64(kept)))
	if unlisted > 0 {
		// BIRD counts them as kept and cannot take them again: flush_local_pages of
		// BIRD 3 (sysdep/unix/alloc.c, to 3.3.2 at least) leaves all but the last of a
		// thread's pages.
		pages += fmt.Sprintf(", %s that it counts as such but that are on no list that could be read", Size(int64(unlisted)))
	}
	return fmt.Sprintf("%s, no evidence of a leak: %s of it is live memory, %s, about %s free inside the C library, %s leakprof's own probes, the rest (%s) code, data, libraries, stacks",
		Size(int64(f.RSS)), Size(int64(live)), pages, Size(int64(libc)), Size(int64(own)), Size(int64(rest)))
}

// bookTables prints the accounts of the looks that a reader compares: each line
// of show memory as BIRD and as we have it, and the RSS in its parts.
func (t *text) bookTables() {
	for i := range t.d.Reconciliation.Phases {
		p := &t.d.Reconciliation.Phases[i]
		if p.Account == nil {
			continue
		}
		t.line("\nBooks, %s", p.title())
		var b bytes.Buffer
		_ = p.WriteText(&b) // to memory
		t.indented(&b)
		if p.RSS != nil {
			t.line("  RSS")
			b.Reset()
			_ = p.RSS.WriteText(&b)
			t.indented(&b)
		}
	}
}

func (t *text) indented(b *bytes.Buffer) {
	for line := range strings.Lines(b.String()) {
		t.line("  %s", strings.TrimRight(line, "\n"))
	}
}
