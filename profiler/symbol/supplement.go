// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Supplement names the supplementary file of debug information: what several
// programs of a package have in common, which dwz -m takes out of their debug
// files, such as names of functions. Debian's -dbgsym packages have them.
type Supplement struct {
	// Name is its path as the debug file has it: absolute, or relative to that.
	Name string
	// ID is its build ID in hex, or DWARF 5's checksum, which dwz makes the same
	// way.
	ID string
}

// supplement is what is read of a supplementary file.
type supplement struct {
	data   *dwarf.Data
	reader *dwarf.Reader
	str    []byte // .debug_str
}

const (
	// maxSupplementLink bounds .gnu_debugaltlink and .debug_sup: a path and a
	// build ID.
	maxSupplementLink = 8192
	// maxSupplementID bounds the build ID, bytes. Linkers make up to 20.
	maxSupplementID = 64
)

// readSupplementLink returns which supplementary file the debug information
// refers to, nil if none.
func readSupplementLink(f *elf.File) *Supplement {
	for name, parse := range map[string]func([]byte) *Supplement{
		".gnu_debugaltlink": parseAltLink,
		".debug_sup":        func(b []byte) *Supplement { return parseSup(b, f.ByteOrder, false) },
	} {
		s := f.Section(name)
		if s == nil || s.Size > maxSupplementLink {
			continue
		}
		b, err := sectionData(s)
		if err != nil {
			continue
		}
		if link := parse(b); link != nil {
			return link
		}
	}
	return nil
}

// parseAltLink reads .gnu_debugaltlink: the path, and the build ID (dwz(1)).
func parseAltLink(b []byte) *Supplement {
	name, id, ok := bytes.Cut(b, []byte{0})
	if !ok || len(name) == 0 || len(id) == 0 || len(id) > maxSupplementID {
		return nil
	}
	return &Supplement{Name: string(name), ID: hex.EncodeToString(id)}
}

// parseSup reads .debug_sup (DWARF 5 §7.3.6): version, whether this is a
// supplementary file itself, the path of one if it is not, and the checksum.
func parseSup(b []byte, order binary.ByteOrder, isSupplement bool) *Supplement {
	if len(b) < 3 || order.Uint16(b) != 5 || (b[2] == 1) != isSupplement || b[2] > 1 {
		return nil
	}
	name, rest, ok := bytes.Cut(b[3:], []byte{0})
	if !ok || len(name) == 0 && !isSupplement {
		return nil
	}
	size, n := binary.Uvarint(rest)
	if n <= 0 || size == 0 || size > maxSupplementID || size > uint64(len(rest)-n) {
		return nil
	}
	return &Supplement{Name: string(name), ID: hex.EncodeToString(rest[n:][:size])}
}

// MissingSupplement returns the supplementary file that the debug information
// refers to and that was not found, nil if there is none. Without it functions
// may lack their names, and only symbols have them.
func (m *Module) MissingSupplement() *Supplement {
	if m.dwarf == nil || m.dwarf.supplement != nil {
		return nil
	}
	return m.dwarf.link
}

// findSupplement looks for the supplementary file that the debug information of
// the file at c refers to, and takes it.
func (m *Module) findSupplement(c candidate, p Places) error {
	link := m.MissingSupplement()
	if link == nil {
		return nil
	}
	var unusable []error
	for _, c := range supplementCandidates(link, c, p) {
		err := m.useSupplement(c, link)
		if err == nil {
			return nil
		}
		if !absent(err) {
			unusable = append(unusable, fmt.Errorf("use supplementary debug file %s: %w", c.path(), err))
		}
	}
	if len(unusable) > 0 {
		return errors.Join(unusable...)
	}
	return &MissingSupplementError{Of: c.path(), Supplement: *link}
}

// MissingSupplementError says that there is debug information of which the
// supplementary file is nowhere.
type MissingSupplementError struct {
	Of         string // path of the debug file, or the program, as we see it
	Supplement Supplement
}

func (e *MissingSupplementError) Error() string {
	return fmt.Sprintf("names that %s shares with other debug files are missing: %s is not there; it is in the same package, or: debuginfod-find debuginfo %s (it asks the servers in DEBUGINFOD_URLS)",
		e.Of, e.Supplement.Name, e.Supplement.ID)
}

// supplementCandidates are the places of a supplementary file that gdb knows,
// and the directory of the packages' own tree, where one has been unpacked
// elsewhere.
func supplementCandidates(link *Supplement, of candidate, p Places) (all []candidate) {
	roots := p.Roots
	if of.root != "" {
		roots = []string{of.root}
		for _, r := range p.Roots {
			if r != of.root {
				roots = append(roots, r)
			}
		}
	} else if unpacked, _, ok := strings.Cut(of.name, debugDirectory+"/"); ok && unpacked != "" {
		roots = append([]string{unpacked}, roots...)
	}
	if path.IsAbs(link.Name) {
		for _, root := range roots {
			all = append(all, candidate{root: root, name: link.Name})
		}
	} else {
		all = append(all, candidate{root: of.root, name: path.Join(path.Dir(of.name), link.Name)})
	}
	for _, root := range roots {
		if len(link.ID) > 2 {
			all = append(all, candidate{root: root, name: byBuildID(link.ID)})
		}
		all = append(all, candidate{root: root, name: debugDirectory + "/.dwz/" + path.Base(link.Name)})
	}
	if p.Cache != "" {
		all = append(all, candidate{name: path.Join(p.Cache, link.ID, "debuginfo")})
	}
	return all
}

