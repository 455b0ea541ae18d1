// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
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

// place is what addr2line prints of a frame. The function is "??" and the file
// "" if unknown; the line is 0 if there is none.
type place struct {
	function, file string
	line           int
}

func (p place) String() string { return fmt.Sprintf("%s at %s:%d", p.function, p.file, p.line) }

// addr2line returns the chain of frames of each address.
func addr2line(t testing.TB, path string, addrs []uint64) map[uint64][]place {
	t.Helper()
	var in strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&in, "%#x\n", a)
	}
	out := run(t, "", "binutils", in.String(), "addr2line", "-a", "-i", "-f", "-e", path)
	return parsePlaces(t, out)
}

// parsePlaces reads what addr2line -a -i -f prints: the address, then a line
// with the function and one with the place for each frame.
func parsePlaces(t testing.TB, out []byte) map[uint64][]place {
	t.Helper()
	places := make(map[uint64][]place)
	var addr uint64
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		function := lines.Text()
		if function == "" {
			continue // llvm-symbolizer ends a chain so
		}
		if strings.HasPrefix(function, "0x") {
			addr, _ = strconv.ParseUint(function[2:], 16, 64)
			places[addr] = []place{}
			continue
		}
		if !lines.Scan() {
			t.Fatalf("no place of %s at %#x", function, addr)
		}
		at, _, _ := strings.Cut(lines.Text(), " (discriminator")
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

// asPlaces renders frames as addr2line prints them: functions known by their
// symbol alone by the raw symbol, and PLT stubs, which have none, as unknown.
func asPlaces(frames []Frame) []place {
	var places []place
	for _, f := range frames {
		p := place{f.Function, f.File, f.Line}
		switch f.Source {
		case SourceSymbol, SourceDynamic:
			p.function = f.Symbol
		case SourceAddress, SourcePLT:
			p.function = "??"
		}
		places = append(places, p)
	}
	return places
}
