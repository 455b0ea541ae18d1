// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// compile builds a fixture from testdata and returns its path.
func compile(t testing.TB, compiler, source string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "fixture")
	args := append([]string{"-o", out, filepath.Join("testdata", source)}, flags...)
	if msg, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("run %s %q (apt-get install -y gcc clang binutils libc6-dev): %v\n%s", compiler, args, err, msg)
	}
	return out
}

// TestCompilers compares what gcc and clang make of frames.c with readelf.
func TestCompilers(t *testing.T) {
	for _, compiler := range []string{"gcc", "clang"} {
		for _, flags := range []string{
			"-O0", "-O1", "-O2", "-O3", "-O0 -no-pie", "-O1 -no-pie", "-O2 -no-pie", "-O3 -no-pie",
			"-Os", "-O2 -static", "-O2 -static-pie",
			"-O2 -mstackrealign", "-O0 -mstackrealign", "-O2 -fno-omit-frame-pointer",
			"-O2 -Wl,--no-eh-frame-hdr", "-O2 -fcf-protection=full",
		} {
			t.Run(compiler+" "+flags, func(t *testing.T) {
				t.Parallel()
				compareWithReadelf(t, compile(t, compiler, "frames.c", strings.Fields(flags)...))
			})
		}
	}
}

// TestDRAP makes sure that the fixtures have what they are for: a CFA and
// registers that are found through rbp in a function that realigns its stack.
func TestDRAP(t *testing.T) {
	table := open(t, compile(t, "gcc", "frames.c", "-O2", "-mstackrealign"))
	found := map[string]bool{}
	for _, r := range table.Rules {
		found["CFA "+r.CFA.String()] = true
		for _, s := range r.Saved {
			found["saved "+s.Kind.String()] = true
		}
	}
	for _, want := range []string{"CFA deref", "CFA plt", "CFA end", "saved rbp", "saved cfa"} {
		if !found[want] {
			t.Errorf("no rule with %s in %v", want, table.Rules)
		}
	}
}

// TestInstructions compares all call frame instructions with readelf, and checks
// what is expected to be unsupported or lost.
func TestInstructions(t *testing.T) {
	path := compile(t, "gcc", "cfi.S", "-shared", "-nostdlib")
	compareWithReadelf(t, path)
	got := open(t, path).Stats
	want := [numReasons]int{ReasonCFA: 2, ReasonStackPointer: 1, ReasonReturnAddress: 1, ReasonSignalFrame: 2}
	if got.Unsupported != want {
		t.Errorf("unsupported rows %v, want %v", got.Unsupported, want)
	}
	// r14 in xmm1: 2 rows; r15's offset: 4; r13's expression: 3, and r14's: 2.
	if got.LostRegisters != 11 {
		t.Errorf("%d lost registers, want 11", got.LostRegisters)
	}
}

// TestDebugFrame reads .debug_frame, of a file that has no .eh_frame.
func TestDebugFrame(t *testing.T) {
	for _, flags := range []string{"-gdwarf-4", "-gdwarf-5", "-gdwarf64 -gdwarf-5", "-gdwarf-3", "-g -gz=zlib"} {
		t.Run(flags, func(t *testing.T) {
			t.Parallel()
			args := append(strings.Fields(flags), "-O2", "-shared", "-fPIC", "-nostartfiles",
				"-fno-asynchronous-unwind-tables", "-fno-exceptions", "-Wl,-z,nognustack", "-Wl,--no-ld-generated-unwind-info")
			path := compile(t, "gcc", "frames.c", args...)
			if s := open(t, path).Stats.Sections; !reflect.DeepEqual(s, []string{".debug_frame"}) {
				t.Fatalf("read %v, want .debug_frame", s)
			}
			compareWithReadelf(t, path)
		})
	}
}

