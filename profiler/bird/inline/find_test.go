// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// shapes are ways to compile the fixture that make different debug information.
var shapes = []struct {
	name, compiler, flags string
	marked                bool // the compiler marks where calls begin
}{
	{"gcc-O1", "gcc", "-g -O1", true},
	{"gcc-O2", "gcc", "-g -O2", true},
	{"gcc-O3", "gcc", "-g -O3", true},
	{"gcc-Os", "gcc", "-g -Os", true},
	{"gcc-unrolled", "gcc", "-g -O3 -funroll-all-loops", true},
	{"gcc-dwarf4", "gcc", "-gdwarf-4 -O2", true},
	{"gcc-dwarf64", "gcc", "-g -gdwarf64 -O2", true},
	{"gcc-LTO", "gcc", "-g -O2 -flto", true},
	{"gcc-LTO-dwarf4", "gcc", "-gdwarf-4 -O3 -flto -flto-partition=max", true},
	{"gcc-no-views", "gcc", "-g -O2 -gno-variable-location-views", false},
	{"gcc-view-pairs", "gcc", "-g -O2 -gvariable-location-views=incompat5", true},
	{"gcc-frame-pointer", "gcc", "-g -O2 -fno-omit-frame-pointer -no-pie", true},
	{"gcc-endbr", "gcc", "-g -O2 -fcf-protection", true},
	{"clang-O1", "clang", "-g -O1", false},
	{"clang-O2", "clang", "-g -O2", false},
	{"clang-O3-dwarf4", "clang", "-gdwarf-4 -O3", false},
	{"clang-Os", "clang", "-g -Os -fno-pie -no-pie", false},
	{"clang-LTO", "clang", "-g -O2 -flto", false},
}

// tool runs a tool of a Debian package.
func tool(t testing.TB, pkg, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("run %s %v (apt-get install -y %s): %v", name, args, pkg, err)
	}
	return out
}

// TestOracle counts the instances as LLVM sees them.
func TestOracle(t *testing.T) {
	entry := regexp.MustCompile(`DW_TAG_inlined_subroutine\n\s+DW_AT_abstract_origin\s+\(0x[0-9a-f]+ "(\w+)"\)`)
	for _, shape := range shapes {
		if shape.name == "gcc-view-pairs" {
			continue // LLVM fails on DW_LLE_GNU_view_pair
		}
		t.Run(shape.name, func(t *testing.T) {
			path := build(t, shape.compiler, shape.flags)
			want := make(map[string]int)
			for _, m := range entry.FindAllSubmatch(tool(t, "llvm", "llvm-dwarfdump", "--debug-info", path), -1) {
				want[string(m[1])]++
			}
			found := find(t, path, names...)
			for _, name := range names {
				if got := len(found[name]); got != want[name] || got == 0 {
					t.Errorf("%s: %d instances, LLVM says %d", name, got, want[name])
				}
			}
		})
	}
}

// TestArgs: the parameters are all there, in order, with their sizes.
func TestArgs(t *testing.T) {
	want := map[string][]Arg{
		"take":   {{Name: "p", Size: 8}, {Name: "size", Size: 4}},
		"put":    {{Name: "block", Size: 8}},
		"move":   {{Name: "from", Size: 8}, {Name: "to", Size: 8}, {Name: "n", Size: 8}},
		"change": {{Name: "small", Size: 1}, {Name: "size", Size: 4}},
		"draw":   {{Name: "p", Size: 8}},
	}
	for _, shape := range shapes {
		kinds := make(map[Kind]int)
		for name, list := range find(t, build(t, shape.compiler, shape.flags), names...) {
			for _, in := range list {
				if !slices.EqualFunc(in.Args, want[name], func(a, b Arg) bool { return a.Name == b.Name && a.Size == b.Size }) {
					t.Errorf("%s: %s: %+v", shape.name, name, in.Args)
				}
				for _, a := range in.Args {
					if kinds[a.Kind]++; (a.Kind == Unknown) != (a.Why != "") {
						t.Errorf("%s: %s: %+v", shape.name, name, a)
					}
				}
			}
		}
		if kinds[Constant] == 0 || kinds[Register] == 0 {
			t.Errorf("%s: kinds of arguments: %v", shape.name, kinds)
		}
	}
}

