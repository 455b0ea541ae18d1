// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"leakprof/profiler/bird/inline"
	"leakprof/profiler/bird/structure"
	"leakprof/profiler/target"
	"leakprof/profiler/unwind"
)

// survey is what a program holds of BIRD's allocators: by its symbols and
// DWARF, and where one of these is missing by the structure of its code.
type survey struct {
	exe       *target.Module
	functions []Function // ordered by address
	copies    []copied
	notFound  []Absent
	byDWARF   bool  // copies are by DWARF
	third     bool  // by structure: BIRD 3
	err       error // of the search by structure, where that was needed
	// puts tells where copies of free_page put a page on a list.
	puts   func() []structure.InlineSite
	costs  *Costs  // nil if nothing was measured
	placer *placer // see place
}

// copied is a copy of a function that the compiler put into another one. Copies
// within the function itself, and within another copy of it, are left out.
type copied struct {
	function string
	into     string // the function that holds it, as far as it is known by name
	address  uint64 // ELF vaddr at which its first argument is in register
	// register is DWARF's number, -1 if the argument cannot be told.
	register int
	by       FoundBy
	// works says that the copy does what the function is for. One that only
	// holds an assertion, and calls the rest, does not.
	works bool
	// ranges are the copy's code by DWARF, [lo, hi) ELF vaddrs; doubt is why it is
	// not known that each call passes address once, "" if it is.
	ranges [][2]uint64
	doubt  string
}

// surveyProgram looks through a program. It does not fail: what is not found is
// said in the survey.
func surveyProgram(exe *target.Module, costs *Costs) *survey {
	s := &survey{exe: exe, costs: costs, puts: sync.OnceValue(func() []structure.InlineSite { return findPuts(exe) })}
	named := s.addSymbols()
	instances, err := map[string][]inline.Instance(nil), inline.ErrNoDWARF
	if named {
		instances, err = inline.Find(exe.ELF, functionNames...)
	}
	s.byDWARF = err == nil
	if s.byDWARF {
		s.addInstances(instances)
	} else {
		s.addStructure(named)
	}
	s.count()
	return s
}

// addSymbols takes over the functions by name. It is false if there are none.
func (s *survey) addSymbols() bool {
	bodies := inline.OutOfLine(s.exe.ELF, functionNames...)
	// Other programs have an xfree, too; these three are never inlined away.
	if len(bodies["mbl_free"])+len(bodies["alloc_page"])+len(bodies["sl_alloc"]) == 0 {
		return false
	}
	for _, name := range functionNames {
		seen := make(map[uint64]bool) // a function may have several names
		for _, b := range bodies[name] {
			if b.Has(inline.Cold) || seen[b.Address] {
				continue
			}
			seen[b.Address] = true
			s.functions = append(s.functions, Function{
				Name: name, Symbol: b.Symbol, Address: b.Address, Size: b.Size, FoundBy: BySymbol,
				Part: b.Has(inline.Part), altered: b.Has(inline.ISRA) || b.Has(inline.ConstProp),
			})
		}
	}
	return true
}

// addInstances takes over the copies by DWARF.
func (s *survey) addInstances(instances map[string][]inline.Instance) {
	for _, name := range functionNames {
		for _, i := range instances[name] {
			if i.Self || i.Nested {
				continue
			}
			c := copied{
				function: name, into: i.Into, address: i.Entry, register: -1, by: ByInline, works: s.works(name, i.Ranges),
				ranges: i.Ranges, doubt: i.Doubt,
			}
			// Only gcc's entry view says that the argument is this call's there,
			// and the control flow whether every call passes.
			if i.By == inline.EntryView && i.Once && i.Decoded && i.Problem == "" && len(i.Args) > 0 {
				if a := i.Args[0]; a.Kind == inline.Register && a.Offset == 0 && a.Register >= 0 && a.Register <= 15 {
					c.register = a.Register
				}
			}
			s.copies = append(s.copies, c)
		}
	}
}

