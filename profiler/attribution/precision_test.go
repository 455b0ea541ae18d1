// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/plan"
	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

// birdPathsVariable names BIRDs with debug information, separated by colons, of
// which the table is made too:
//
//	LEAKPROF_BIRD_PATHS=… go test -v -run TestPrecision ./profiler/attribution
const birdPathsVariable = "LEAKPROF_BIRD_PATHS"

// known is what debug information says of a function.
type known struct {
	name string
	// unit is the source file that was compiled, declared the one that the
	// function is written in: a header for an inline function that has a copy.
	unit, declared string
}

// count is how many functions a method tells something of, and how often it is
// right.
type count struct{ told, right int }

func (c *count) add(right bool) {
	c.told++
	if right {
		c.right++
	}
}

func (c count) String() string {
	if c.told == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d, %.2f %%", c.right, c.told, 100*float64(c.right)/float64(c.told))
}

// precision is how right names are, by method.
type precision struct {
	total                int // functions
	debugFile            count
	structure            count // names
	unit, declared       count // files, by either reading
	unitAlone, hookFiles count // of unit, those of functions without a name, and of those with one
	mixed                string
	wrong                []string
}

// TestPrecision strips programs and compares what frames say with their debug
// information: names by a separate debug file and by structure have to be right,
// source files in 99 of 100 cases, and none is to be told of a program built with
// link-time optimisation.
func TestPrecision(t *testing.T) {
	type binary struct {
		name, path string
		lto        bool
		least      float64 // share of functions of which the file is to be told
	}
	var all []binary
	for _, c := range []struct {
		generation int
		compiler   string
		flags      string
		lto        bool
	}{
		{2, "gcc", "-g -O2", false},
		{3, "clang", "-g -O2", false},
		{3, "gcc", "-g -O2 -flto", true},
	} {
		flags := c.flags
		for _, source := range []string{"bgp.c", "attrs.c", "bmp.c", "calls.c"} {
			flags += " " + absolute(t, "../bird/names/testdata/"+source)
		}
		path := fixture.BuildAllocators(t, c.generation, c.compiler, flags, absolute(t, "../bird/structure/testdata/main.c"))
		all = append(all, binary{c.compiler + " " + c.flags, path, c.lto, 0})
	}
	for _, path := range filepath.SplitList(os.Getenv(birdPathsVariable)) {
		name := filepath.Base(filepath.Dir(path))
		all = append(all, binary{name, path, isLTO(t, path) || strings.HasSuffix(name, "-lto"), 0.6})
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "program\tfunctions\tdebug file: name, file\tstructure: name\tfile told\tright, as compiled\tright, as written\tmixed")
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			p := measure(t, b.path)
			fmt.Fprintf(w, "%s\t%d\t%v\t%v\t%.1f %%\t%v\t%v\t%s\n", b.name, p.total, p.debugFile, p.structure,
				100*float64(p.unit.told)/float64(p.total), p.unit, p.declared, p.mixed)
			if p.debugFile.told != p.total || p.debugFile.right != p.total {
				t.Errorf("by the debug file %v are right", p.debugFile)
			}
			if p.structure.told == 0 || p.structure.right != p.structure.told {
				t.Errorf("by structure %v are right", p.structure)
			}
			switch {
			case b.lto && (p.mixed == "" || p.unitAlone.told > 0):
				t.Errorf("files are told of %d functions of a build with link-time optimisation", p.unitAlone.told)
			case !b.lto && (p.mixed != "" || p.unit.told == 0):
				t.Errorf("no files are told: %s", p.mixed)
			case !b.lto && float64(p.unit.right) < 0.99*float64(p.unit.told):
				t.Errorf("%v files are right", p.unit)
			case !b.lto && float64(p.unit.told) < b.least*float64(p.total):
				t.Errorf("files of %d of %d functions are told", p.unit.told, p.total)
			}
			for i, line := range p.wrong {
				if i == 20 {
					break
				}
				t.Log(line)
			}
		})
	}
	w.Flush()
	t.Log("\n" + table.String())
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// openModule is a program as the attributor has it.
func openModule(t testing.TB, path string) *module {
	t.Helper()
	m, err := target.OpenModule(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	s, err := symbol.Open(m.Reader, m.Name)
	if err != nil {
		t.Fatal(err)
	}
	return &module{Module: m, symbols: s}
}

func measure(t *testing.T, path string) (p precision) {
	t.Helper()
	truth := readTruth(t, path)
	p.total = len(truth)
	stripped := fixture.Strip(t, path)
	debug := filepath.Join(t.TempDir(), "bird.debug")
	if out, err := exec.Command("objcopy", "--only-keep-debug", path, debug).CombinedOutput(); err != nil {
		t.Fatalf("objcopy (apt-get install -y binutils): %v\n%s", err, out)
	}

	byFile := openModule(t, stripped)
	if used, err := byFile.symbols.FindDebugFile(stripped, symbol.Places{File: debug}); used == "" {
		t.Fatal(err)
	}
	byStructure := openModule(t, stripped)
	planned, err := plan.NewForFile(byStructure.Module, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	byStructure.useStructure(planned.Functions)
	p.mixed = byStructure.mixed

	for address, is := range truth {
		f := owner(byFile.frames(address, false))
		p.debugFile.add(f.Origin() == symbol.OriginDebugFile && f.Function == is.name && f.File != "")

		f = owner(byStructure.frames(address, false))
		if f.Origin() == symbol.OriginStructure {
			p.structure.add(f.Function == is.name)
			if f.Function != is.name {
				p.wrong = append(p.wrong, fmt.Sprintf("%s at %#x is called %s", is.name, address, f.Function))
			}
		}
		if f.File == "" {
			continue
		}
		right := f.File == is.unit
		if !right {
			p.wrong = append(p.wrong, fmt.Sprintf("%s at %#x is said to be in %s, and is in %s", is.name, address, f.File, is.unit))
		}
		p.unit.add(right)
		p.declared.add(f.File == is.declared)
		if f.Origin() == symbol.OriginFileOnly {
			p.unitAlone.add(right)
		} else {
			p.hookFiles.add(right)
		}
	}
	return p
}

// owner is the frame that the code belongs to.
func owner(frames []symbol.Frame) symbol.Frame { return frames[len(frames)-1] }

// readTruth reads the functions of a program with debug information, by the
// address of their entry.
func readTruth(t testing.TB, path string) map[uint64]known {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		known
		origin dwarf.Offset
		low    uint64
	}
	entries := make(map[dwarf.Offset]entry)
	var unit, dir string
	var files []*dwarf.LineFile
	for r := d.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e == nil {
			break
		}
		switch e.Tag {
		case dwarf.TagCompileUnit:
			unit, _ = e.Val(dwarf.AttrName).(string)
			dir, _ = e.Val(dwarf.AttrCompDir).(string)
			files = nil
			if lines, err := d.LineReader(e); err == nil && lines != nil {
				files = lines.Files()
			} else if err != nil && err != io.EOF {
				t.Fatal(err)
			}
		case dwarf.TagSubprogram:
			added := entry{known: known{unit: sourcePath(unit, dir)}}
			added.name, _ = e.Val(dwarf.AttrName).(string)
			if i, ok := e.Val(dwarf.AttrDeclFile).(int64); ok && i >= 0 && int(i) < len(files) && files[i] != nil {
				added.declared = sourcePath(files[i].Name, dir)
			}
			added.origin, _ = e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
			if added.origin == 0 {
				added.origin, _ = e.Val(dwarf.AttrSpecification).(dwarf.Offset)
			}
			if added.low, _ = e.Val(dwarf.AttrLowpc).(uint64); added.low == 0 {
				// The entry of a function in parts is in the first.
				if ranges, err := d.Ranges(e); err == nil && len(ranges) > 0 {
					added.low = ranges[0][0]
				}
			}
			entries[e.Offset] = added
		}
	}
	truth := make(map[uint64]known)
	for _, e := range entries {
		is := e.known
		for from, hops := e, 0; is.name == "" && from.origin != 0 && hops < 8; hops++ {
			from = entries[from.origin]
			is.name, is.declared = from.name, from.declared
		}
		if e.low != 0 && is.name != "" {
			truth[e.low] = is
		}
	}
	return truth
}

