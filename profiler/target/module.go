// SPDX-License-Identifier: Apache-2.0

package target

import (
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Module is an ELF file that the process has mapped, or the kernel's vDSO.
type Module struct {
	Path string // as the target names it
	Name string // its last element, without " (deleted)": "bird", "libc.so.6", "[vdso]"
	// Bias is what the loader added to the file's addresses (ELF vaddr): 0
	// for a program that is not position independent.
	Bias  uint64
	Areas []Mapping // all mappings of the file, in the order of their addresses
	ELF   *elf.File
	// Reader reads the file itself, also where it was deleted or replaced on
	// disk after the process mapped it.
	Reader io.ReaderAt

	file *os.File // nil for the vDSO
}

// Modules opens every ELF file that the process has mapped executable: the program
// first, then its libraries in the order of their addresses. Devices
// and files that are no ELF files are left out; one that cannot be opened is an error,
// because a stack through it could not be told. Close each after use.
func (p *Process) Modules() ([]*Module, error) {
	mappings, err := p.Mappings()
	if err != nil {
		return nil, err
	}
	type key struct{ dev, inode uint64 }
	const most = 1024 // files; more than a few dozen are somebody's trick
	byFile := make(map[key]*Module)
	var all []*Module
	fail := func(err error) ([]*Module, error) {
		for _, m := range all {
			m.Close()
		}
		return nil, err
	}
	for _, a := range mappings {
		if !a.Exec {
			continue
		}
		if a.Path == "[vdso]" {
			m, err := p.openVDSO(a)
			if err != nil {
				return fail(err)
			}
			all = append(all, m)
			continue
		}
		k := key{a.Device, a.Inode}
		if a.Inode == 0 || byFile[k] != nil {
			continue
		}
		if len(all) == most {
			return fail(fmt.Errorf("open files of process %d: more than %d are mapped", p.PID, most))
		}
		m, err := p.openModule(a)
		if errors.Is(err, errNotELF) || errors.Is(err, errKind) {
			continue
		} else if err != nil {
			return fail(err)
		}
		byFile[k] = m
		all = append(all, m)
	}
	for _, a := range mappings {
		if m := byFile[key{a.Device, a.Inode}]; m != nil && a.Inode != 0 {
			m.Areas = append(m.Areas, a)
		}
	}
	programFirst(all, p.entry())
	return all, nil
}

var errNotELF = errors.New("not an ELF file")

func (p *Process) openModule(a Mapping) (*Module, error) {
	f, err := p.openMapped(a)
	if err != nil {
		return nil, err
	}
	m := &Module{Path: a.Path, Name: path.Base(strings.TrimSuffix(a.Path, " (deleted)")), Reader: f, file: f}
	if m.ELF, err = newELF(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", a.Path, err)
	}
	bias, ok := loadBias(m.ELF, a)
	if !ok {
		f.Close()
		return nil, fmt.Errorf("read %s: no segment of it is mapped at 0x%x", a.Path, a.Start)
	}
	m.Bias = bias
	return m, nil
}

// OpenModule opens an ELF file that no process has mapped; it has no Areas, and
// a Bias of 0. Close it after use.
func OpenModule(name string) (*Module, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err // which says what was opened
	}
	m := &Module{Path: name, Name: path.Base(name), Reader: f, file: f}
	if m.ELF, err = newELF(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return m, nil
}

// maxModule bounds an ELF file that is read: BIRD with all its debugging
// information has some 10 MB.
const maxModule = 4 << 30

// openMapped opens the very file behind a mapping, and nothing but a regular
// one. /proc/PID/map_files has it even when it was deleted or replaced, but needs
// CAP_CHECKPOINT_RESTORE (or CAP_SYS_ADMIN); so has /proc/PID/exe, for the
// program alone; otherwise the file of that path in the target's root may be it.
func (p *Process) openMapped(a Mapping) (*os.File, error) {
	f, err := OpenRegular(p.path(fmt.Sprintf("map_files/%x-%x", a.Start, a.End)), maxModule)
	if err == nil || errors.Is(err, errKind) {
		return f, err
	} else if errors.Is(err, errNoAnswer) {
		return nil, fmt.Errorf("open %s of process %d: %w", a.Path, p.PID, err)
	}
	if f, err := OpenRegular(p.path("exe"), maxModule); err == nil {
		if shows(a, f) {
			return f, nil
		}
		f.Close()
	}
	f, errPath := p.openAtPath(a)
	if errPath != nil && errors.Is(err, fs.ErrPermission) {
		errPath = fmt.Errorf("%w; run with CAP_CHECKPOINT_RESTORE to open it as it is mapped", errPath)
	}
	if errPath != nil {
		return nil, fmt.Errorf("open %s of process %d: %w", a.Path, p.PID, errPath)
	}
	return f, nil
}

// openAtPath opens the file at a mapping's path in the process's root, if it is
// the one that is mapped.
func (p *Process) openAtPath(a Mapping) (*os.File, error) {
	name, ok := p.inside(a.Path)
	if !ok {
		return nil, errors.New("it is outside of the process's root")
	}
	f, err := OpenInRoot(p.Root(), name, maxModule)
	if err != nil {
		return nil, err
	}
	if !shows(a, f) {
		f.Close()
		return nil, errReplaced
	}
	return f, nil
}

var errReplaced = errors.New("replaced on disk since it was mapped")

// Replaced says whether the module's path leads to another file by now, in the
// process's root, or to none. Where that cannot be told it is false.
func (p *Process) Replaced(m *Module) bool {
	if len(m.Areas) == 0 || m.Areas[0].Inode == 0 {
		return false
	}
	f, err := p.openAtPath(m.Areas[0])
	if err == nil {
		f.Close()
	}
	return errors.Is(err, errReplaced) || errors.Is(err, errKind) || errors.Is(err, fs.ErrNotExist)
}

// shows says whether a mapping of another process is one of f. It compares what
// proc says of a mapping of our own, as device and inode of stat are others on
// btrfs and overlayfs.
func shows(a Mapping, f *os.File) bool {
	b, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	defer unix.Munmap(b)
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return false
	}
	defer maps.Close()
	own, err := parseMappings(maps)
	if err != nil {
		return false
	}
	at := uint64(uintptr(unsafe.Pointer(&b[0])))
	for _, o := range own {
		if at >= o.Start && at < o.End {
			return o.Device == a.Device && o.Inode == a.Inode
		}
	}
	return false
}

