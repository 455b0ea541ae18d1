// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"fmt"
	"sort"
)

// findHooks takes the free hooks of the classes, and checks what they do.
func (f *finder) findHooks() {
	for _, h := range []struct {
		class, name string
		does        string
		check       func(b behavior) bool
	}{
		{classPool, "pool_free", "calls the free hooks of other resources' classes", func(behavior) bool { return true }}, // findClassOffset
		{classMemory, "mbl_free", "does nothing", func(b behavior) bool { return b.all(path.quiet) }},
		{classLinpool, "lp_free", "frees the large chunks of its argument", func(b behavior) bool { return b.some(f.freesLarge) }},
		{classSlab, "slab_free", "walks lists of its argument and calls", func(b behavior) bool {
			return b.some(func(p path) bool { return len(p.calls()) > 0 })
		}},
		{classMslab, "mslab_free", "calls functions", func(b behavior) bool {
			return b.some(func(p path) bool { return len(p.calls()) > 0 })
		}},
		{classIslab, "islab_free", "looks at the pages stored or the root of its argument", func(b behavior) bool {
			return b.some(func(p path) bool {
				return p.some(func(e *event) bool {
					return f.isField(e.x, f.islabRoot()) || f.isField(e.x, f.islabStored()) || f.isField(e.x, f.islabStored()+4)
				})
			})
		}},
	} {
		c, ok := f.class[h.class]
		if !ok {
			continue
		}
		fn := Function{Name: h.name, Address: c.Free, Confidence: Certain, Signals: []string{"class " + h.class + "'s free hook"}}
		if h.check(f.behavior(c.Free)) {
			fn.Signals = append(fn.Signals, h.does)
		}
		if n := f.pointedAt[c.Free]; n > 1 {
			f.missing(h.name, fmt.Sprintf("class %s's free hook is shared: %d pointers lead to it", h.class, n))
			continue
		}
		f.found = append(f.found, fn)
	}
}

// expected are the functions asked for in each generation, with what covers
// them where they are not there.
func (f *finder) expected() []string {
	names := []string{
		"mb_alloc", "mb_allocz", "mb_realloc", "mb_free", "ralloc", "rfree", "rmove", "pool_free", "mbl_free", "rp_new",
		"lp_new", "lp_alloc", "lp_allocu", "lp_allocz", "lp_flush", "lp_save", "lp_restore", "lp_free",
		"sl_new", "sl_alloc", "sl_allocz", "sl_free", "slab_free", "alloc_page", "free_page",
	}
	if f.third() {
		names = append(names, "lp_alloc_slow", "alloc_page_global")
		if _, ok := f.class[classMslab]; ok {
			names = append(names, "msl_alloc", "msl_alloc_from_page", "msl_free", "mslab_free")
		}
		if _, ok := f.class[classIslab]; ok {
			names = append(names, "isl_alloc", "isl_free_id", "isl_free_ptr", "islab_free")
		}
		if _, ok := f.class[classIslab]; !ok {
			names = append(names, "sth_alloc", "sth_free")
		}
	} else {
		names = append(names, "alloc_cold_page")
	}
	return names
}

// crossChecks are callers that a function must have in every BIRD; a finding
// that has one of them is confirmed by the call graph.
var crossChecks = map[string][]string{
	"alloc_page":          {"sl_alloc", "lp_alloc", "lp_alloc_slow"},
	"free_page":           {"slab_free", "lp_free", "sl_free"},
	"rfree":               {"mb_free"},
	"mb_alloc":            {"mb_allocz", "sth_alloc"},
	"lp_alloc":            {"lp_allocz", "lp_allocu", "lp_save"},
	"lp_alloc_slow":       {"lp_alloc", "lp_allocu", "lp_allocz"},
	"sl_alloc":            {"sl_allocz", "sth_alloc"},
	"ralloc":              {"rp_new", "lp_new", "sl_new"},
	"lp_restore":          {"lp_flush"},
	"sl_free":             {"sth_free"},
	"sl_new":              {"sth_alloc"},
	"msl_alloc_from_page": {"msl_alloc"},
}

// confirm adds the signals of the call graph, and drops what has fewer than
// two.
func (f *finder) confirm() {
	kept := f.found[:0:0]
	for _, fn := range f.found {
		for _, caller := range crossChecks[fn.Name] {
			if f.hasCaller(fn.Address, caller) {
				fn.Signals = append(fn.Signals, "called by "+caller)
			}
		}
		if len(fn.Signals) < 2 {
			f.missing(fn.Name, "one signal only: "+fn.Signals[0])
			continue
		}
		kept = append(kept, fn)
	}
	f.found = kept
}

func (f *finder) hasCaller(of uint64, name string) bool {
	for _, c := range f.callersOf(of) {
		if f.nameAt(c) == name {
			return true
		}
	}
	return false
}

// findings sorts and completes what was found.
func (f *finder) findings() *Findings {
	f.confirm()
	sites := make(map[string]int)
	for _, s := range f.inlined {
		sites[s.Function]++
	}
	said := make(map[string]bool)
	for _, n := range f.notFound {
		for i := range n {
			if n[i] == ':' {
				said[n[:i]] = true
				break
			}
		}
	}
	for _, name := range f.expected() {
		if len(f.addresses(name)) > 0 || said[name] {
			continue
		}
		why := "no function does what it does; inlined everywhere, or changed by the compiler"
		if n := sites[name]; n > 0 {
			why = fmt.Sprintf("no function of its own; %d copies in other functions", n)
		}
		f.missing(name, why)
	}
	sort.Slice(f.found, func(i, j int) bool { return f.found[i].Address < f.found[j].Address })
	sort.Slice(f.inlined, func(i, j int) bool { return f.inlined[i].Address < f.inlined[j].Address })
	return &Findings{
		ClassOffset: uint64(f.k), MblockHeader: uint64(f.h), Classes: f.classes, RootPool: f.rootPool,
		Functions: f.found, Inlined: f.inlined, NotFound: f.notFound,
	}
}
