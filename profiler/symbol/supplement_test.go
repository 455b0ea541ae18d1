// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shared is a program whose debug file refers to a supplementary file, as those
// of Debian's packages do.
type shared struct {
	full, stripped, debug, supplement string
	link                              Supplement
}

// share builds a program and takes what its debug file has in common with another
// one, which is a copy of it, into a file of its own: nearly all. name is what
// they call that file.
func share(t testing.TB, flags, dwzFlags, name string) shared {
	t.Helper()
	full := build(t, "gcc", "-g -O2 -flto -DLTO -Wl,--build-id "+flags)
	dir := filepath.Dir(full)
	// dwz wants whole programs for DWARF 5's form of it.
	for _, to := range []string{"prog.debug", "other.debug"} {
		run(t, dir, "coreutils", "", "cp", full, to)
	}
	run(t, dir, "dwz", "", "dwz", slices.Concat(strings.Fields(dwzFlags), []string{"-m", "supplement", "-M", name, "prog.debug", "other.debug"})...)
	run(t, dir, "binutils", "", "strip", "-o", "stripped", "prog")
	s := shared{full, filepath.Join(dir, "stripped"), filepath.Join(dir, "prog.debug"), filepath.Join(dir, "supplement"), Supplement{Name: name}}
	f, err := elf.Open(s.supplement)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s.link.ID = supplementID(f); len(s.link.ID) != 40 {
		t.Fatalf("the supplementary file has ID %q", s.link.ID)
	}
	return s
}

// TestSupplement: with the supplementary file all frames are those of the program
// before its debug information was shared; without it no name is wrong, and what
// is missing is said.
func TestSupplement(t *testing.T) {
	for _, forms := range []struct{ name, flags, dwz string }{
		{"GNU, DWARF 4", "-gdwarf-4", ""},
		{"GNU, DWARF 5", "-gdwarf-5", ""},
		{"DWARF 5", "-gdwarf-5", "-5"},
	} {
		t.Run(forms.name, func(t *testing.T) {
			const absolute = "/usr/lib/debug/.dwz/x86_64-linux-gnu/prog.debug"
			s := share(t, forms.flags, forms.dwz, absolute)
			full := open(t, s.full)
			id := full.BuildID()
			addrs, returns := instructions(t, s.full)
			for _, c := range []struct {
				name string
				at   string // of the supplementary file, below the root
				ok   bool
			}{
				{"by name", absolute, true},
				{"by build ID", byBuildID(s.link.ID), true},
				{"in the packages' directory", debugDirectory + "/.dwz/prog.debug", true},
				{"not there", "/prog.debug", false},
			} {
				t.Run(c.name, func(t *testing.T) {
					root := t.TempDir()
					put(t, s.debug, filepath.Join(root, byBuildID(id)), nil)
					put(t, s.supplement, filepath.Join(root, c.at), nil)
					m := open(t, s.stripped)
					used, err := m.FindDebugFile("/opt/prog", Places{Roots: []string{root}})
					if used == "" {
						t.Fatalf("no debug file: %v", err)
					}
					if !c.ok {
						wantMissing(t, m, err, s.link, filepath.Join(root, byBuildID(id)))
						checkUnshared(t, m, full, addrs)
						return
					}
					if err != nil || m.Lacks() != nil || m.MissingSupplement() != nil {
						t.Errorf("error %v, lacks %v", err, m.Lacks())
					}
					for _, pc := range addrs {
						if got, want := m.Frames(pc, false), apart(full.Frames(pc, false)); !slices.Equal(got, want) {
							t.Fatalf("frames of %#x: got %+v, want %+v", pc, got, want)
						}
					}
					hasChain(t, m, returns, acrossFiles)
					if stats := m.Stats(); stats.Errors > 0 {
						t.Errorf("%d errors, %v", stats.Errors, stats.FirstError)
					}
				})
			}
		})
	}
}

