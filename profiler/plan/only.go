// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Lengths are those from Least to Most, bytes.
type Lengths struct{ Least, Most uint64 }

// Only is what is probed where not all is. The zero value is nothing.
type Only struct {
	// Blocks and Objects are how long the blocks of the C library's heap, and the
	// objects of slabs, are that are followed.
	Blocks, Objects []Lengths
	// Pages: all pages of alloc_page are followed. They are probed also where
	// objects are, which are recorded by page.
	Pages bool
}

// IsEmpty says whether nothing is probed.
func (o *Only) IsEmpty() bool {
	return o == nil || len(o.Blocks) == 0 && len(o.Objects) == 0 && !o.Pages
}

// follows says whether an event is probed. No end of anything is: what is live the
// walk tells, and a stack is that of the last allocation at its address.
func (o *Only) follows(e Event) bool {
	if o.IsEmpty() {
		return false
	}
	switch e {
	case BlockAllocated, BlockResized:
		return len(o.Blocks) > 0
	case PageTaken:
		return o.Pages || len(o.Objects) > 0
	case SlabObjectAllocated:
		return len(o.Objects) > 0
	}
	return false
}

// String says it in words: "blocks of 4096 B and pages".
func (o *Only) String() string {
	if o.IsEmpty() {
		return "nothing"
	}
	var parts []string
	for _, p := range []struct {
		what string
		all  []Lengths
	}{{"blocks", o.Blocks}, {"objects", o.Objects}} {
		if len(p.all) == 0 {
			continue
		}
		var sizes []string
		for _, l := range p.all {
			if l.Least == l.Most {
				sizes = append(sizes, fmt.Sprint(l.Most))
			} else {
				sizes = append(sizes, fmt.Sprintf("%d to %d", l.Least, l.Most))
			}
		}
		parts = append(parts, fmt.Sprintf("%s of %s B", p.what, strings.Join(sizes, ", ")))
	}
	if o.Pages {
		parts = append(parts, "pages")
	}
	if n := len(parts) - 1; n > 0 {
		return strings.Join(parts[:n], ", ") + " and " + parts[n]
	}
	return parts[0]
}

// Merge sorts ranges, and makes no more than so many of them: those that are next
// to one another become one.
func Merge(all []Lengths, most int) []Lengths {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Lengths) int { return cmp.Compare(a.Least, b.Least) })
	join := func(i int) {
		all[i].Most = max(all[i].Most, all[i+1].Most)
		all = slices.Delete(all, i+1, i+2)
	}
	for i := 0; i+1 < len(all); {
		if all[i+1].Least <= all[i].Most {
			join(i)
		} else {
			i++
		}
	}
	for len(all) > max(most, 1) {
		nearest := 0
		for i := range all[:len(all)-1] {
			if all[i+1].Least-all[i].Most < all[nearest+1].Least-all[nearest].Most {
				nearest = i
			}
		}
		join(nearest)
	}
	return all
}

// keep leaves of a plan for everything what Options.Only names. BIRD's own block
// functions say no more than the walk does. A layer that cannot be followed stays
// without stacks.
func (p *Plan) keep() {
	p.Sites = nil
	for i := range p.Events {
		e := &p.Events[i]
		e.Missing = ""
		if !p.Options.Follows(e.Event) {
			e.Sites = nil
		}
		e.Sites = slices.DeleteFunc(e.Sites, func(s Site) bool { return strings.HasPrefix(s.Function, "mb_") })
		if e.CoveredBy = byWalk; len(e.Sites) > 0 {
			e.CoveredBy = ""
		}
		p.Sites = append(p.Sites, e.Sites...)
	}
	p.Incomplete = nil
	p.Covered, p.NotCovered = []string{walkCovered}, []string{walkNotCovered}
	if !p.Options.Only.IsEmpty() {
		p.Covered = append(p.Covered, "by probes, who allocated "+p.Options.Only.String())
		p.NotCovered = []string{"call stacks of all else"}
	}
}
