// SPDX-License-Identifier: Apache-2.0

package prologue

import (
	"encoding/hex"
	"fmt"
	"slices"
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

// describe says of each place its offset and depth, and where the first two
// arguments are: the first whole, of the second 32 bits.
func describe(places []Place) string {
	var all []string
	for _, p := range places {
		s := fmt.Sprintf("+%d", p.Offset)
		if p.Depth != 0 {
			s += fmt.Sprintf(" rsp-%d", p.Depth)
		}
		for i, bits := range []int{64, 32} {
			v, ok := p.Find(Argument(i), bits)
			switch {
			case !ok:
				s += " ?"
			case v != Value{Register: Argument(i)}:
				s += " " + v.String()
			default:
				s += " ="
			}
		}
		if p.RedZone {
			s += " red"
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}

// TestFollow: what is where at each instruction, by hand-assembled code.
func TestFollow(t *testing.T) {
	for _, c := range []struct{ name, code, want string }{
		{"push, ret", "53 c3", "+0 = =; +1 rsp-8 = ="},
		{"endbr64, push r12, pop r12, ret", "f30f1efa 4154 415c c3", "+0 = =; +4 = =; +6 rsp-8 = =; +8 = ="},
		{"mov rbx, rdi; xor edi, edi; push", "4889fb 31ff 53 c3", "+0 = =; +3 = =; +5 rbx =; +6 rsp-8 rbx ="},
		{"mov eax, edi keeps half of it", "89f8 31ff 90 c3", "+0 = =; +2 = =; +4 ? =; +5 ? ="},
		{"mov ecx, esi is enough for 32 bits", "89f1 31f6 90 c3", "+0 = =; +2 = =; +4 = rcx; +5 = rcx"},
		{"lea rbp, [rdi-16]; mov edi, 1", "488d6ff0 bf01000000 90 c3", "+0 = =; +4 = =; +9 rbp+16 =; +10 rbp+16 ="},
		{"add rdi, 8", "4883c708 90 c3", "+0 = =; +4 rdi-8 =; +5 rdi-8 ="},
		{"sub esi, 1", "83ee01 90 c3", "+0 = =; +3 = rsi+1; +4 = rsi+1"},
		{"spilled as at -O0", "55 4889e5 4883ec20 48897de8 8975e4 488b45e8 31ff 31f6 90",
			"+0 = =; +1 rsp-8 = =; +4 rsp-8 = =; +8 rsp-40 = =; +12 rsp-40 = =; +15 rsp-40 = =; +19 rsp-40 = =; +21 rsp-40 rax =; +23 rsp-40 rax [rsp+4]"},
		{"pushed argument", "57 31ff 90 c3", "+0 = =; +1 rsp-8 = =; +3 rsp-8 [rsp] =; +4 rsp-8 [rsp] ="},
		{"popped elsewhere", "57 31ff 58 90", "+0 = =; +1 rsp-8 = =; +3 rsp-8 [rsp] =; +4 rax ="},
		{"spilled and overwritten in part", "4883ec18 48893c24 c744240400000000 31ff 90",
			"+0 = =; +4 rsp-24 = =; +8 rsp-24 = =; +16 rsp-24 = =; +18 rsp-24 ? ="},
		{"below rsp", "48897c24f8 31ff 90", "+0 = =; +5 = = red; +7 [rsp-8] = red"},
		{"test, jump: ends with it", "4885ff 7400 90", "+0 = =; +3 = ="},
		{"calls end it", "e800000000 90", "+0 = ="},
		{"reads memory", "803d0000000000 488b4718 90 c3", "+0 = =; +7 = =; +11 = =; +12 = ="},
		{"does not pass a write to memory", "488907 90", "+0 = ="},
		{"nor one by rip", "48893d00000000 90", "+0 = ="},
		{"nor one of another's frame", "4889442408 90", "+0 = ="},
		{"nor one over the return address", "48890424 90", "+0 = ="},
		{"nor a lock", "f048ff07 90", "+0 = ="},
		{"nor rep stos", "f3ab 90", "+0 = ="},
		{"nor an aligned rsp", "4883e4f0 90", "+0 = ="},
		{"nor rsp from elsewhere", "4889c4 90", "+0 = ="},
		{"nor a popped return address", "58 90", "+0 = ="},
		{"nor xchg", "4887fe 90", "+0 = ="},
		{"mul", "4889f8 48f7e6 90", "+0 = =; +3 = =; +6 = ="},
		{"mul of rdx as argument", "48f7e7 31ff 90", "+0 = =; +3 = =; +5 ? ="},
		{"vector registers", "660fefc0 0f1107 90", "+0 = =; +4 = ="},
		{"pxor and on", "660fefc0 90 c3", "+0 = =; +4 = =; +5 = ="},
		{"vector in the frame", "4883ec28 48897c2408 0f11442408 31ff 90",
			"+0 = =; +4 rsp-40 = =; +9 rsp-40 = =; +14 rsp-40 = =; +16 rsp-40 ? ="},
		{"frame pointer gives rsp back", "55 4889e5 4883ec20 4889ec 90", "+0 = =; +1 rsp-8 = =; +4 rsp-8 = =; +8 rsp-40 = =; +11 rsp-8 = ="},
		{"from fs", "64488b042528000000 4889442418 90", "+0 = =; +9 = ="}, // the second writes above rsp
		{"16 bits of it change", "668d7f01 90", "+0 = =; +4 ? ="},
		{"8 bits of it change", "40b700 90", "+0 = =; +3 ? ="},
		{"undecodable", "06", ""},
		{"cut", "48", ""},
		{"empty", "", ""},
	} {
		if got := describe(Follow(code(t, c.code))); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestIsUntouched(t *testing.T) {
	for _, c := range []struct {
		code string
		want []bool
	}{
		{"f30f1efa 4885ff 803d0000000000 7400", []bool{true, true, true, true}},
		{"4889f8 90", []bool{true, false}},
		{"53 5b 90", []bool{true, false, false}}, // the frame has been written
		{"488b07 90", []bool{true, false}},
		{"48897c24f8 90", []bool{true, false}},
	} {
		var got []bool
		for _, p := range Follow(code(t, c.code)) {
			got = append(got, p.IsUntouched())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.code, got, c.want)
		}
	}
}

// TestAlone: what leads behind the entry is found.
func TestAlone(t *testing.T) {
	for _, c := range []struct {
		name, code string
		at         uint64
		want       bool // alone
	}{
		{"nothing jumps", "90 90 90 c3", 2, true},
		{"to the entry", "90 90 ebfc", 2, true},
		{"to the second byte", "90 90 ebfd", 2, false},
		{"to the place", "90 90 ebfe", 2, false},
		{"behind the place", "90 90 90 ebfe", 2, true},
		{"out of the function, before", "90 90 ebf0", 2, true},
		{"jcc near", "90 90 0f84f9ffffff", 2, false},
		{"call into", "90 90 e8faffffff", 2, false},
		{"loop instruction", "90 90 e2fd", 2, false},
		{"jrcxz", "90 90 e3fd", 2, false},
		{"endbr64 on the way", "f30f1efa 90 ebfc", 4, false},
		{"undecodable", "90 06", 1, false},
		{"cut", "90 e8ff", 1, false},
		{"the entry itself", "06", 0, true},
		{"table of addresses", "90 ff24c500000000", 1, false},        // jmp [rax*8]
		{"table of distances", "90 486304 82 4801d0 ffe0", 1, false}, // movslq (rdx,rax,4); jmp rax
		{"tail call through a register", "90 ffe0", 1, true},
	} {
		if err := Alone(code(t, c.code), 0, c.at); (err == nil) != c.want {
			t.Errorf("%s: %v, want alone %v", c.name, err, c.want)
		}
	}
}

// TestAloneFrom: what leads to where the line begins leads along all of it.
func TestAloneFrom(t *testing.T) {
	loop := code(t, "90 803d0000000000 7500 ebf5") // nop; cmpb; jne; jmp to the cmpb
	if err := Alone(loop, 1, 8); err != nil {
		t.Error(err)
	}
	if err := Alone(loop, 0, 8); err == nil {
		t.Error("a jump into the line is not seen")
	}
}

func TestLandings(t *testing.T) {
	const at = 0x1000
	spans := []Span{{at, at + 4}, {at + 0x10, at + 0x14}}
	for _, c := range []struct {
		name, code string
		want       [2]bool
	}{
		{"none", "90 90 90 90 90 90", [2]bool{}},
		{"jmp to the entry", "90 e9faffffff", [2]bool{}},
		{"jmp behind it", "90 e9fbffffff", [2]bool{true, false}},
		{"jcc to the end of the second", "0f840e000000", [2]bool{false, true}},
		{"jcc behind it", "0f840f000000", [2]bool{}},
		{"call", "e80c000000", [2]bool{false, true}},
		{"not a jump", "c7 fbffffff", [2]bool{}},
	} {
		// Behind it is room for what it jumps over.
		l := FindLandings(append(code(t, c.code), make([]byte, 32)...), at)
		if got := [2]bool{l.Within(spans[0]), l.Within(spans[1])}; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if l := FindLandings(code(t, "90 e90000"), at); l.Within(Span{at - 64, at + 64}) {
		t.Error("a jump that is cut leads somewhere")
	}
}

func TestFormOf(t *testing.T) {
	for _, c := range []struct {
		code string
		want Form
	}{
		{"50", Push}, {"57", Push}, {"58", Other}, {"4150", PushHigh}, {"4157", PushHigh}, {"4158", Other}, {"41", Other},
		{"7000", Jcc8}, {"7f00", Jcc8}, {"90", Nop}, {"0f1f4000", NopLong}, {"0f1f440000", Nop5}, {"0f1f840000000000", NopLong}, {"6690", NopPrefix},
		{"660f1f440000", NopPrefix}, {"0f8000000000", Jcc32}, {"0f8f00000000", Jcc32}, {"0f94c0", Other}, {"0f", Other},
		{"e800000000", Call}, {"e900000000", Jmp32}, {"eb00", Jmp8}, {"ffe0", Other}, {"c3", Ret}, {"6a01", PushImm}, {"6801000000", PushImm},
		{"f083042401", Other}, {"f30f1efa", Endbr}, {"f30f1e", Other}, {"4883ec08", SubRSP}, {"4881ec00010000", SubRSP}, {"4883c408", Other},
		{"4889fb", MovReg}, {"4c89e7", MovReg}, {"89f8", MovReg32}, {"4489e0", MovReg32}, {"488b4718", MovLoad}, {"48897c2408", MovStore},
		{"488d6ff0", Lea}, {"4885ff", TestReg}, {"803d0000000000", CmpMem}, {"31ff", XorReg}, {"", Other}, {"66e800000000", Other}, {"f2e900000000", Other},
	} {
		if got := FormOf(code(t, c.code)); got != c.want {
			t.Errorf("%s: %s, want %s", c.code, got, c.want)
		}
	}
}

// FuzzFollow: whatever the bytes are, places follow one another and lie in the
// code.
func FuzzFollow(f *testing.F) {
	for _, s := range []string{"f30f1efa 53 c3", "55 4889e5 4883ec20 48897de8", "4885ff 7402 ebf9 c3", "41", "f30f", "4883ec18 0f11442408"} {
		f.Add(code(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at := uint64(0)
		for _, p := range Follow(b) {
			if p.Offset != at || p.Length <= 0 || p.Depth < 0 {
				t.Fatalf("%x: place at %d of %d bytes, depth %d, want it at %d", b, p.Offset, p.Length, p.Depth, at)
			}
			at += uint64(p.Length)
			for i := range 6 {
				p.Find(Argument(i), 64)
			}
			_ = Alone(b, 0, p.Offset)
		}
		if at > uint64(len(b)) {
			t.Fatalf("%x: places of %d bytes", b, at)
		}
	})
}

// BenchmarkFollow follows the beginning of free_page of BIRD 3.4.
func BenchmarkFollow(b *testing.B) {
	f := code(b, "f30f1efa 4883ec18 803d72fd0a0000 48896c2410 4889fd 0f85ab000000")
	for b.Loop() {
		if p := Follow(f); p[len(p)-1].Offset != 23 {
			b.Fatal(describe(p))
		}
	}
}

// BenchmarkLandings looks for jumps through a megabyte of code.
func BenchmarkLandings(b *testing.B) {
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = byte(i * 131)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		FindLandings(text, 0x1000)
	}
}