func TestOwner(t *testing.T) {
	f := open(t, build(t, "gcc", "-g -O2"))
	found, err := Find(f, "put")
	if err != nil {
		t.Fatal(err)
	}
	var into []string
	for _, in := range found["put"] {
		into = append(into, in.Into)
		body := OutOfLine(f, in.Into)[in.Into]
		if len(body) == 0 || in.Symbol != body[0].Symbol || in.Start != body[0].Address || in.Entry < in.Start {
			t.Errorf("%+v is not in %+v", in, body)
		}
	}
	for _, want := range []string{"constants", "loop", "branches", "many_live", "other_file", "unrolled"} {
		if !slices.Contains(into, want) {
			t.Errorf("put is inlined into %v, not into %s", into, want)
		}
	}
}

// TestSplit: gcc splits give and inlines the pieces.
func TestSplit(t *testing.T) {
	path := compile(t, "gcc", "-g -O2", "split.c")
	list := find(t, path, "give")["give"]
	if !slices.ContainsFunc(list, func(in Instance) bool { return in.Self && in.Into == "give" }) {
		t.Errorf("give in give is not marked: %+v", list)
	}
	list = find(t, compile(t, "gcc", "-g -O3 -flto", "split.c"), "give")["give"]
	nested := 0
	for _, in := range list {
		if in.Self || in.Nested && (in.Once || in.Doubt != "") {
			t.Errorf("%+v", in)
		}
		if in.Nested {
			nested++
		}
	}
	if nested == 0 || nested == len(list) {
		t.Errorf("%d of %d instances are nested: %+v", nested, len(list), list)
	}
}

// TestDebugFile: a separate debug file has no code.
func TestDebugFile(t *testing.T) {
	path := build(t, "gcc", "-g -O2")
	debug := filepath.Join(t.TempDir(), "debug")
	tool(t, "binutils", "objcopy", "--only-keep-debug", path, debug)
	want := find(t, path, names...)
	got := find(t, debug, names...)
	for _, name := range names {
		same := func(a, b Instance) bool {
			return a.Entry == b.Entry && a.Symbol == b.Symbol && a.Start == b.Start && a.Decoded && !b.Decoded && slices.Equal(a.Args, b.Args)
		}
		if !slices.EqualFunc(want[name], got[name], same) {
			t.Errorf("%s: %+v, in the debug file %+v", name, want[name], got[name])
		}
	}
}

// TestWithoutSymtab: DWARF has the names, too.
func TestWithoutSymtab(t *testing.T) {
	path := build(t, "gcc", "-g -O2")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const sectionHeader, sectionType = 64, 4 // bytes
	headers := binary.LittleEndian.Uint64(data[40:])
	for i, section := range open(t, path).Sections {
		if section.Type == elf.SHT_SYMTAB {
			binary.LittleEndian.PutUint32(data[headers+uint64(i)*sectionHeader+sectionType:], uint32(elf.SHT_NULL))
		}
	}
	bare, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	want := find(t, path, names...)
	got, err := Find(bare, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		same := func(a, b Instance) bool {
			return a.Entry == b.Entry && a.Start == b.Start && b.Symbol == "" && a.Into == b.Into && b.Decoded
		}
		if !slices.EqualFunc(want[name], got[name], same) {
			t.Errorf("%s: %+v, without .symtab %+v", name, want[name], got[name])
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name, compiler, flags string
		want                  error
	}{
		{"no DWARF", "gcc", "-O2", ErrNoDWARF},
		{"split, gcc", "gcc", "-g -O2 -gsplit-dwarf -dumpdir " + t.TempDir() + "/", ErrSplitDWARF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Find(open(t, build(t, test.compiler, test.flags)), names...)
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

// TestMachine: register numbers are x86-64's.
func TestMachine(t *testing.T) {
	data, err := os.ReadFile(build(t, "gcc", "-g -O2"))
	if err != nil {
		t.Fatal(err)
	}
	data[18] = byte(elf.EM_AARCH64)
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Find(f, "put"); err == nil {
		t.Error("no error for another machine")
	}
}

// TestDecode: an entry inside of an instruction is a problem.
func TestDecode(t *testing.T) {
	path := build(t, "gcc", "-g -O2 -fcf-protection")
	f := open(t, path)
	found, err := Find(f, "put")
	if err != nil {
		t.Fatal(err)
	}
	c := newCode(f)
	in := found["put"][0]
	begins, _ := c.decode(in.Start, in.Entry+32)
	inside := in.Entry + 1
	for begins[inside] {
		inside++
	}
	in.Entry, in.Decoded = inside, false
	list := map[string][]Instance{"put": {in}}
	c.check(list)
	if got := list["put"][0]; got.Problem == "" || got.Decoded {
		t.Errorf("%+v", got)
	}
}
