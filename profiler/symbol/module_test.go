// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestPrograms compares every instruction of programs whose debug information
// was made in many ways with two other symbolizers, and looks for the chains that are known
// from the source.
func TestPrograms(t *testing.T) {
	tests := []struct{ compiler, flags string }{
		{"gcc", "-g -gdwarf-5 -O0 -fPIE -pie"},
		{"gcc", "-g -gdwarf-4 -O0 -fno-pie -no-pie"},
		{"gcc", "-g -gdwarf-5 -O1 -fno-pie -no-pie"},
		{"gcc", "-g -gdwarf-4 -O2 -fPIE -pie"},
		{"gcc", "-g -gdwarf-5 -O2 -fPIE -pie -fcf-protection=full"},
		{"gcc", "-g -gdwarf-5 -O3 -fPIE -pie -gz"},
		{"gcc", "-g -gdwarf-4 -O3 -fno-pie -no-pie -gz=zlib-gnu"},
		{"gcc", "-g -gdwarf-4 -gdwarf64 -O2 -fPIE -pie"},
		{"gcc", "-g -gdwarf-5 -gdwarf64 -O2 -fPIE -pie"},
		{"gcc", "-g -gdwarf-5 -O2 -fPIE -pie -ffunction-sections -Wl,--gc-sections"},
		{"gcc", "-g -gdwarf-4 -O2 -fno-pie -no-pie -ffunction-sections -Wl,--gc-sections -Wl,-z,noseparate-code"},
		{"gcc", "-g -gdwarf-5 -O2 -fPIE -pie -flto -DLTO"},
		{"gcc", "-g -gdwarf-4 -O2 -fno-pie -no-pie -flto -flto-partition=1to1 -DLTO"},
		{"gcc", "-g -gdwarf-5 -O3 -fPIE -pie -flto -flto-partition=max -DLTO -gz"},
		{"clang", "-g -gdwarf-5 -O0 -fPIE -pie"},
		{"clang", "-g -gdwarf-4 -O1 -fno-pie -no-pie"},
		{"clang", "-g -gdwarf-5 -O2 -fPIE -pie -gz"},
		{"clang", "-g -gdwarf-4 -O3 -fPIE -pie -ffunction-sections -Wl,--gc-sections"},
		{"clang", "-g -gdwarf-5 -O2 -fPIE -pie -flto -DLTO"},
		{"clang", "-g -gdwarf-4 -O2 -fno-pie -no-pie -flto -DLTO"},
	}
	for _, test := range tests {
		t.Run(test.compiler+" "+test.flags, func(t *testing.T) {
			t.Parallel()
			path := build(t, test.compiler, test.flags)
			compare(t, path, llvmSymbolizer)
			// See difference for what addr2line cannot read.
			dwarf5 := strings.Contains(test.flags, "-gdwarf-5")
			if !dwarf5 || test.compiler != "clang" && !strings.Contains(test.flags, "-gdwarf64") {
				compare(t, path, addr2line)
			}
			m := open(t, path)
			if !m.HasDWARF() || !m.HasLines() || !m.HasSymbols() {
				t.Fatalf("HasDWARF %v (%v), HasLines %v, HasSymbols %v",
					m.HasDWARF(), m.DWARFError(), m.HasLines(), m.HasSymbols())
			}
			_, returns := instructions(t, path)
			for _, chain := range chains {
				hasChain(t, m, returns, chain)
			}
			if strings.Contains(test.flags, "-DLTO") {
				hasChain(t, m, returns, acrossFiles)
			}
		})
	}
}

