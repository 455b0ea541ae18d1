// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "/usr/sbin/bird", "/usr/sbin/bird"},
		{"empty", "", ""},
		{"other scripts", "große Tabelle – 表", "große Tabelle – 表"},
		{"quotes and backslashes", `"a\b"`, `"a\b"`},
		{"escape sequence", "\x1b[2Jbird", "?[2Jbird"},
		{"title", "\x1b]0;owned\x07", "?]0;owned?"},
		{"white space", "a\nb\tc\r\nd", "a b c  d"},
		{"C0 and delete", "a\x00\b\x7f", "a???"},
		{"C1", "a\u009b31m", "a?31m"},
		{"C1, one byte", "a\x9b31m", "a?31m"},
		{"direction", "a\u202eb\u2066", "a?b?"},
		{"line separators", "a\u2028b\u0085", "a?b?"},
		{"no UTF-8", "a\xff\xc0", "a??"},
		{"invisible", "a\u200bb\U000e0041", "a?b?"},
	} {
		if got := Line(c.text); got != c.want {
			t.Errorf("%s: %q is %q, want %q", c.name, c.text, got, c.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "a\x1b[0m\n", "\x9b", "\u202e", "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Line(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is %q", s, got)
		}
		if Line(got) != got {
			t.Errorf("%q is %q, and that another", s, got)
		}
		if utf8.RuneCountInString(got) != utf8.RuneCountInString(s) {
			t.Errorf("%q is %q: of another length", s, got)
		}
	})
}

func TestJSON(t *testing.T) {
	values := map[string]string{"name": "\x1b[2J\x7f\u009b\u202e\U000e0041\n\"<ä表>"}
	var b strings.Builder
	e := json.NewEncoder(JSON(&b))
	e.SetIndent("", "  ")
	if err := e.Encode(values); err != nil {
		t.Fatal(err)
	}
	if at := strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
		t.Errorf("%q is not printed", b.String()[at:])
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got["name"] != values["name"] {
		t.Errorf("%s: %q, %v", b.String(), got, err)
	}
	if !strings.Contains(b.String(), "ä表") {
		t.Errorf("%s: what is printed is escaped", b.String())
	}
	if err := json.NewEncoder(JSON(full{})).Encode(values); !errors.Is(err, errFull) {
		t.Errorf("error %v, want %v", err, errFull)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
