// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// separated is a program whose debug information is in a file of its own.
type separated struct{ full, stripped, debug, other string }

// separate builds a program, and another one's debug file.
func separate(t testing.TB, flags string) separated {
	t.Helper()
	full := build(t, "gcc", "-g -O2 "+flags)
	dir := filepath.Dir(full)
	run(t, dir, "binutils", "", "objcopy", "--only-keep-debug", "prog", "prog.debug")
	run(t, dir, "binutils", "", "strip", "-o", "stripped", "prog")
	run(t, dir, "binutils", "", "objcopy", "--add-gnu-debuglink=prog.debug", "stripped")
	other := build(t, "gcc", "-g -O1 "+flags)
	run(t, filepath.Dir(other), "binutils", "", "objcopy", "--only-keep-debug", "prog", "prog.debug")
	return separated{full, filepath.Join(dir, "stripped"), filepath.Join(dir, "prog.debug"), filepath.Join(filepath.Dir(other), "prog.debug")}
}

// put copies a file, of which edit may change the bytes.
func put(t testing.TB, from, to string, edit func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		b = edit(b)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// apart are the frames of a whole file as they are by a debug file.
func apart(frames []Frame) []Frame {
	frames = slices.Clone(frames)
	for i := range frames {
		switch frames[i].Source {
		case SourceSymbol, SourceDWARF, SourceInline:
			frames[i].Separate = true
		}
	}
	return frames
}

func TestFindDebugFile(t *testing.T) {
	built := separate(t, "-Wl,--build-id")
	id := open(t, built.stripped).BuildID()
	byID := "usr/lib/debug/.build-id/" + id[:2] + "/" + id[2:] + ".debug"
	intoRoot := func(root string) Places { return Places{Roots: []string{root}} }
	link := func(t *testing.T, to, from string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		// make lays out the root directory and says where to look.
		make func(t *testing.T, root string) Places
		path string // of the program, as the target names it; /opt/prog if empty
		want string // the file's path below root
		err  string
	}{
		{name: "nothing there", make: func(t *testing.T, root string) Places {
			return Places{Roots: []string{root, filepath.Join(root, "none")}, Cache: filepath.Join(root, "none")}
		}},
		{name: "build ID", want: byID, make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, byID), nil)
			return intoRoot(root)
		}},
		{name: "link, same directory", want: "opt/prog.debug", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "opt/prog.debug"), nil)
			return intoRoot(root)
		}},
		{name: "link, directory .debug", want: "opt/.debug/prog.debug", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "opt/.debug/prog.debug"), nil)
			return intoRoot(root)
		}},
		{name: "link, debug directory", want: "usr/lib/debug/opt/prog.debug", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "usr/lib/debug/opt/prog.debug"), nil)
			return intoRoot(root)
		}},
		{name: "second root", want: "ours/" + byID, make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "ours", byID), nil)
			return Places{Roots: []string{filepath.Join(root, "theirs"), filepath.Join(root, "ours")}}
		}},
		{name: "chroot", want: "usr/lib/debug/opt/prog.debug", path: "/chroot/opt/prog", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "usr/lib/debug/opt/prog.debug"), nil)
			return Places{Roots: []string{root}, Prefix: "/chroot"}
		}},
		{name: "outside of the chroot", path: "/opt/prog", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "opt/prog.debug"), nil)
			return Places{Roots: []string{root}, Prefix: "/chroot"}
		}},
		{name: "given", want: "given", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "given"), nil)
			put(t, built.debug, filepath.Join(root, byID), nil)
			return Places{File: filepath.Join(root, "given"), Roots: []string{root}}
		}},
		{name: "the program itself, given", want: "given", make: func(t *testing.T, root string) Places {
			put(t, built.full, filepath.Join(root, "given"), nil)
			return Places{File: filepath.Join(root, "given")}
		}},
		{name: "cache", want: "cache/" + id + "/debuginfo", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "cache", id, "debuginfo"), nil)
			return Places{Roots: []string{root}, Cache: filepath.Join(root, "cache")}
		}},
		{name: "cache knows that there is none", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "cache", id, "debuginfo"), func([]byte) []byte { return nil })
			return Places{Cache: filepath.Join(root, "cache")}
		}},
		{name: "wrong checksum", err: "opt/prog.debug: its checksum is ", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "opt/prog.debug"), func(b []byte) []byte { return append(b, 0) })
			return intoRoot(root)
		}},
		{name: "wrong build ID", err: `, that of prog is "` + id + `"`, make: func(t *testing.T, root string) Places {
			put(t, built.other, filepath.Join(root, byID), nil)
			return intoRoot(root)
		}},
		{name: "wrong build ID, given", err: `, that of prog is "` + id + `"`, make: func(t *testing.T, root string) Places {
			put(t, built.other, filepath.Join(root, "given"), nil)
			return Places{File: filepath.Join(root, "given")}
		}},
		{name: "the next one fits", want: "opt/prog.debug", err: byID + ": its build ID", make: func(t *testing.T, root string) Places {
			put(t, built.other, filepath.Join(root, byID), nil)
			put(t, built.debug, filepath.Join(root, "opt/prog.debug"), nil)
			return intoRoot(root)
		}},
		{name: "truncated", err: byID + ": ", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, byID), func(b []byte) []byte { return b[:len(b)/2] })
			return intoRoot(root)
		}},
		{name: "no ELF file", err: byID + ": open it: not an ELF file", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, byID), func([]byte) []byte { return []byte("root:x:0:0:root:/root:/bin/bash") })
			return intoRoot(root)
		}},
		{name: "without names", err: "it has neither symbols nor DWARF", make: func(t *testing.T, root string) Places {
			put(t, built.stripped, filepath.Join(root, byID), nil)
			return intoRoot(root)
		}},
		{name: "FIFO", err: "not a regular file", make: func(t *testing.T, root string) Places {
			if err := os.Mkdir(filepath.Join(root, "opt"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mkfifo(filepath.Join(root, "opt/prog.debug"), 0o644); err != nil {
				t.Fatal(err)
			}
			return intoRoot(root)
		}},
		{name: "link within the root", want: byID, make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "store/prog.debug"), nil)
			link(t, "/store/prog.debug", filepath.Join(root, byID))
			return intoRoot(root)
		}},
		{name: "link out of the root", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "outside/prog.debug"), nil)
			link(t, filepath.Join(root, "outside/prog.debug"), filepath.Join(root, "inside", byID))
			return intoRoot(filepath.Join(root, "inside"))
		}},
		{name: "up out of the root", make: func(t *testing.T, root string) Places {
			put(t, built.debug, filepath.Join(root, "outside/prog.debug"), nil)
			link(t, "../../outside", filepath.Join(root, "inside/opt/.debug"))
			return intoRoot(filepath.Join(root, "inside"))
		}},
	}
	addrs, _ := instructions(t, built.full)
	full := open(t, built.full)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			places := test.make(t, root)
			m := open(t, built.stripped)
			path := test.path
			if path == "" {
				path = "/opt/prog"
			}
			got, err := m.FindDebugFile(path, places)
			want := ""
			if test.want != "" {
				want = filepath.Join(root, test.want)
			}
			if got != want || m.DebugFile() != want {
				t.Errorf("used %q (%q), want %q", got, m.DebugFile(), want)
			}
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			for _, pc := range addrs {
				f := m.Frames(pc, false)
				if want == "" {
					if f[0].Source > SourceDynamic || f[0].Separate {
						t.Fatalf("frames of %#x: %+v without debug file", pc, f)
					}
				} else if whole := apart(full.Frames(pc, false)); !slices.Equal(f, whole) {
					t.Fatalf("frames of %#x: got %+v, want %+v", pc, f, whole)
				}
			}
		})
	}
}

