// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"leakprof/profiler/plan/prologue"
)

func code(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// chosen says in a line what was chosen for a function.
func chosen(p prologue.Place, args []Argument) string {
	s := fmt.Sprintf("+%d %s", p.Offset, p.Form)
	if p.Depth != 0 {
		s += fmt.Sprintf(", rsp-%d", p.Depth)
	}
	for _, a := range args {
		if a.Moved() {
			s += ", " + a.String()
		}
	}
	return s
}

// TestChoose: the probe moves to the first instruction that is emulated, if
// what is wanted can be had there, and only where nothing jumps in.
func TestChoose(t *testing.T) {
	first, size := []wanted{{0, 64}}, []wanted{{1, 32}}
	for _, c := range []struct {
		name    string
		code    string
		wants   []wanted
		returns bool
		want    string
	}{
		{"push rbx", "53 c3", first, true, "+0 push r64"},
		{"endbr64, push", "f30f1efa 53 c3", first, true, "+4 push r64"},
		{"endbr64, push r15", "f30f1efa 4157 c3", first, true, "+4 push r8-r15"},
		{"endbr64, nop, push", "f30f1efa 90 53 c3", first, true, "+4 nop"},
		{"endbr64, test rdi, jz", "f30f1efa 4885ff 7401 c3 c3", first, true, "+7 jcc rel8"},
		{"cmp byte rip+x, je", "803d461b140000 7400 c3", first, true, "+7 jcc rel8"},
		{"sub rsp, push: the entry", "4883ec08 53 c3", first, false, "+4 push r64, rsp-8"},
		{"sub rsp, push: no place for a return probe", "4883ec08 53 c3", first, true, "+0 sub imm, rsp"},
		{"mov rbx, rdi, push", "4889fb 53 c3", first, true, "+3 push r64"},
		{"an argument goes", "31ff 53 c3", first, true, "+0 xor r, r"},
		{"an argument that nobody wants goes", "31ff 53 c3", size, true, "+2 push r64"},
		{"an argument moves", "4889fb 31ff 53 c3", first, true, "+5 push r64, argument 1 is rbx"},
		{"half of an argument moves", "89f1 31f6 53 c3", size, true, "+4 push r64, argument 2 is rcx"},
		{"half is not enough", "89f9 31ff 53 c3", first, true, "+0 mov r32, r32"},
		{"lea rdi, [rdi+1]", "488d7f01 53 c3", first, true, "+4 push r64, argument 1 is rdi-1"},
		{"spilled", "48897c24f8 31ff 7400 c3", first, false, "+7 jcc rel8, argument 1 is [rsp-8]"},
		{"free_page of 2.20", "f30f1efa 803ddd9d080000 7500 c3", first, false, "+11 jcc rel8"},
		{"free_page of 3.4", "f30f1efa 4883ec18 803d72fd0a0000 48896c2410 4889fd 7500 c3", first, false, "+23 jcc rel8, rsp-24"},
		{"lp_alloc of 2.20", "f30f1efa 488b4718 89f1 4883c00f 4883e0f0 488d1408 48395720 7200 c3", size, true, "+26 jcc rel8"},
		{"calloc of glibc 2.43", "4889f8 48f7e6 0f8000000000 c3", []wanted{{0, 64}, {1, 64}}, true, "+6 jcc rel32"},
		{"memory is written", "48893d00000000 53 c3", first, false, "+0 mov r64, mem"},
		{"jumped into", "4885ff 7402 ebfa c3", first, false, "+0 test r, r"}, // jmp to 1
		{"jumped to the place itself", "4885ff 7402 ebfa 90 ebf8 c3", first, false, "+0 test r, r"},
		{"loop back to the entry", "4885ff 7402 ebf9 c3", first, false, "+3 jcc rel8"},
		{"jump behind the place", "f30f1efa 53 5b ebfd c3", first, false, "+4 push r64"},
		{"undecodable behind", "f30f1efa 53 06 c3", first, false, "+0 endbr64"},
		{"nop5 with something below rsp", "48897c24f8 0f1f440000 c3", first, false, "+0 mov r64, mem"},
		{"nop5", "f30f1efa 0f1f440000 c3", first, false, "+4 nop5"},
		{"undecodable at once", "06", first, false, "+0 other"},
		{"jmp rel32", "e900000000", first, true, "+0 jmp rel32"},
		{"ret", "c3", first, true, "+0 ret"},
		{"empty", "", first, true, "+0 other"},
	} {
		if got := chosen(choose(code(t, c.code), c.wants, c.returns, nil)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestCosts: what was measured decides what is emulated, and is what a hit costs.
func TestCosts(t *testing.T) {
	const us = time.Microsecond
	free := code(t, "4883ec08 4885ff 7400 c3")
	measured := &Costs{Return: us, Hit: map[prologue.Form]time.Duration{
		prologue.SubRSP: us / 2, prologue.Jcc8: us / 2, prologue.Push: us / 2, prologue.TestReg: 9 * us, prologue.Other: 10 * us,
	}}
	alike := &Costs{Hit: map[prologue.Form]time.Duration{prologue.SubRSP: 1000, prologue.Jcc8: 1100, prologue.Other: 1200}}
	for _, c := range []struct {
		name  string
		costs *Costs
		want  string
		hit   time.Duration // with a return probe
	}{
		{"not measured", nil, "+7 jcc rel8, rsp-8", costEmulated + costReturn},
		{"a newer kernel emulates sub", measured, "+0 sub imm, rsp", us/2 + us},
		{"nothing can be told apart", alike, "+7 jcc rel8, rsp-8", 1100},
	} {
		place, args := choose(free, []wanted{{0, 64}}, false, c.costs)
		if got := chosen(place, args); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		s := Site{Instruction: place.Form, Return: true}
		c.costs.price(&s)
		if s.Cost() != c.hit || !s.Emulated {
			t.Errorf("%s: a hit costs %s, emulated %v; want %s", c.name, s.Cost(), s.Emulated, c.hit)
		}
	}
	unknown := Site{Instruction: prologue.Ret}
	if measured.price(&unknown); unknown.Cost() != 10*us || unknown.Emulated {
		t.Errorf("a form that was not measured costs %s, emulated %v", unknown.Cost(), unknown.Emulated)
	}
}

// FuzzChoose: whatever the bytes are, the place lies in the code, on what is
// emulated, and one for a return probe where rsp is as at the entry.
func FuzzChoose(f *testing.F) {
	for _, s := range []string{"f30f1efa 53 c3", "4885ff 7402 ebf9 c3", "41", "f30f", "0f", "4883ec08 4889fb 7400 c3"} {
		f.Add(code(f, s), false)
		f.Add(code(f, s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, returns bool) {
		place, args := choose(b, []wanted{{0, 64}, {1, 32}}, returns, nil)
		if place.Offset == 0 {
			return
		}
		if place.Offset >= uint64(len(b)) || !emulatedSince515[prologue.FormOf(b[place.Offset:])] || returns && place.Depth != 0 || len(args) != 2 {
			t.Errorf("%x: %s", b, chosen(place, args))
		}
	})
}