func wantMissing(t *testing.T, m *Module, err error, link Supplement, of string) {
	t.Helper()
	var missing *MissingSupplementError
	if !errors.As(err, &missing) || missing.Supplement != link || missing.Of != of {
		t.Errorf("error %v, want one of %+v of %s", err, link, of)
	}
	if got := m.MissingSupplement(); got == nil || *got != link || !errors.As(m.Lacks(), &missing) {
		t.Errorf("missing is %+v, lacks %v", got, m.Lacks())
	}
}

// checkUnshared: frames have the names of full, or none.
func checkUnshared(t *testing.T, m, full *Module, addrs []uint64) {
	t.Helper()
	unnamed := 0
	for _, pc := range addrs {
		got, want := m.Frames(pc, false), full.Frames(pc, false)
		if len(got) != len(want) {
			t.Fatalf("frames of %#x: got %+v, want %+v", pc, got, want)
		}
		for i := range got {
			if got[i].Function == "(unnamed inline)" {
				unnamed++
			} else if got[i].Function != want[i].Function {
				t.Fatalf("frames of %#x: got %+v, want %+v", pc, got, want)
			}
		}
	}
	if stats := m.Stats(); unnamed == 0 || stats.Errors > 0 {
		t.Errorf("%d frames lack their names; %d errors, %v", unnamed, stats.Errors, stats.FirstError)
	}
}

// TestSupplementOfProgram: a program that has debug information of its own may
// share it, too.
func TestSupplementOfProgram(t *testing.T) {
	s := share(t, "-gdwarf-4", "", "../lib/prog.shared")
	m := open(t, s.debug) // all of it, in spite of its name
	_, err := m.FindDebugFile("/opt/prog", Places{Roots: []string{t.TempDir()}})
	wantMissing(t, m, err, s.link, filepath.Join(err.(*MissingSupplementError).Of))

	root := t.TempDir()
	put(t, s.supplement, filepath.Join(root, "lib/prog.shared"), nil)
	used, err := m.FindDebugFile("/chroot/opt/prog", Places{Roots: []string{root}, Prefix: "/chroot"})
	if used != "" || err != nil || m.Lacks() != nil {
		t.Errorf("used %q, %v; lacks %v", used, err, m.Lacks())
	}
	_, returns := instructions(t, s.full)
	hasChain(t, m, returns, acrossFiles)
}

// TestSupplementPlaces: a package that was unpacked elsewhere, the cache of
// debuginfod's clients, and files that are others.
func TestSupplementPlaces(t *testing.T) {
	const absolute = debugDirectory + "/.dwz/prog.debug"
	s := share(t, "-gdwarf-4", "", absolute)
	id := open(t, s.stripped).BuildID()
	tests := []struct {
		name string
		make func(t *testing.T, dir string) Places
		err  string
	}{
		{name: "unpacked", make: func(t *testing.T, dir string) Places {
			put(t, s.debug, filepath.Join(dir, byBuildID(id)), nil)
			put(t, s.supplement, filepath.Join(dir, absolute), nil)
			return Places{File: filepath.Join(dir, byBuildID(id))}
		}},
		{name: "cache", make: func(t *testing.T, dir string) Places {
			put(t, s.debug, filepath.Join(dir, id, "debuginfo"), nil)
			put(t, s.supplement, filepath.Join(dir, s.link.ID, "debuginfo"), nil)
			return Places{Cache: dir}
		}},
		{name: "another's", err: `its build ID is "`, make: func(t *testing.T, dir string) Places {
			put(t, s.debug, filepath.Join(dir, byBuildID(id)), nil)
			put(t, s.debug, filepath.Join(dir, absolute), nil)
			return Places{Roots: []string{dir}}
		}},
		{name: "no ELF file", err: "bad magic number", make: func(t *testing.T, dir string) Places {
			put(t, s.debug, filepath.Join(dir, byBuildID(id)), nil)
			put(t, s.debug, filepath.Join(dir, absolute), func([]byte) []byte { return []byte("not an ELF file at all") })
			return Places{Roots: []string{dir}}
		}},
		{name: "a link out of the root", err: "is not there", make: func(t *testing.T, dir string) Places {
			root := filepath.Join(dir, "root")
			put(t, s.debug, filepath.Join(root, byBuildID(id)), nil)
			put(t, s.supplement, filepath.Join(dir, "elsewhere"), nil)
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, absolute)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(root, absolute)); err != nil {
				t.Fatal(err)
			}
			return Places{Roots: []string{root}}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := open(t, s.stripped)
			used, err := m.FindDebugFile("/opt/prog", test.make(t, t.TempDir()))
			if used == "" || (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("used %q, error %v, want %q", used, err, test.err)
			}
			if (m.MissingSupplement() == nil) != (test.err == "") {
				t.Errorf("missing is %v", m.MissingSupplement())
			}
		})
	}
}