// TestEmptyEHFrame reads .debug_frame where .eh_frame is there but has no entry.
func TestEmptyEHFrame(t *testing.T) {
	path := compile(t, "gcc", "frames.c", "testdata/terminator.S", "-g", "-O2", "-shared", "-fPIC", "-nostartfiles",
		"-fno-asynchronous-unwind-tables", "-fno-exceptions", "-Wl,--no-ld-generated-unwind-info")
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Section(".eh_frame") == nil {
		t.Fatal("the linker removed the empty .eh_frame")
	}
	if s := open(t, path).Stats.Sections; !reflect.DeepEqual(s, []string{".debug_frame"}) {
		t.Errorf("read %v, want .debug_frame", s)
	}
	compareWithReadelf(t, path)
}

// TestNoSearchTable reads a file without section headers whose .eh_frame_hdr has
// no search table: .eh_frame ends at its terminator.
func TestNoSearchTable(t *testing.T) {
	path := compile(t, "gcc", "frames.c", "-O2")
	want := open(t, path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hdr := f.Section(".eh_frame_hdr").Offset
	data[hdr+2], data[hdr+3] = peOmit, peOmit
	clear(data[0x28:0x30]) // e_shoff
	clear(data[0x3c:0x40]) // e_shnum, e_shstrndx
	bare, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	got, err := NewTable(bare)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Rows, want.Rows) || got.Stats.FDEs != want.Stats.FDEs || got.Stats.BadFDEs != 0 {
		t.Errorf("%d rows of %d FDEs, %d bad; want %d of %d", len(got.Rows), got.Stats.FDEs, got.Stats.BadFDEs,
			len(want.Rows), want.Stats.FDEs)
	}
}

// TestNoSectionHeaders reads files whose section headers are removed by the
// PT_GNU_EH_FRAME segment, with the same result.
func TestNoSectionHeaders(t *testing.T) {
	for _, path := range []string{
		libDir + "libc.so.6", libDir + "libcrypto.so.3", "/bin/bash",
		compile(t, "gcc", "frames.c", "-O2", "-no-pie"), compile(t, "clang", "frames.c", "-O2"),
	} {
		want := open(t, path)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(data[0x28:0x30]) // e_shoff
		clear(data[0x3c:0x40]) // e_shnum, e_shstrndx
		bare := filepath.Join(t.TempDir(), "bare")
		if err := os.WriteFile(bare, data, 0o644); err != nil {
			t.Fatal(err)
		}
		got := open(t, bare)
		if s := got.Stats.Sections; !reflect.DeepEqual(s, []string{"PT_GNU_EH_FRAME"}) {
			t.Errorf("%s: read %v, want PT_GNU_EH_FRAME", path, s)
		}
		if !reflect.DeepEqual(got.Rows, want.Rows) || !reflect.DeepEqual(got.Rules, want.Rules) {
			t.Errorf("%s: %d rows, %d rules without section headers; %d, %d with them",
				path, len(got.Rows), len(got.Rules), len(want.Rows), len(want.Rules))
		}
	}
}

// TestSeparateDebugFile reads a file made by objcopy --only-keep-debug, which has
// .eh_frame in name only, and says so.
func TestSeparateDebugFile(t *testing.T) {
	path := compile(t, "gcc", "frames.c", "-O2")
	debug := path + ".debug"
	if msg, err := exec.Command("objcopy", "--only-keep-debug", path, debug).CombinedOutput(); err != nil {
		t.Fatalf("run objcopy (apt-get install -y binutils): %v\n%s", err, msg)
	}
	data, err := os.ReadFile(debug)
	if err != nil {
		t.Fatal(err)
	}
	// objcopy empties the segments; eu-strip -f leaves their sizes as they were.
	asEuStrip := bytes.Clone(data)
	const phdrs, phdrSize = 64, 56
	for ph := asEuStrip[phdrs:]; ; ph = ph[phdrSize:] {
		if binary.LittleEndian.Uint32(ph) == uint32(elf.PT_GNU_EH_FRAME) {
			binary.LittleEndian.PutUint64(ph[32:], 64) // p_filesz
			break
		}
	}
	for _, data := range [][]byte{data, asEuStrip} {
		f, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewTable(f); !errors.Is(err, ErrNoFrames) {
			t.Errorf("got %v, want %v", err, ErrNoFrames)
		}
	}
}

// open returns the table of the file at path.
func open(t testing.TB, path string) *Table {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := NewTable(f)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
