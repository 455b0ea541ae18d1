// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// findPages finds the functions of sysdep/unix/alloc.c. On systems with odd
// page sizes alloc_page takes pages from posix_memalign and free_page gives
// them to free; a flag, use_fake, says so, and tells both functions.
func (f *finder) findPages() {
	at, ok := f.search("alloc_page", false, f.callersOfImport("posix_memalign"), f.isAllocPage)
	if !ok {
		f.missing("free_page", "is told by the flag that alloc_page tests, and alloc_page was not found")
		return
	}
	for _, p := range f.behavior(at).paths {
		if flag, ok := f.memalignFlag(p); ok {
			f.useFake = flag
		}
	}
	f.search("free_page", false, f.functionsAt(f.referencesTo(f.useFake)), f.isFreePage)
	f.findColdPage(at)
}

// isAllocPage: if (use_fake) return posix_memalign's page; otherwise one from
// the lists of free pages, or from mmap. No arguments.
func (f *finder) isAllocPage(b behavior) ([]string, bool) {
	return []string{
			"returns what posix_memalign gave, of one page's size and alignment, if a flag is set",
			"otherwise returns a page without posix_memalign",
		}, b.some(func(p path) bool { _, ok := f.memalignFlag(p); return ok }) &&
			b.some(func(p path) bool { _, ok := f.memalign(p); return !ok && !p.result.isConstant() })
}

func (f *finder) memalign(p path) (*event, bool) {
	for _, e := range p.calls() {
		if e.call.name == "posix_memalign" && e.call.args[1] == e.call.args[2] {
			return e, true
		}
	}
	return nil, false
}

// memalignFlag returns the address of the byte that decided for
// posix_memalign.
func (f *finder) memalignFlag(p path) (flag uint64, ok bool) {
	if _, ok := f.memalign(p); !ok {
		return 0, false
	}
	for _, e := range p.events {
		if e.kind == eventCall && e.call.name == "posix_memalign" {
			break
		}
		if at, isLoad := e.x.load(); e.kind == eventBranch && isLoad && at.isConstant() && isEquality(e.cond) && e.y.isConstant() {
			flag, ok = uint64(at.c), true
			break
		}
	}
	return flag, ok
}

// tests says whether a path goes where the flag has a value other than 0, or
// where it is 0.
func (p path) tests(flag uint64, set bool) bool {
	for _, e := range p.events {
		at, ok := e.x.load()
		if e.kind != eventBranch || !ok || at != constant(int64(flag)) || !isEquality(e.cond) {
			continue
		}
		equal := (e.cond == x86asm.JE) == e.taken
		switch e.y { // gcc compares a bool with 0, clang with 1
		case constant(0):
			return set != equal
		case constant(1):
			return set == equal
		}
	}
	return false
}

// isFreePage: if (use_fake) free(page), else the page becomes the first or last
// of a list of free pages. Argument: the page.
func (f *finder) isFreePage(b behavior) ([]string, bool) {
	faked := func(p path) bool {
		return p.tests(f.useFake, true) && p.some(func(e *event) bool {
			block, ok := f.frees(e)
			return ok && block.argument(0)
		})
	}
	linked := func(p path) bool {
		return p.tests(f.useFake, false) && p.storesAt(func(at, v value) bool { return v.argument(0) && !onFrame(at) })
	}
	return []string{
		"frees its argument with free if the flag that alloc_page tests is set",
		"otherwise links its argument into a list",
	}, b.some(faked) && b.some(linked)
}

func (p path) some(holds func(*event) bool) bool {
	for _, e := range p.events {
		if holds(e) {
			return true
		}
	}
	return false
}

// findColdPage finds where alloc_page gets a page when there is no free one at
// hand: alloc_cold_page in BIRD 2, alloc_page_global in BIRD 3. It calls mmap,
// and alloc_page returns its result.
func (f *finder) findColdPage(allocPage uint64) {
	name := "alloc_cold_page"
	if f.third() {
		name = "alloc_page_global"
	}
	var candidates []uint64
	for _, c := range f.callersOfImport("mmap", "mmap64") {
		for _, p := range f.behavior(allocPage).paths {
			if p.some(func(e *event) bool {
				return e.kind == eventCall && e.result == p.result && e.call.target == constant(int64(c))
			}) {
				candidates = append(candidates, c)
				break
			}
		}
	}
	if len(candidates) != 1 {
		f.missing(name, fmt.Sprintf("%d functions call mmap and give alloc_page its result; its code may be in alloc_page", len(candidates)))
		return
	}
	// Where alloc_page tries the list itself before, the rest is a part.
	part := f.third() && f.behavior(allocPage).some(func(p path) bool {
		calls := p.calls()
		return len(calls) >= 2 && calls[len(calls)-1].call.target == constant(int64(candidates[0])) && calls[0].call.name == ""
	})
	f.found = append(f.found, Function{
		Name: name, Part: part, Address: candidates[0], Confidence: High,
		Signals: []string{"calls mmap", "alloc_page returns its result"},
	})
}

// freesPage returns the page that an event gives back: a call of free_page, or
// a copy of it, of which free under the flag is seen.
func (f *finder) freesPage(p path, e *event) (page value, ok bool) {
	if f.calls(e, "free_page") {
		return e.call.args[0], true
	}
	if block, ok := f.frees(e); ok && f.useFake != 0 && p.tests(f.useFake, true) {
		return block, true
	}
	return value{}, false
}
