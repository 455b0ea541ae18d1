// SPDX-License-Identifier: Apache-2.0

package target

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"
)

// atEntry is AT_ENTRY of getauxval(3).
const atEntry = 9

// entry is where the kernel started the program that it executed, 0 where that
// cannot be told.
func (p *Process) entry() uint64 {
	auxv, err := os.ReadFile(p.path("auxv"))
	if err != nil {
		return 0
	}
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		if binary.NativeEndian.Uint64(auxv) == atEntry {
			return binary.NativeEndian.Uint64(auxv[8:])
		}
	}
	return 0
}

// programFirst puts the program before its libraries, where modules are in the
// order of their addresses. The lowest address does not tell which it is: a
// static position independent program lies among mmap's, at random above or below
// the vDSO. What a ld.so that was executed itself has loaded is taken to be the
// lowest that is a file.
func programFirst(modules []*Module, entry uint64) {
	at := slices.IndexFunc(modules, func(m *Module) bool { return m.Contains(entry) && !strings.HasPrefix(m.Name, "ld-") })
	if at < 0 {
		at = slices.IndexFunc(modules, func(m *Module) bool { return m.file != nil })
	}
	if at > 0 {
		program := modules[at]
		copy(modules[1:at+1], modules[:at])
		modules[0] = program
	}
}