// generated are files that BIRD's build makes, by the source that they are told
// by, and those of the fixture.
var generated = map[string]string{
	"obj/conf/cf-lex.c": "conf/cf-lex.l", "obj/filter/inst-gen.c": "filter/f-inst.c",
	"main.c": "sysdep/unix/main.c", "bgp.c": "proto/bgp/bgp.c", "attrs.c": "proto/bgp/attrs.c", "bmp.c": "proto/bmp/bmp.c",
}

// sourcePath is a path in BIRD's sources.
func sourcePath(path, dir string) string {
	path = strings.TrimPrefix(filepath.Clean(path), dir+"/")
	if filepath.Base(filepath.Dir(path)) == "testdata" {
		path = filepath.Base(path)
	}
	if source := generated[path]; source != "" {
		return source
	}
	return path
}

// isLTO says whether a program's compile units are those of gcc's link-time
// optimisation. In clang's nothing tells it: a directory that ends in -lto does.
func isLTO(t testing.TB, path string) bool {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := f.DWARF()
	if err != nil {
		t.Fatal(err)
	}
	for r := d.Reader(); ; {
		e, err := r.Next()
		if err != nil || e == nil {
			return false
		}
		producer, _ := e.Val(dwarf.AttrProducer).(string)
		if strings.HasPrefix(producer, "GNU GIMPLE") {
			return true
		}
		r.SkipChildren()
	}
}