func (m *Module) useSupplement(c candidate, link *Supplement) error {
	f, err := c.open()
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := openSupplement(f, link.ID)
	if err != nil {
		return err
	}
	m.dwarf.mu.Lock()
	m.dwarf.supplement = s
	clear(m.dwarf.names)
	m.dwarf.mu.Unlock()
	m.mu.Lock()
	clear(m.cache)
	m.mu.Unlock()
	return nil
}

// supplementSections are the parts of a supplementary file that names need.
var supplementSections = []string{"abbrev", "info", "str", "line_str", "str_offsets"}

// openSupplement reads a supplementary file. It has no code, and may have no
// build ID but the checksum of DWARF 5.
func openSupplement(r io.ReaderAt, id string) (*supplement, error) {
	var s *supplement
	err := guard(func() error {
		f, err := elf.NewFile(r)
		if err != nil {
			return err
		}
		if have := supplementID(f); have != id {
			return fmt.Errorf("its build ID is %q, wanted is %q", have, id)
		}
		sections, err := loadSections(f, supplementSections)
		if err != nil {
			return err
		}
		s, err = newSupplement(sections)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ReadBuildID returns the build ID (hex) of an ELF file of any kind, of a
// supplementary file without one the checksum of DWARF 5; "" if it has neither.
func ReadBuildID(r io.ReaderAt) (id string, err error) {
	err = guard(func() error {
		f, err := elf.NewFile(r)
		if err != nil {
			return fmt.Errorf("open file: %w", err)
		}
		id = supplementID(f)
		return nil
	})
	return id, err
}

func supplementID(f *elf.File) string {
	if s := f.Section(".debug_sup"); s != nil && s.Size <= maxSupplementLink {
		if b, err := sectionData(s); err == nil {
			if is := parseSup(b, f.ByteOrder, true); is != nil {
				return is.ID
			}
		}
	}
	return readBuildID(f)
}

func newSupplement(sections map[string][]byte) (*supplement, error) {
	s := &supplement{str: sections["str"]}
	err := guard(func() (err error) {
		s.data, err = dwarf.New(sections["abbrev"], nil, nil, sections["info"], nil, nil, nil, sections["str"])
		if err != nil {
			return fmt.Errorf("parse DWARF: %w", err)
		}
		for _, name := range []string{"line_str", "str_offsets"} {
			if err := s.data.AddSection(".debug_"+name, sections[name]); err != nil {
				return fmt.Errorf("parse DWARF: %w", err)
			}
		}
		s.reader = s.data.Reader()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// maxName bounds a string of a supplementary file, bytes.
const maxName = 1 << 16

// text returns the string at an offset, false if there is none.
func (s *supplement) text(off uint64) (string, bool) {
	if s == nil || off >= uint64(len(s.str)) {
		return "", false
	}
	b := s.str[off:]
	end := bytes.IndexByte(b[:min(len(b), maxName)], 0)
	if end < 0 {
		return "", false
	}
	return string(b[:end]), true
}

// die is where an entry of the debug information is.
type die struct {
	off          dwarf.Offset
	inSupplement bool
}

// readEntry reads an entry. Strings in the supplementary file are put in their
// place; without it they are missing.
func (d *dwarfIndex) readEntry(at die) (*dwarf.Entry, error) {
	reader := d.reader
	if at.inSupplement {
		if d.supplement == nil {
			return nil, errNoSupplement
		}
		reader = d.supplement.reader
	}
	reader.Seek(at.off)
	e, err := reader.Next()
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, errors.New("unexpected end of .debug_info")
	}
	for i := range e.Field {
		f := &e.Field[i]
		if off, ok := sharedOffset(f, dwarf.ClassStringAlt, dwarf.ClassString); ok && !at.inSupplement {
			// It would be a number to who asks for a string.
			f.Val = nil
			if text, ok := d.supplement.text(off); ok {
				f.Val = text
			}
		}
	}
	return e, nil
}

var errNoSupplement = errors.New("the supplementary debug file is not there")

// reference returns the entry that an attribute refers to, which may be in the
// supplementary file.
func reference(e *dwarf.Entry, from die, attr dwarf.Attr) (die, bool) {
	f := e.AttrField(attr)
	if f == nil {
		return die{}, false
	}
	if off, ok := f.Val.(dwarf.Offset); ok {
		return die{off, from.inSupplement}, true
	}
	if off, ok := sharedOffset(f, dwarf.ClassReferenceAlt, dwarf.ClassReference); ok && !from.inSupplement && uint64(dwarf.Offset(off)) == off {
		return die{dwarf.Offset(off), true}, true
	}
	return die{}, false
}

// sharedOffset returns the offset into a section of the supplementary file that
// a field has: of a GNU form (DW_FORM_GNU_ref_alt, _strp_alt), which has a class
// of its own, or of DWARF 5's (DW_FORM_ref_sup4, _ref_sup8, _strp_sup), which
// differs from others of its class by its type.
func sharedOffset(f *dwarf.Field, gnu, standard dwarf.Class) (uint64, bool) {
	switch v := f.Val.(type) {
	case int64:
		return uint64(v), f.Class == gnu
	case uint32:
		return uint64(v), f.Class == standard
	case uint64:
		return v, f.Class == standard
	}
	return 0, false
}
