// SPDX-License-Identifier: Apache-2.0

// Package scratch makes small programs of given machine code and runs it, so
// that probes can be tried and timed where they can do no harm: in a process of
// our own that holds nothing.
package scratch

import (
	"bytes"
	"debug/elf"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrNotHere says that programs can be made for x86-64 alone.
var ErrNotHere = errors.New("scratch programs are of x86-64")

//go:generate clang -target x86_64 -c -o driver/driver.o driver/driver.S
//go:embed driver/driver.o
var driverObject []byte

// Where the parts of a program lie. The driver has the data's address in it.
const (
	headerBytes = 4096
	textAddress = 0x510000000
	textMost    = 1 << 20
	align       = 64

	ownAddress  = 0x10000000 // the driver's variables
	ownBytes    = 0x1000
	dataAddress = Data - DataReach
	dataBytes   = 2 * DataReach
)

// Data is the address in the middle of a program's data, of which every aligned
// word from DataReach bytes before it up to as many behind it holds Data itself:
// whatever follows a pointer there finds another one. It is where fs points to.
// It does not fit into 32 bits, and its lower 32 bits are few, so that they can
// be a number in an array.
const (
	Data      = 0x500002000
	DataReach = 0x80000
)

// Function is a piece of code in a program.
type Function struct {
	Offset  uint64 // of its first byte in the program's file
	Address uint64 // in the process
}

// Builder collects the functions of a program.
type Builder struct {
	text []byte
	back uint64 // where functions return to, from the begin of text
}

// NewBuilder begins a program without functions.
func NewBuilder() (*Builder, error) {
	if runtime.GOARCH != "amd64" {
		return nil, ErrNotHere
	}
	f, err := elf.NewFile(bytes.NewReader(driverObject))
	if err != nil {
		return nil, fmt.Errorf("read scratch driver: %w", err)
	}
	text, err := f.Section(".text").Data()
	if err != nil {
		return nil, fmt.Errorf("read scratch driver: %w", err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read scratch driver: %w", err)
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == "back" })
	if i < 0 {
		return nil, errors.New("read scratch driver: it does not say where functions return to")
	}
	return &Builder{text: text, back: symbols[i].Value}, nil
}

// ReturnAddress is what functions find at the top of the stack.
func (b *Builder) ReturnAddress() uint64 { return textAddress + b.back }

// Next is where the next function will be.
func (b *Builder) Next() Function {
	at := uint64(len(b.text)+align-1) / align * align
	return Function{Offset: headerBytes + at, Address: textAddress + at}
}

// Add puts a function into the program. The code runs where Next said; it is
// called by the System V ABI and has to return.
func (b *Builder) Add(code []byte) (Function, error) {
	f := b.Next()
	if int(f.Address-textAddress)+len(code) > textMost {
		return Function{}, fmt.Errorf("add to scratch program: more than %d bytes of code", textMost)
	}
	const trap = 0xcc // int3
	for uint64(len(b.text)) < f.Address-textAddress {
		b.text = append(b.text, trap)
	}
	b.text = append(b.text, code...)
	return f, nil
}

// image is the program's ELF file.
func (b *Builder) image() []byte {
	const headerSize, segmentSize = 64, 56
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: textAddress, Phoff: headerSize, Ehsize: headerSize, Phentsize: segmentSize, Phnum: 3,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	segments := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: headerBytes, Vaddr: textAddress, Paddr: textAddress,
			Filesz: uint64(len(b.text)), Memsz: uint64(len(b.text)), Align: headerBytes},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Vaddr: ownAddress, Paddr: ownAddress, Memsz: ownBytes, Align: headerBytes},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Vaddr: dataAddress, Paddr: dataAddress, Memsz: dataBytes, Align: headerBytes},
	}
	var out bytes.Buffer
	// Writing to a buffer does not fail.
	_ = binary.Write(&out, binary.LittleEndian, header)
	_ = binary.Write(&out, binary.LittleEndian, segments)
	out.Write(make([]byte, headerBytes-out.Len()))
	out.Write(b.text)
	return slices.Clip(out.Bytes())
}

// memoryFile makes a file without a name that can be executed.
func (b *Builder) memoryFile() (*os.File, error) {
	const executable = 0x10 // MFD_EXEC, Linux 6.3
	fd, err := unix.MemfdCreate("leakprof-scratch", unix.MFD_CLOEXEC|executable)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("leakprof-scratch", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make scratch program: %w", err)
	}
	f := os.NewFile(uintptr(fd), "leakprof-scratch")
	if _, err := f.Write(b.image()); err != nil {
		f.Close()
		return nil, fmt.Errorf("make scratch program: %w", err)
	}
	return f, nil
}
