// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"leakprof/profiler/target"
)

// Places are where separate debug files are looked for.
type Places struct {
	// File is a debug file that the user named, "" for none. Nothing else is
	// looked at if it fits.
	File string
	// Roots are the root directories that may have a /usr/lib/debug, the best
	// first, such as /proc/PID/root and /. No link is followed out of them.
	Roots []string
	// Prefix is what the paths of a process in a chroot begin with where we see
	// them from outside, "" for none.
	Prefix string
	// Cache is the directory of debuginfod's clients, "" for none.
	Cache string
}

// debugDirectory is where distributions install debug files (GDB manual,
// "Debugging Information in Separate Files").
const debugDirectory = "/usr/lib/debug"

// maxDebugFile bounds a debug file, in bytes, and what is read of all that are
// linked for their checksums, which are over all of a file: the process may have
// any number of large ones made of nothing. BIRD's has some 10 MB.
const maxDebugFile = 1 << 30

// FindDebugFile looks for the separate debug file (as objcopy --only-keep-debug
// makes it and distributions ship it) of the module, which is mapped from the
// file name, takes from it what the module itself lacks, .symtab and DWARF, and
// returns its path as we see it: "" if there is none. It must have the module's
// build ID and, found by .gnu_debuglink, the checksum too. The error says which
// files were there and could not be used, also if another could; and that a
// supplementary file of the debug information was not (MissingSupplementError),
// be that the module's own. It must not run together with Frames.
func (m *Module) FindDebugFile(name string, p Places) (string, error) {
	if m.HasDWARF() && p.File == "" {
		return "", m.findSupplement(p.own(name), p)
	}
	var unusable []error
	unread := int64(maxDebugFile)
	for _, c := range m.candidates(name, p) {
		err := m.useCandidate(c, &unread)
		if err == nil {
			if err := m.findSupplement(c, p); err != nil {
				unusable = append(unusable, err)
			}
			return m.debugFile, errors.Join(unusable...)
		}
		if !absent(err) {
			unusable = append(unusable, fmt.Errorf("use debug file %s: %w", c.path(), err))
		}
	}
	return "", errors.Join(unusable...)
}

// DebugFile returns the path of the separate debug file that is used, "" if
// there is none.
func (m *Module) DebugFile() string { return m.debugFile }

// absent says whether an error of opening a candidate means that there is none.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// candidate is where a debug file may be.
type candidate struct {
	root, name string
	byLink     bool // named by .gnu_debuglink, so its checksum counts
}

func (c candidate) path() string { return path.Join(c.root, c.name) }

func (m *Module) candidates(name string, p Places) (all []candidate) {
	if p.File != "" {
		all = append(all, candidate{name: p.File})
	}
	inside, ok := strings.CutPrefix(name, p.Prefix)
	linked := ok && path.IsAbs(inside) && m.debugLink.name != ""
	for _, root := range p.Roots {
		if len(m.buildID) > 2 {
			all = append(all, candidate{root: root, name: byBuildID(m.buildID)})
		}
		if !linked {
			continue
		}
		dir := path.Dir(path.Clean(inside))
		for _, d := range []string{dir, path.Join(dir, ".debug"), path.Join(debugDirectory, dir)} {
			all = append(all, candidate{root: root, name: path.Join(d, m.debugLink.name), byLink: true})
		}
	}
	if p.Cache != "" && m.buildID != "" {
		all = append(all, candidate{name: path.Join(p.Cache, m.buildID, "debuginfo")})
	}
	return all
}

// byBuildID is where distributions install the debug file with a build ID, of
// more than two digits.
func byBuildID(id string) string {
	return debugDirectory + "/.build-id/" + id[:2] + "/" + id[2:] + ".debug"
}

// own is where the process has the module that is mapped from the file name.
func (p Places) own(name string) candidate {
	c := candidate{name: strings.TrimPrefix(name, p.Prefix)}
	if len(p.Roots) > 0 {
		c.root = p.Roots[0]
	}
	return c
}

// open opens the file, in its root if it has one.
func (c candidate) open() (*os.File, error) {
	// Clients of debuginfod leave an empty file where no server has it.
	if c.root != "" {
		return target.OpenInRoot(c.root, c.name, maxDebugFile)
	}
	return target.OpenRegular(c.name, maxDebugFile)
}

// useCandidate takes over what the file has if it belongs to the module.
// unread is how many bytes may yet be read for checksums.
func (m *Module) useCandidate(c candidate, unread *int64) error {
	f, err := c.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := m.useFile(f, c.byLink, unread); err != nil {
		return err
	}
	m.debugFile = c.path()
	return nil
}

// useFile takes from f what the module lacks, if it is the module's debug file.
func (m *Module) useFile(f *os.File, byLink bool, unread *int64) error {
	if byLink {
		if err := m.debugLink.check(f, unread); err != nil {
			return err
		}
	}
	d, err := Open(f, "it") // errors say before which file that is
	switch {
	case err != nil:
		return err
	case !d.HasSymbols() && !d.HasLines():
		return errors.New("it has neither symbols nor DWARF")
	case byLink && (m.buildID == "" || d.buildID == ""):
		// The checksum alone tells.
	case m.buildID == "":
		return fmt.Errorf("%s has no build ID by which to tell that they belong together", m.name)
	case d.buildID != m.buildID:
		return fmt.Errorf("its build ID is %q, that of %s is %q", d.buildID, m.name, m.buildID)
	}
	m.adopt(d)
	return nil
}

// debugLink is what .gnu_debuglink says of the separate debug file.
type debugLink struct {
	name string // base name, "" if there is no such section
	crc  uint32 // CRC-32 (IEEE 802.3) of the whole file
}

// maxDebugLink bounds the section: a file name and a checksum.
const maxDebugLink = 4096

// parseDebugLink reads the contents of .gnu_debuglink: the name, padded with
// zeros to four bytes, and the checksum (GDB manual, "Debugging Information in
// Separate Files"). A name with a slash would lead anywhere, and is none.
func parseDebugLink(b []byte, order binary.ByteOrder) debugLink {
	name, _, ok := strings.Cut(string(b), "\x00")
	at := (len(name) + 1 + 3) &^ 3
	if !ok || at+4 > len(b) || name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return debugLink{}
	}
	return debugLink{name: name, crc: order.Uint32(b[at:])}
}

// check says whether f is the file that was linked. It takes the size of f from
// unread, and does not read it where that is less.
func (l debugLink) check(f *os.File, unread *int64) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	if *unread -= info.Size(); *unread < 0 {
		return fmt.Errorf("its checksum would have more than %d bytes read", int64(maxDebugFile))
	}
	h := crc32.NewIEEE()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	if got := h.Sum32(); got != l.crc {
		return fmt.Errorf("its checksum is %08x, .gnu_debuglink has %08x", got, l.crc)
	}
	return nil
}
