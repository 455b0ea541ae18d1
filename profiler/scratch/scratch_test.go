// SPDX-License-Identifier: Apache-2.0

package scratch

import (
	"encoding/hex"
	"errors"
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

// TestCall: functions get their arguments, results come back, and registers
// that are not preserved are noticed.
func TestCall(t *testing.T) {
	b, err := NewBuilder()
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, code    string
		value, broken uint64
		fn            Function
	}{
		{name: "first argument", code: "4889f8 c3", value: 1},
		{name: "sixth argument", code: "4c89c8 c3", value: 6},
		{name: "data", code: "48a1 4020000005000000 c3", value: Data}, // movabs Data+0x40, %rax
		{name: "fs", code: "64488b042528000000 c3", value: Data},
		{name: "rbx", code: "31db b802000000 c3", value: 2, broken: 3},
		{name: "r15", code: "4531ff b803000000 c3", value: 3, broken: 3},
		{name: "rsp", code: "59 50 51 b804000000 c3", value: 4, broken: 3},
		{name: "all preserved", code: "50 53 31db 5b 58 b805000000 c3", value: 5},
	}
	for i := range cases {
		if cases[i].fn, err = b.Add(code(t, cases[i].code)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := b.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, c := range cases {
		r, err := p.Call(c.fn, 3, [6]uint64{1, 2, 3, 4, 5, 6})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if r.Value != c.value || r.Broken != c.broken || r.NS == 0 {
			t.Errorf("%s: %+v, want value %#x, broken %d", c.name, r, c.value, c.broken)
		}
	}
}

// TestCrash: code that crashes is an error, and one that does not return is.
func TestCrash(t *testing.T) {
	for _, c := range []string{"0f0b", "31c0 8b00 c3"} {
		b, err := NewBuilder()
		if err != nil {
			t.Fatal(err)
		}
		f, err := b.Add(code(t, c))
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.Start()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Call(f, 1, [6]uint64{}); !errors.Is(err, ErrCrashed) || !strings.Contains(err.Error(), "signal") {
			t.Errorf("%s: %v, want a signal", c, err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
}

func TestTooMuchCode(t *testing.T) {
	b, err := NewBuilder()
	if err != nil {
		t.Fatal(err)
	}
	if at := b.ReturnAddress(); at <= textAddress || at >= b.Next().Address {
		t.Errorf("functions return to 0x%x", at)
	}
	if _, err := b.Add(make([]byte, textMost)); err == nil {
		t.Error("more code than fits is accepted")
	}
}