// TestDebugFile reads a stripped program together with its debug file.
func TestDebugFile(t *testing.T) {
	path := build(t, "gcc", "-g -O2 -flto -DLTO -Wl,--build-id")
	dir := filepath.Dir(path)
	run(t, dir, "binutils", "", "objcopy", "--only-keep-debug", "--compress-debug-sections", "prog", "prog.debug")
	run(t, dir, "binutils", "", "strip", "-o", "stripped", "prog")
	full, m := open(t, path), open(t, filepath.Join(dir, "stripped"))
	if m.BuildID() == "" || m.BuildID() != full.BuildID() {
		t.Errorf("build IDs %q, %q", m.BuildID(), full.BuildID())
	}
	if out := run(t, dir, "binutils", "", "readelf", "-n", "prog"); !strings.Contains(string(out), m.BuildID()) {
		t.Errorf("readelf has another build ID than %s:\n%s", m.BuildID(), out)
	}
	if m.HasSymbols() || m.HasDWARF() || m.HasLines() || !errors.Is(m.DWARFError(), ErrNoDWARF) {
		t.Errorf("stripped: HasSymbols %v, HasDWARF %v, HasLines %v, %v", m.HasSymbols(), m.HasDWARF(), m.HasLines(), m.DWARFError())
	}
	addrs, returns := instructions(t, path)
	m.Frames(addrs[0], false) // must not stay as it is now
	given := Places{File: filepath.Join(dir, "prog.debug")}
	if _, err := m.FindDebugFile(path, given); err != nil {
		t.Fatal(err)
	}
	if !m.HasSymbols() || !m.HasDWARF() || !m.HasLines() {
		t.Errorf("with debug file: HasSymbols %v, HasDWARF %v (%v), HasLines %v", m.HasSymbols(), m.HasDWARF(), m.DWARFError(), m.HasLines())
	}
	for _, pc := range addrs {
		if got, want := m.Frames(pc, false), apart(full.Frames(pc, false)); !slices.Equal(got, want) {
			t.Errorf("frames of %#x: got %+v, want %+v", pc, got, want)
		}
	}
	hasChain(t, m, returns, acrossFiles)

	other := open(t, build(t, "gcc", "-O1 -Wl,--build-id"))
	if _, err := other.FindDebugFile(path, given); err == nil || !strings.Contains(err.Error(), "build ID") {
		t.Errorf("debug file of another program: %v", err)
	}
}

// TestReturnAddress looks at a call that is the last instruction of its
// function: the return address belongs to the next one.
func TestReturnAddress(t *testing.T) {
	for _, flags := range []string{"-g -O2", "-O2"} {
		path := build(t, "gcc", flags)
		m := open(t, path)
		_, returns := instructions(t, path)
		found := false
		for _, r := range returns {
			f := m.Frames(r, true)
			if f[len(f)-1].Function != "never_returns" {
				continue
			}
			found = true
			at := m.Frames(r, false)
			if at[len(at)-1].Function == "never_returns" {
				t.Errorf("%q: %#x is still in never_returns: the test shows nothing", flags, r)
			}
			if f[0].Address != r {
				t.Errorf("%q: address %#x, want %#x", flags, f[0].Address, r)
			}
		}
		if !found {
			t.Errorf("%q: no call found in never_returns", flags)
		}
	}
}

func TestFallback(t *testing.T) {
	m := open(t, build(t, "gcc", "-g"))
	for _, vaddr := range []uint64{0, 1, 0x7ffff000, 1<<64 - 1} {
		for _, returned := range []bool{false, true} {
			want := []Frame{{Function: fmt.Sprintf("prog+%#x", vaddr), Module: "prog", Address: vaddr, Source: SourceAddress}}
			if got := m.Frames(vaddr, returned); !slices.Equal(got, want) {
				t.Errorf("Frames(%#x, %v) = %+v, want %+v", vaddr, returned, got, want)
			}
		}
	}
}

func TestConcurrentFrames(t *testing.T) {
	path := build(t, "gcc", "-g -O2 -flto -flto-partition=max -DLTO")
	one, many := open(t, path), open(t, path)
	addrs, _ := instructions(t, path)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, pc := range addrs {
				many.Frames(pc, false)
				many.Stats()
			}
		})
	}
	wg.Wait()
	for _, pc := range addrs {
		if got, want := many.Frames(pc, false), one.Frames(pc, false); !slices.Equal(got, want) {
			t.Errorf("frames of %#x: got %+v, want %+v", pc, got, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	object := filepath.Join(t.TempDir(), "chain.o")
	run(t, "", "gcc", "", "gcc", "-g", "-c", "testdata/chain2.c", "-o", object)
	relocatable, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, data, want string
	}{
		{"empty", "", "open prog: "},
		{"text", "#!/bin/sh\n", "open prog: "},
		{"magic", "\x7fELF", "open prog: "},
		{"object", string(relocatable), "open prog: ET_REL is neither an executable nor a shared object"},
	}
	for _, test := range tests {
		m, err := Open(strings.NewReader(test.data), "prog")
		if m != nil || err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
