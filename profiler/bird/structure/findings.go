// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
)

// Confidence says how sure a finding is.
type Confidence string

const (
	// Certain: the file itself points to it, as a hook of a resource class.
	Certain Confidence = "certain"
	// High: one function alone fulfils the predicate.
	High Confidence = "high"
	// Low: several functions do, and one is called so much more often, or is
	// the only one called directly, that it was taken.
	Low Confidence = "low"
)

// Function is a function of BIRD found in the file.
type Function struct {
	Name string // BIRD's own
	// Part says that the function's beginning (a test for NULL, an assertion)
	// lies in a wrapper or in the callers. Where both a wrapper and a part are
	// listed, every call of the wrapper that does something runs the part, and
	// callers may run it without the wrapper: probe the part, not both.
	Part       bool
	Address    uint64 // ELF virtual address of the entry
	Confidence Confidence
	Signals    []string // what it was told by, at least two, in words
}

// InlineSite is a place at which a copy of a function that the compiler put
// into another function does its characteristic step.
type InlineSite struct {
	Function string // BIRD's name of the function copied
	Address  uint64 // ELF virtual address of an instruction
	// Within is the entry of the function that the site is in, and WithinName
	// its name if it is one of those found.
	Within     uint64
	WithinName string
	What       string // what the instruction does
	// Register is DWARF's number (System V ABI for x86-64, figure 3.36) of the
	// register that holds a page given back when a free_page site is reached,
	// which each run of that copy does once. -1 where that cannot be told.
	Register int
}

// accounted are the functions whose copies findInlined knows.
var accounted = []string{
	"mb_alloc", "mb_realloc", "ralloc", "rfree", "alloc_page", "free_page", "lp_alloc", "sl_alloc", "msl_alloc",
}

// Accounts says whether Findings.Inlined tells of the copies of a function, so
// that none there means that none was seen.
func Accounts(function string) bool { return slices.Contains(accounted, function) }

// Findings is what a file has of BIRD's allocators.
type Findings struct {
	ClassOffset  uint64 // of class in struct resource, bytes: 16 in BIRD 2, 24 in BIRD 3
	MblockHeader uint64 // sizeof(struct mblock), bytes
	Classes      []Class
	RootPool     uint64 // ELF virtual address of root_pool, 0 if not found
	Functions    []Function
	Inlined      []InlineSite
	NotFound     []string // what was looked for and not found, with the reason
}

// Find analyses an x86-64 ELF file. It uses no symbols but those of other
// libraries' functions, which stripping keeps. The error wraps ErrNotBIRD where
// the file has no resource classes.
func Find(r io.ReaderAt) (*Findings, error) {
	found, err := find(r)
	if err != nil {
		return nil, fmt.Errorf("find allocators: %w", err)
	}
	return found, nil
}

func find(r io.ReaderAt) (*Findings, error) {
	f, err := findAll(r)
	if err != nil {
		return nil, err
	}
	return f.findings(), nil
}

// findAll looks for all that Findings tells of.
func findAll(r io.ReaderAt) (*finder, error) {
	f, err := begin(r)
	if err != nil {
		return nil, err
	}
	if err := f.findBlockHeader(); err != nil {
		return nil, err
	}
	f.findHooks()
	f.findBlocks()
	f.findPages()
	f.findSlabs()
	f.findLinpools()
	f.findRootPool()
	f.findMultislabs()
	f.findInlined()
	return f, nil
}

// begin reads a file and finds what everything else is found by: the resource
// classes, and the functions of the C library's heap.
func begin(r io.ReaderAt) (*finder, error) {
	file, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	im, err := newImage(file)
	if err != nil {
		return nil, err
	}
	if !im.mayBeBIRD() {
		return nil, fmt.Errorf("no names of resource classes: %w", ErrNotBIRD)
	}
	p, err := newProgram(im)
	if err != nil {
		return nil, err
	}
	classes, err := p.findClasses()
	if err != nil {
		return nil, err
	}
	f := newFinder(p, classes)
	if err := f.findClassOffset(); err != nil {
		return nil, err
	}
	f.findHeap()
	return f, nil
}