// TestDebugLinkAlone: without build IDs the checksum has to do, and nothing
// tells of a file that the user names.
func TestDebugLinkAlone(t *testing.T) {
	built := separate(t, "-Wl,--build-id=none")
	m := open(t, built.stripped)
	used, err := m.FindDebugFile("/opt/prog", Places{File: built.debug})
	if used != "" || err == nil || !strings.Contains(err.Error(), "prog has no build ID") {
		t.Errorf("used %q, %v", used, err)
	}
	root := t.TempDir()
	put(t, built.debug, filepath.Join(root, "opt/prog.debug"), nil)
	used, err = m.FindDebugFile("/opt/prog", Places{Roots: []string{root}})
	if used == "" || err != nil || !m.HasDWARF() {
		t.Errorf("used %q, %v, HasDWARF %v", used, err, m.HasDWARF())
	}
}

func TestParseDebugLink(t *testing.T) {
	tests := []struct{ section, name string }{
		{"prog.debug\x00\x00\x01\x02\x03\x04", "prog.debug"},
		{"abc\x00\x01\x02\x03\x04", "abc"},
		{"abcd\x00\x00\x00\x00\x01\x02\x03\x04", "abcd"},
		{"", ""},
		{"abc", ""},
		{"abc\x00\x01\x02\x03", ""},
		{"abcd\x00\x01\x02\x03\x04", ""},
		{"\x00\x00\x00\x00\x01\x02\x03\x04", ""},
		{"../abc\x00\x00\x01\x02\x03\x04", ""},
		{"/etc/abc\x00\x00\x00\x00\x01\x02\x03\x04", ""},
		{"..\x00\x00\x01\x02\x03\x04", ""},
	}
	for _, test := range tests {
		want := debugLink{name: test.name}
		if test.name != "" {
			want.crc = 0x04030201
		}
		if got := parseDebugLink([]byte(test.section), binary.LittleEndian); got != want {
			t.Errorf("%q: %+v, want %+v", test.section, got, want)
		}
	}
}

func FuzzParseDebugLink(f *testing.F) {
	f.Add([]byte("prog.debug\x00\x00\x01\x02\x03\x04"))
	f.Add([]byte("../abc\x00\x00\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l := parseDebugLink(b, binary.LittleEndian); l.name != "" && filepath.Base(l.name) != l.name {
			t.Errorf("%q", l.name)
		}
	})
}
