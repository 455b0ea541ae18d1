// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"bytes"
	"fmt"

	"leakprof/profiler/plan"
	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/target"
)

// checkCode compares the code at each site, from the function's entry on, with
// its file. The kernel takes the instruction that it runs for a probe from the
// file, and a site is proved by it: code that was changed in memory must not be
// probed. Probes of others are no change.
func checkCode(p *target.Process, sites []plan.Site) error {
	for _, s := range sites {
		code, err := s.Code()
		if err != nil {
			return err
		}
		place, ok := prologue.At(code, s.Offset)
		if !ok {
			continue // as with code that cannot be decoded: the entry alone is probed
		}
		code = code[:int(place.Offset)+place.Length]
		memory := make([]byte, len(code))
		if _, err := p.ReadAt(memory, int64(s.Module.Bias+s.Address)); err != nil {
			return fmt.Errorf("read code of %s: %w", s.Function, err)
		}
		if !isSameCode(code, memory) {
			return fmt.Errorf("attach to %s: its code in memory is not that of %s: something has changed it; restart the process without that", s.Function, s.Module.Name)
		}
	}
	return nil
}

// What probes put into code: int3, and since Linux 6.18 a call, or before that a
// jump over it, in the place of a nop of five bytes.
const (
	int3 = 0xcc
	call = 0xe8
	jump = 0xeb
)

// isSameCode compares the instructions of a file with those in memory, where
// some may have probes.
func isSameCode(file, memory []byte) bool {
	for _, p := range prologue.Follow(file) {
		at, end := int(p.Offset), int(p.Offset)+p.Length
		if end > len(memory) {
			break
		}
		in := memory[at:end]
		switch {
		case bytes.Equal(in, file[at:end]):
		case in[0] == int3 && bytes.Equal(in[1:], file[at+1:end]):
		case p.Form == prologue.Nop5 && (in[0] == call || in[0] == jump || in[0] == int3):
		default:
			return false
		}
	}
	return true
}
