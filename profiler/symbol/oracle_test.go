// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// open opens the module in the file at path under the name "prog".
func open(t testing.TB, path string) *Module {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := Open(f, "prog")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run runs a command that a package of Debian has, and returns what it prints.
func run(t testing.TB, dir, pkg, stdin, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install -y %s", err, pkg)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.Bytes())
	}
	return stdout.Bytes()
}

// instructions returns the address of every instruction in the executable
// sections of the file and, by index, the return address where it is a call.
func instructions(t testing.TB, path string) (addrs []uint64, returns []uint64) {
	t.Helper()
	out := run(t, "", "binutils", "", "objdump", "-d", "-w", path)
	for line := range strings.Lines(string(out)) {
		// "  401126:\te8 05 00 00 00       \tcall   401130 <f>"
		field := strings.Split(line, "\t")
		addr, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(field[0]), ":"), 16, 64)
		if len(field) < 3 || err != nil {
			continue
		}
		addrs = append(addrs, addr)
		if op := strings.TrimPrefix(field[2], "bnd "); strings.HasPrefix(op, "call") {
			returns = append(returns, addr+uint64(len(strings.Fields(field[1]))))
		}
	}
	if len(returns) == 0 {
		t.Fatalf("objdump finds no call in %s", path)
	}
	return addrs, returns
}

func parseHex(t testing.TB, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// place is what an oracle says of a frame. The function is "??" and the file
// "" if unknown; the line is 0 if there is none.
type place struct {
	function, file string
	line           int
}

func (p place) String() string { return fmt.Sprintf("%s at %s:%d", p.function, p.file, p.line) }

// An oracle is a symbolizer of others: it returns the chain of frames of each
// address.
type oracle func(t testing.TB, path string, addrs []uint64) map[uint64][]place

func addr2line(t testing.TB, path string, addrs []uint64) map[uint64][]place {
	t.Helper()
	return parsePlaces(t, run(t, "", "binutils", lines(addrs), "addr2line", "-a", "-i", "-f", "-e", path))
}

func llvmSymbolizer(t testing.TB, path string, addrs []uint64) map[uint64][]place {
	t.Helper()
	return parsePlaces(t, run(t, "", "llvm", lines(addrs),
		"llvm-symbolizer", "--output-style=GNU", "--no-demangle", "-a", "-i", "-f", "-e", path))
}

func lines(addrs []uint64) string {
	var b strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&b, "%#x\n", a)
	}
	return b.String()
}

// parsePlaces reads what the oracles print: the address, then a line
// with the function and one with the place for each frame.
func parsePlaces(t testing.TB, out []byte) map[uint64][]place {
	t.Helper()
	places := make(map[uint64][]place)
	var addr uint64
	scanner := bufio.NewScanner(bytes.NewReader(out))
	for scanner.Scan() {
		function := scanner.Text()
		if function == "" {
			continue // llvm-symbolizer ends a chain so
		}
		if strings.HasPrefix(function, "0x") {
			addr, _ = strconv.ParseUint(function[2:], 16, 64)
			places[addr] = []place{}
			continue
		}
		if !scanner.Scan() {
			t.Fatalf("no place of %s at %#x", function, addr)
		}
		at, _, _ := strings.Cut(scanner.Text(), " (discriminator")
		colon := strings.LastIndexByte(at, ':')
		p := place{function: function}
		p.line, _ = strconv.Atoi(at[colon+1:]) // "?" is 0
		if at[:colon] != "??" {
			p.file = path.Clean(at[:colon])
		}
		places[addr] = append(places[addr], p)
	}
	return places
}

// asPlace renders a frame as an oracle would: a function known by its
// symbol alone by the raw symbol, and a PLT stub, which has none, as unknown.
func asPlace(f Frame) place {
	p := place{f.Function, f.File, f.Line}
	switch f.Source {
	case SourceSymbol, SourceDynamic:
		p.function = f.Symbol
	case SourceAddress, SourcePLT:
		p.function = "??"
	}
	return p
}

