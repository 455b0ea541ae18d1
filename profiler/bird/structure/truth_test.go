// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

func findFile(path string) (*Findings, time.Duration, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	begin := time.Now()
	found, err := Find(file)
	return found, time.Since(begin), err
}

// strip returns a copy of the file without symbols.
func strip(t *testing.T, path string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stripped")
	if msg, err := exec.Command("strip", "-s", "-o", out, path).CombinedOutput(); err != nil {
		t.Fatalf("strip: %v: %s (apt-get install -y binutils)", err, msg)
	}
	return out
}

// truth is what symbols and DWARF say of a file.
type truth struct {
	functions map[string]map[uint64]bool // addresses by base name; true: a part
	objects   map[string]uint64
	sizes     map[uint64]uint64
	inlined   map[string][]span // inlined copies by name
}

type span [][2]uint64

func (s span) contains(pc uint64) bool {
	for _, r := range s {
		if pc >= r[0] && pc < r[1] {
			return true
		}
	}
	return false
}

func readTruth(path string) (*truth, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		return nil, err
	}
	tr := &truth{functions: make(map[string]map[uint64]bool), objects: make(map[string]uint64), sizes: make(map[uint64]uint64), inlined: make(map[string][]span)}
	for _, s := range symbols {
		base, suffix, _ := strings.Cut(s.Name, ".")
		switch elf.ST_TYPE(s.Info) {
		case elf.STT_FUNC:
			if s.Section == elf.SHN_UNDEF || strings.Contains(suffix, "cold") {
				continue
			}
			if tr.functions[base] == nil {
				tr.functions[base] = make(map[uint64]bool)
			}
			tr.sizes[s.Value] = s.Size
			tr.functions[base][s.Value] = strings.Contains(suffix, "part.")
		case elf.STT_OBJECT:
			tr.objects[base] = s.Value
		}
	}
	if data, err := file.DWARF(); err == nil {
		readInlined(data, tr)
	}
	return tr, nil
}

// readInlined collects the ranges of inlined copies of allocator functions
// outside functions of the same name.
func readInlined(data *dwarf.Data, tr *truth) {
	names := make(map[dwarf.Offset]string)
	resolve := func(e *dwarf.Entry) string {
		for depth := 0; e != nil && depth < 4; depth++ {
			if n, ok := e.Val(dwarf.AttrName).(string); ok {
				return n
			}
			next, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
			if !ok {
				return ""
			}
			r := data.Reader()
			r.Seek(next)
			e, _ = r.Next()
		}
		return ""
	}
	r := data.Reader()
	for {
		e, err := r.Next()
		if e == nil || err != nil {
			return
		}
		if e.Tag != dwarf.TagInlinedSubroutine {
			continue
		}
		origin, _ := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		name, ok := names[origin]
		if !ok {
			name = resolve(e)
			names[origin] = name
		}
		if !Accounts(name) {
			continue
		}
		ranges, err := data.Ranges(e)
		if err != nil || len(ranges) == 0 {
			continue
		}
		own := false
		for at := range tr.functions[name] {
			own = own || at <= ranges[0][0] && ranges[0][0] < at+tr.sizes[at]
		}
		if !own {
			tr.inlined[name] = append(tr.inlined[name], span(ranges))
		}
	}
}

type score struct {
	right, inlined int
	missed, wrong  []string
	notes          []string
}

// compare judges findings by symbols.
func compare(found *Findings, tr *truth) score {
	var s score
	byName := make(map[string][]Function)
	for _, fn := range found.Functions {
		byName[fn.Name] = append(byName[fn.Name], fn)
		part, ok := tr.functions[fn.Name][fn.Address]
		switch {
		case !ok:
			s.wrong = append(s.wrong, fmt.Sprintf("%s at %#x (%s)", fn.Name, fn.Address, strings.Join(fn.Signals, "; ")))
		case part != fn.Part:
			s.notes = append(s.notes, fmt.Sprintf("%s: part is %v", fn.Name, part))
		}
		if fn.Confidence == Low {
			s.notes = append(s.notes, fn.Name+" low")
		}
	}
	f := finder{k: int64(found.ClassOffset), class: make(map[string]Class)}
	for _, c := range found.Classes {
		f.class[c.Name] = c
	}
	for _, name := range f.expected() {
		switch {
		case len(byName[name]) > 0:
			s.right++
		case len(tr.functions[name]) == 0:
			s.inlined++
		default:
			s.missed = append(s.missed, name)
		}
	}
	s.right -= len(s.wrong)
	if root, ok := tr.objects["root_pool"]; found.RootPool == 0 {
		s.missed = append(s.missed, "root_pool")
	} else if !ok || root != found.RootPool {
		s.wrong = append(s.wrong, fmt.Sprintf("root_pool %#x, is %#x", found.RootPool, root))
	}
	if len(s.missed) > 0 {
		s.notes = append(s.notes, "missed "+strings.Join(s.missed, " "))
	}
	s.notes = append(s.notes, sitesAgainst(found, tr)...)
	return s
}

// sitesAgainst compares inline sites with DWARF: copies hit of all, and sites in
// no copy and in no function of the name.
func sitesAgainst(found *Findings, tr *truth) (notes []string) {
	var names []string
	for name := range tr.inlined {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		hit, outside := make(map[int]bool), 0
		sites := 0
		for _, site := range found.Inlined {
			if site.Function != name {
				continue
			}
			sites++
			inside := false
			for i, c := range tr.inlined[name] {
				if c.contains(site.Address) {
					hit[i], inside = true, true
				}
			}
			if !inside {
				outside++
			}
		}
		for i, c := range tr.inlined[name] {
			if !hit[i] && testing.Verbose() {
				fmt.Printf("  no site in copy of %s at %#x\n", name, c)
			}
		}
		notes = append(notes, fmt.Sprintf("%s copies %d/%d, sites elsewhere %d/%d", name, len(hit), len(tr.inlined[name]), outside, sites))
	}
	return notes
}