// finder is the state of one search.
type finder struct {
	*program
	classes   []Class
	class     map[string]Class
	k, h      int64 // Findings.ClassOffset, .MblockHeader
	behaviors map[uint64]behavior
	flows     map[uint64]flow

	// functions that only call malloc, realloc or free
	mallocs, reallocs, freers map[uint64]bool
	allocating                []uint64 // functions that call malloc or such a one

	useFake  uint64 // address of the flag by which pages come from posix_memalign
	rootPool uint64

	found    []Function
	inlined  []InlineSite
	notFound []string
}

func newFinder(p *program, classes []Class) *finder {
	f := &finder{
		program: p, classes: classes, class: make(map[string]Class),
		behaviors: make(map[uint64]behavior), flows: make(map[uint64]flow),
		mallocs: make(map[uint64]bool), reallocs: make(map[uint64]bool), freers: make(map[uint64]bool),
	}
	for _, c := range classes {
		if count(classes, c.Name) == 1 {
			f.class[c.Name] = c
		}
	}
	return f
}

func (f *finder) behavior(start uint64) behavior {
	b, ok := f.behaviors[start]
	if !ok {
		b = f.explore(start)
		f.behaviors[start] = b
	}
	return b
}

func (f *finder) flow(start uint64) flow {
	fl, ok := f.flows[start]
	if !ok {
		fl = f.follow(start)
		f.flows[start] = fl
	}
	return fl
}

// addresses returns where functions of that name were found.
func (f *finder) addresses(name string) (at []uint64) {
	for _, fn := range f.found {
		if fn.Name == name {
			at = append(at, fn.Address)
		}
	}
	return at
}

// names returns the name of the found function at an address, else "".
func (f *finder) nameAt(address uint64) string {
	for _, fn := range f.found {
		if fn.Address == address {
			return fn.Name
		}
	}
	return ""
}

// predicate says whether a function's behavior is that of the function sought,
// and by what.
type predicate func(b behavior) (signals []string, ok bool)

// largestFunction bounds the code that is explored, bytes: the largest function
// sought, msl_alloc with all that it calls inlined, has half of it.
const largestFunction = 4096

// search applies a predicate to candidates. Exactly one that fulfils it is
// found; of several one that stands out, with low confidence.
func (f *finder) search(name string, part bool, candidates []uint64, holds predicate) (address uint64, ok bool) {
	var matches []Function
	for _, c := range candidates {
		if f.length[c] > largestFunction || len(f.callers[c]) == 0 {
			continue // all that are sought are called by name
		}
		if at := f.nameAt(c); at != "" {
			continue // is something else already
		}
		if signals, ok := holds(f.behavior(c)); ok {
			matches = append(matches, Function{Name: name, Part: part, Address: c, Confidence: High, Signals: signals})
		}
	}
	if len(matches) > 1 {
		m, ok := f.standsOut(matches)
		if !ok {
			f.missing(name, fmt.Sprintf("%d functions look like it", len(matches)))
			return 0, false
		}
		matches = []Function{m}
	}
	if len(matches) == 0 {
		return 0, false
	}
	f.found = append(f.found, matches[0])
	return matches[0].Address, true
}

// standsOut picks the only one of several matches that is called directly, or
// is called four times as often as the next: callbacks that do nothing but free
// a block look like mb_free.
func (f *finder) standsOut(matches []Function) (Function, bool) {
	calls := func(m Function) int { return len(f.callers[m.Address]) }
	sort.Slice(matches, func(i, j int) bool { return calls(matches[i]) > calls(matches[j]) })
	first, second := calls(matches[0]), calls(matches[1])
	m := matches[0]
	m.Confidence = Low
	switch {
	case first > 0 && second == 0:
		m.Signals = append(m.Signals, fmt.Sprintf("of %d that look alike the only one called directly", len(matches)))
	case first >= 4*second && first >= 8:
		m.Signals = append(m.Signals, fmt.Sprintf("of %d that look alike called %d times, the next %d times", len(matches), first, second))
	default:
		return Function{}, false
	}
	return m, true
}

func (f *finder) missing(name, why string) {
	f.notFound = append(f.notFound, name+": "+why)
}

var errNoClassCall = errors.New("pool's free hook calls no class->free")

// mayBeBIRD looks for the names of two classes, cheaply.
func (im *image) mayBeBIRD() bool {
	found := 0
	for i := range im.segments {
		if s := &im.segments[i]; !s.exec || im.fixed {
			if containsName(s.data, classLinpool) {
				found++
			}
			if containsName(s.data, classMemory) {
				found++
			}
		}
	}
	return found >= 2
}