func (p *Process) openVDSO(a Mapping) (*Module, error) {
	size := a.End - a.Start
	if size > 1<<20 {
		return nil, fmt.Errorf("read vdso: %d bytes are too many", size)
	}
	b := make([]byte, size)
	if _, err := p.ReadAt(b, int64(a.Start)); err != nil {
		return nil, fmt.Errorf("read vdso: %w", err)
	}
	r := strings.NewReader(string(b))
	f, err := newELF(r)
	if err != nil {
		return nil, fmt.Errorf("read vdso: %w", err)
	}
	return &Module{Path: a.Path, Name: a.Path, Bias: a.Start, Areas: []Mapping{a}, ELF: f, Reader: r}, nil
}

func newELF(r io.ReaderAt) (*elf.File, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || string(magic[:]) != elf.ELFMAG {
		return nil, errNotELF
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		return nil, fmt.Errorf("%v is not supported, only x86-64 is", f.Machine)
	}
	return f, nil
}

// loadBias finds the segment that the mapping shows; the loader maps whole
// pages, so a segment's first page begins before its first byte.
func loadBias(f *elf.File, a Mapping) (uint64, bool) {
	const page = 4096
	for _, s := range f.Progs {
		if s.Type != elf.PT_LOAD || s.Flags&elf.PF_X == 0 {
			continue
		}
		start := s.Off &^ (page - 1)
		if a.Offset >= start && a.Offset < s.Off+s.Filesz {
			return a.Start - (s.Vaddr + (a.Offset - s.Off)), true
		}
	}
	return 0, false
}

// FileOffset translates an ELF vaddr in an executable segment to an offset in
// the file, which is what the kernel wants for a uprobe.
func (m *Module) FileOffset(vaddr uint64) (uint64, error) {
	for _, s := range m.ELF.Progs {
		if s.Type == elf.PT_LOAD && s.Flags&elf.PF_X != 0 && vaddr >= s.Vaddr && vaddr < s.Vaddr+s.Filesz {
			return vaddr - s.Vaddr + s.Off, nil
		}
	}
	return 0, fmt.Errorf("translate address 0x%x of %s: in no executable segment", vaddr, m.Name)
}

// Contains says whether the process address addr lies in the module.
func (m *Module) Contains(addr uint64) bool {
	for _, a := range m.Areas {
		if addr >= a.Start && addr < a.End {
			return true
		}
	}
	return false
}

// AttachPath returns a path under which the kernel finds the very file that
// is mapped, deleted or not, as long as the module is open. The vDSO has none.
func (m *Module) AttachPath() (string, error) {
	if m.file == nil {
		return "", fmt.Errorf("probe %s: it is no file", m.Name)
	}
	return placeOf(int(m.file.Fd())), nil
}

// BuildID returns the GNU build ID in hex, or "".
func (m *Module) BuildID() string {
	for _, s := range m.ELF.Progs {
		if s.Type != elf.PT_NOTE || s.Filesz > 1<<16 {
			continue
		}
		b := make([]byte, s.Filesz)
		if _, err := s.ReadAt(b, 0); err != nil {
			continue
		}
		if id := buildID(b, m.ELF); id != "" {
			return id
		}
	}
	return ""
}

// buildID walks the notes in b: name size, description size, type, then both
// padded to four bytes (gABI, "Note Section").
func buildID(b []byte, f *elf.File) string {
	const ntGNUBuildID = 3
	align := func(n uint64) uint64 { return (n + 3) &^ 3 }
	for len(b) >= 12 {
		name, desc := uint64(f.ByteOrder.Uint32(b)), uint64(f.ByteOrder.Uint32(b[4:]))
		kind := f.ByteOrder.Uint32(b[8:])
		b = b[12:]
		if align(name)+desc > uint64(len(b)) {
			return ""
		}
		if kind == ntGNUBuildID && name == 4 && string(b[:4]) == "GNU\x00" {
			return hex.EncodeToString(b[4 : 4+desc])
		}
		b = b[min(align(name)+align(desc), uint64(len(b))):]
	}
	return ""
}

// Close releases the file.
func (m *Module) Close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}