// addStructure takes over the copies, and where there are no symbols the
// functions, that the structure of the code tells.
func (s *survey) addStructure(named bool) {
	found, err := structure.Find(s.exe.Reader)
	if err != nil {
		s.err = err
		return
	}
	s.third = found.ClassOffset == 24
	for _, i := range found.Inlined {
		into := i.WithinName
		if into == "" {
			into = s.nameAt(i.Within)
		}
		s.copies = append(s.copies, copied{
			function: i.Function, into: into, address: i.Address, register: i.Register, by: ByStructure, works: true,
		})
	}
	if named {
		return
	}
	extents, err := unwind.Extents(s.exe.ELF)
	if err != nil {
		s.err = err
		return
	}
	for _, f := range found.Functions {
		fn := Function{Name: f.Name, Address: f.Address, FoundBy: ByStructure, Confidence: f.Confidence, Signals: f.Signals, Part: f.Part}
		if i, ok := slices.BinarySearchFunc(extents, f.Address, func(e unwind.Extent, a uint64) int { return cmp.Compare(e.Start, a) }); ok {
			fn.Size = extents[i].End - extents[i].Start
		}
		s.functions = append(s.functions, fn)
	}
	for _, n := range found.NotFound {
		name, why, _ := strings.Cut(n, ": ")
		s.notFound = append(s.notFound, Absent{Name: name, Why: why})
	}
}

// nameAt returns the name of the function that begins at an address: its symbol
// or, without one, the address.
func (s *survey) nameAt(address uint64) string {
	symbols, err := s.exe.ELF.Symbols()
	if err == nil {
		for _, sym := range symbols {
			if sym.Value == address && elf.ST_TYPE(sym.Info) == elf.STT_FUNC {
				return sym.Name
			}
		}
	}
	return fmt.Sprintf("0x%x", address)
}

// count completes the functions by the number of their copies, and adds those
// of which there is nothing but copies.
func (s *survey) count() {
	slices.SortFunc(s.functions, func(a, b Function) int { return cmp.Compare(a.Address, b.Address) })
	copies := make(map[string]int)
	for _, c := range s.copies {
		copies[c.function]++
	}
	for i := range s.functions {
		s.functions[i].Copies = s.number(s.functions[i].Name, copies)
	}
	for i := range s.notFound {
		s.notFound[i].Copies = s.number(s.notFound[i].Name, copies)
	}
	for _, name := range functionNames {
		if copies[name] > 0 && s.byDWARF && len(s.bodies(name)) == 0 {
			s.notFound = append(s.notFound, Absent{Name: name, Copies: copies[name], Why: "inlined everywhere"})
		}
	}
}

func (s *survey) number(name string, copies map[string]int) int {
	if !s.accounts(name) {
		return -1
	}
	return copies[name]
}

// accounts says whether the copies of a function are known.
func (s *survey) accounts(name string) bool {
	// In BIRD 3 a copy of lp_allocu looks like one of lp_alloc.
	return s.byDWARF || s.err == nil && (structure.Accounts(name) || s.third && name == "lp_allocu")
}

// bodies returns the functions of a name.
func (s *survey) bodies(name string) (list []Function) {
	for _, f := range s.functions {
		if f.Name == name {
			list = append(list, f)
		}
	}
	return list
}

// whole returns the functions of a name of which the arguments and every call
// are as in the source, or says why there are none.
func (s *survey) whole(name string) ([]Function, error) {
	list := s.bodies(name)
	if len(list) == 0 {
		return nil, s.absent(name)
	}
	for _, f := range list {
		if f.Part || f.altered {
			return nil, fmt.Errorf("%s was split or changed by the compiler (%s)", name, cmp.Or(f.Symbol, "a part"))
		}
		if f.Confidence == structure.Low {
			return nil, fmt.Errorf("%s is not found for certain", name)
		}
	}
	return list, nil
}

// absent says why a function is not there.
func (s *survey) absent(name string) error {
	if s.err != nil && len(s.functions) == 0 {
		return s.err
	}
	for _, n := range s.notFound {
		if n.Name == name {
			return fmt.Errorf("%s is not found: %s", name, n.Why)
		}
	}
	return fmt.Errorf("%s has no function %s", s.exe.Name, name)
}

// site makes a site of a function.
func (s *survey) site(f Function, event Event, entry, returns bool) Site {
	return s.place().site(f, event, f.FoundBy, entry, returns)
}

func (s *survey) place() *placer {
	if s.placer == nil {
		s.placer = newPlacer(s.exe, s.costs)
	}
	return s.placer
}

// isBIRD returns an error if neither symbols nor structure show an allocator.
func (s *survey) isBIRD() error {
	if len(s.functions) > 0 {
		return nil
	}
	return cmp.Or(s.err, errors.New("no allocator of BIRD found"))
}
