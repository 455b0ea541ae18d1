// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/hex"
	"strings"
	"testing"
)

func code(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestProbeOffset: the probe moves only over what leaves registers, memory
// and rsp alone, and only where nothing jumps in.
func TestProbeOffset(t *testing.T) {
	for _, c := range []struct {
		name     string
		code     string
		offset   uint64
		emulated bool
	}{
		{"push rbx", "53 c3", 0, true},
		{"push r12", "4154 c3", 0, true},
		{"endbr64, push", "f30f1efa 53 c3", 4, true},
		{"endbr64, push r15", "f30f1efa 4157 c3", 4, true},
		{"endbr64, nop, push", "f30f1efa 90 53 c3", 4, true}, // nop is emulated itself
		{"endbr64, test rdi, jz", "f30f1efa 4885ff 7401 c3 c3", 7, true},
		{"test rdi, jz near", "4885ff 0f8400000000 c3", 3, true},
		{"cmp rdi 8, ja", "4883ff08 7700 c3", 4, true},
		{"cmp byte rip+x, je: memory might fault", "803d461b140000 7400 c3", 0, false},
		{"test qword [rdi]: memory", "48f70701000000 7400 c3", 0, false},
		{"sub rsp first: rsp moves", "4883ec08 53 c3", 0, false},
		{"mov rbx, rdi first", "4889fb 53 c3", 0, false},
		{"xor edi, edi: an argument changes", "31ff 53 c3", 0, false},
		{"lea rdi, [rdi+1]: an argument changes", "488d7f01 53 c3", 0, false},
		{"endbr64, sub rsp: nothing emulated", "f30f1efa 4883ec18 c3", 0, false},
		{"endbr64, mov, push", "f30f1efa 89f8 53 c3", 0, false},
		{"jumped into", "4885ff 7402 ebfa c3", 0, false}, // jmp to 1
		{"jumped to the place itself", "4885ff 7402 ebfa 90 ebf8 c3", 0, false},
		{"loop back to the entry", "4885ff 7402 ebf9 c3", 3, true},
		{"loop back to the probe", "f30f1efa 53 5b ebfc c3", 0, false},
		{"jump behind the probe", "f30f1efa 53 5b ebfd c3", 4, true},
		{"undecodable behind", "f30f1efa 53 06 c3", 0, false},
		{"undecodable at once", "06", 0, false},
		{"jmp rel32", "e900000000", 0, true},
		{"call rel32", "e800000000 c3", 0, true},
		{"ret", "c3", 0, false},
		{"only flags up to the end", "4885ff 4885ff", 0, false},
		{"flags too long", strings.Repeat("4885ff ", 12) + "53 c3", 0, false},
		{"cut endbr64", "f30f1e", 0, false},
		{"empty", "", 0, false},
	} {
		offset, isEmulated := probeOffset(code(t, c.code))
		if offset != c.offset || isEmulated != c.emulated {
			t.Errorf("%s: offset %d, emulated %v; want %d, %v", c.name, offset, isEmulated, c.offset, c.emulated)
		}
	}
}

func TestEmulated(t *testing.T) {
	for _, c := range []struct {
		name, code string
		want       bool
	}{
		{"push rax", "50", true},
		{"push rdi", "57", true},
		{"pop rax", "58", false},
		{"push r8", "4150", true},
		{"push r15", "4157", true},
		{"pop r8", "4158", false},
		{"rex alone", "41", false},
		{"jo", "7000", true},
		{"jg", "7f00", true},
		{"nop", "90", true},
		{"nopw", "0f1f4000", true},
		{"jo near", "0f8000000000", true},
		{"jg near", "0f8f00000000", true},
		{"sete", "0f94c0", false},
		{"0f alone", "0f", false},
		{"call", "e800000000", true},
		{"jmp", "e900000000", true},
		{"jmp short", "eb00", true},
		{"jmp rax", "ffe0", false},
		{"ret", "c3", false},
		{"push imm8", "6a01", false},
		{"lock add", "f083042401", false},
		{"empty", "", false},
	} {
		if got := emulated(code(t, c.code)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestJumpsInto(t *testing.T) {
	for _, c := range []struct {
		name, code string
		at         int
		want       bool
	}{
		{"nothing jumps", "90 90 90 c3", 2, false},
		{"to the entry", "90 90 ebfc", 2, false},
		{"to the second byte", "90 90 ebfd", 2, true},
		{"to at", "90 90 ebfe", 2, true},
		{"behind at", "90 90 90 ebfe", 2, false},
		{"out of the function, before", "90 90 ebf0", 2, false},
		{"jcc near", "90 90 0f84f9ffffff", 2, true},
		{"call into", "90 90 e8faffffff", 2, true},
		{"loop instruction", "90 90 e2fd", 2, true},
		{"jrcxz", "90 90 e3fd", 2, true},
		{"endbr64 on the way", "f30f1efa 90 ebfc", 4, true},
		{"undecodable", "90 06", 1, true},
		{"cut", "90 e8ff", 1, true},
	} {
		if got := jumpsInto(code(t, c.code), c.at); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// FuzzProbeOffset: whatever the bytes are, the offset lies in the code, on a
// place that is emulated.
func FuzzProbeOffset(f *testing.F) {
	for _, s := range []string{"f30f1efa 53 c3", "4885ff 7402 ebf9 c3", "41", "f30f", "0f"} {
		f.Add(code(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		offset, isEmulated := probeOffset(b)
		if offset != 0 && (offset >= uint64(len(b)) || !isEmulated || !emulated(b[offset:])) {
			t.Errorf("%x: offset %d, emulated %v", b, offset, isEmulated)
		}
	})
}