func TestSupplementLinks(t *testing.T) {
	id := bytes.Repeat([]byte{0xab}, 20)
	hex := strings.Repeat("ab", 20)
	alt := func(name string, id []byte) []byte { return slices.Concat([]byte(name), []byte{0}, id) }
	sup := func(version byte, is byte, name string, id []byte) []byte {
		return slices.Concat([]byte{version, 0, is}, []byte(name), []byte{0, byte(len(id))}, id)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want *Supplement
	}{
		{"path", alt("/a/b", id), &Supplement{"/a/b", hex}},
		{"no build ID", alt("/a/b", nil), nil},
		{"no path", alt("", id), nil},
		{"no end", []byte("/a/b"), nil},
		{"empty", nil, nil},
		{"long", alt("/a/b", make([]byte, maxSupplementID+1)), nil},
	} {
		if got := parseAltLink(c.b); (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name string
		b    []byte
		is   bool
		want *Supplement
	}{
		{"path", sup(5, 0, "/a/b", id), false, &Supplement{"/a/b", hex}},
		{"a supplementary file", sup(5, 1, "", id), true, &Supplement{"", hex}},
		{"refers to none", sup(5, 1, "", id), false, nil},
		{"is none", sup(5, 0, "/a/b", id), true, nil},
		{"neither", sup(5, 2, "/a/b", id), false, nil},
		{"another version", sup(6, 0, "/a/b", id), false, nil},
		{"no path", sup(5, 0, "", id), false, nil},
		{"no checksum", sup(5, 0, "/a/b", nil), false, nil},
		{"cut", sup(5, 0, "/a/b", id)[:20], false, nil},
		{"long", sup(5, 0, "/a/b", make([]byte, maxSupplementID+1)), false, nil},
		{"empty", nil, false, nil},
	} {
		if got := parseSup(c.b, binary.LittleEndian, c.is); (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// FuzzSupplement overwrites bytes of a section of a supplementary file, or of the
// debug file that refers to it.
func FuzzSupplement(f *testing.F) {
	s := share(f, "-gdwarf-5", "", "supplement")
	var files [2][]byte
	for i, path := range []string{s.debug, s.supplement} {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		files[i] = b
	}
	for i := range uint8(12) {
		f.Add(i%2 == 0, i, uint16(40*int(i)), []byte{0xff, 0x80, 0xff})
	}
	names := slices.Concat(dwarfSections, []string{"sup"})
	f.Fuzz(func(t *testing.T, ofSupplement bool, section uint8, offset uint16, patch []byte) {
		files := files
		n := 0
		if ofSupplement {
			n = 1
		}
		files[n] = bytes.Clone(files[n])
		e, err := elf.NewFile(bytes.NewReader(files[n]))
		if err != nil {
			t.Fatal(err)
		}
		if at := e.Section(".debug_" + names[int(section)%len(names)]); at != nil && at.FileSize > 0 {
			copy(files[n][at.Offset+uint64(offset)%at.FileSize:at.Offset+at.FileSize], patch)
		}
		m, err := Open(bytes.NewReader(files[0]), "prog")
		if err != nil || m.dwarf == nil {
			return
		}
		m.dwarf.supplement, _ = openSupplement(bytes.NewReader(files[1]), s.link.ID)
		resolveSome(t, m)
	})
}