// difference compares our frames at pc with an oracle's. It returns "" if they
// agree, "unexpected" if not, or the name of a known reason why the oracle
// (binutils 2.40, LLVM 14) says something else:
//
//   - "clone": it names the owner of the code by the symbol or the linkage name
//     of the clone ("f.constprop.0"), or by another symbol of code that the
//     compiler merged. We give the name in the source, and that in Symbol.
//   - "nearest": padding between functions, symbols without a size or type, and
//     PLT stubs. It takes the nearest function symbol before; we take one that
//     covers the address, or none.
//   - "file symbol": without a line it gives the symbol table's STT_FILE, a
//     name without a directory that need not be right.
//   - "first file": in a DWARF 5 line program the file register starts with 1
//     (§6.2.2). addr2line takes file 0; llvm-symbolizer agrees with us.
//
// Two more make addr2line useless for a whole file, so that only
// llvm-symbolizer is asked: ranges of DW_FORM_rnglistx, as clang writes them in
// DWARF 5, which it takes for absent; and file names of 64-bit DWARF 5, which
// it reads from a wrong offset.
func difference(m *Module, pc uint64, frames []Frame, want []place) string {
	if len(frames) != len(want) {
		return "unexpected"
	}
	reason := ""
	for i, f := range frames {
		got, owner := asPlace(f), i == len(frames)-1
		if got.function != want[i].function {
			covered := covers(m, want[i].function, pc)
			switch {
			case owner && f.Source == SourceDWARF && (covered || want[i].function+".cold" == f.Symbol):
				reason = "clone"
			case f.Source <= SourceSymbol && !covered:
				reason = "nearest"
			default:
				return "unexpected"
			}
		}
		if got.file != want[i].file {
			switch {
			case owner && got.file == "" && want[i].line == 0 && path.Base(want[i].file) == want[i].file:
				reason = "file symbol"
			case i == 0 && isFirstFile(m, pc, got.file, want[i].file):
				reason = "first file"
			default:
				return "unexpected"
			}
		}
		if got.line != want[i].line {
			return "unexpected"
		}
	}
	return reason
}

// covers reports whether a symbol of this name and with a size covers pc.
func covers(m *Module, name string, pc uint64) bool {
	return slices.ContainsFunc(m.symbols.symbols, func(s function) bool {
		return s.name == name && s.value <= pc && pc < s.value+s.size
	})
}

func isFirstFile(m *Module, pc uint64, got, want string) bool {
	i, ok := m.dwarf.spans.find(pc)
	if !ok {
		return false
	}
	files := m.dwarf.units[i].lines.files
	return len(files) > 1 && files[0] == want && files[1] == got
}

// compare checks every instruction of the file at path, and the call before
// every return address. It logs how many addresses differ for which known
// reason.
func compare(t testing.TB, path string, ask oracle) {
	t.Helper()
	m := open(t, path)
	addrs, returns := instructions(t, path)
	for _, r := range returns {
		addrs = append(addrs, r-1)
	}
	want := ask(t, path, addrs)
	reasons := make(map[string]int)
	inlined := 0
	for _, pc := range addrs {
		frames := m.Frames(pc, false)
		if len(frames) > 1 {
			inlined++
		}
		reason := difference(m, pc, frames, want[pc])
		if reason == "" {
			continue
		}
		if reasons[reason]++; reason == "unexpected" && reasons[reason] <= 10 {
			t.Errorf("frames of %#x:\n got %+v\nwant %v", pc, frames, want[pc])
		}
	}
	for _, r := range returns {
		call, returned := m.Frames(r-1, false), m.Frames(r, true)
		for i := range returned {
			f := call[i]
			f.Address = r
			if f.Source == SourceAddress {
				f.Function = returned[i].Function
			}
			if f != returned[i] {
				t.Errorf("frames of return address %#x: got %+v, want %+v", r, returned[i], f)
			}
		}
	}
	if s := m.Stats(); s.Errors > 0 || s.DeepInlines > 0 {
		t.Errorf("errors while reading DWARF: %+v", s)
	}
	t.Logf("%d addresses (%d of them calls, %d with inlined frames) compared; known differences: %v",
		len(addrs), len(returns), inlined, reasons)
}
