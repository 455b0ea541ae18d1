// SPDX-License-Identifier: Apache-2.0

package plan

import "testing"

// TestDoes: code that writes no memory but its stack frame takes no object, and
// none is taken from a slab without a multiplication.
func TestDoes(t *testing.T) {
	const imul = "0fafc1 "
	for _, c := range []struct {
		name, code string
		want, slab bool // of any function, and of sl_alloc
	}{
		{"nothing", "c3", false, false},
		{"mov [rdi], rax", "488907 c3", true, false},
		{"imul, mov [rdi], rax", imul + "488907 c3", true, true},
		{"imul alone", imul + "c3", false, false},
		{"imul, or dword [rdi+rcx*4], eax", imul + "09048f", true, true},
		{"imul, mov [rsp+8], rax", imul + "4889442408", false, false},
		{"imul, mov [rbp-8], rax", imul + "488945f8", false, false},
		{"imul, mov [rbp+8], rax", imul + "48894508", true, true},
		{"imul, mov fs:[rsp], rax", imul + "6448890424", true, true},
		{"imul, mov rax, [rdi]", imul + "488b07", false, false},
		{"imul, cmp [rdi], rax", imul + "483907", false, false},
		{"imul, test [rdi], rax", imul + "488507", false, false},
		{"imul, call [rdi]", imul + "ff17", false, false},
		{"imul, push [rdi]", imul + "ff37", false, false},
		{"imul, div qword [rdi]", imul + "48f737", false, false},
		{"imul, xchg [rdi], rax", imul + "488707", true, true},
		{"imul, lock xadd [rdi], rax", imul + "f0480fc107", true, true},
		{"imul, lea rax, [rdi]", imul + "488d07", false, false},
		{"imul, movups [rdi], xmm0", imul + "0f1107", true, true},
		{"imul, rep stosq", imul + "f348ab", true, true},
		{"endbr64, imul, mov [rdi], rax", "f30f1efa " + imul + "488907", true, true},
		{"undecodable", "06", true, true},
		{"cut", "488b", true, true},
	} {
		pieces := [][]byte{code(t, c.code)}
		if got := does("msl_alloc", pieces); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := does("sl_alloc", pieces); got != c.slab {
			t.Errorf("%s: %v of sl_alloc, want %v", c.name, got, c.slab)
		}
	}
	if !does("sl_alloc", [][]byte{code(t, "488907"), code(t, imul)}) {
		t.Error("what one piece writes and another multiplies is not seen together")
	}
}
