// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strconv"
	"strings"
)

// macros are what preprocessor macros contribute to string literals.
type macros struct {
	// text are macros that stand for a string literal, as BIRD's L_ERR.
	text map[string]string
	// around are macros that put string literals around their argument.
	around map[string][]template
}

type template struct{ before, behind string }

// token is a C token: a string literal, an identifier, or one other character.
type token struct {
	kind byte // 's', 'i', or the character
	text string
}

// tokens splits C source. Comments and preprocessor lines are left out, of
// "#define" lines what define returns true for is kept out as well.
func tokens(source string, define func(line string)) (out []token) {
	lineStart := true
	for i := 0; i < len(source); {
		switch c := source[i]; {
		case c == '\n':
			lineStart = true
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			i++
		case strings.HasPrefix(source[i:], "//"):
			i = indexFrom(source, i, "\n")
		case strings.HasPrefix(source[i:], "/*"):
			i = indexFrom(source, i+2, "*/") + 2
		case c == '#' && lineStart:
			end := lineEnd(source, i)
			if define != nil {
				define(strings.ReplaceAll(source[i:end], "\\\n", " "))
			}
			i = end
		case c == '"':
			end := quoted(source, i)
			out = append(out, token{'s', unescape(source[i+1 : max(i+1, end-1)])})
			i, lineStart = end, false
		case c == '\'':
			i, lineStart = quoted(source, i), false
			out = append(out, token{'\'', ""})
		case isWord(c):
			start := i
			for i < len(source) && isWord(source[i]) {
				i++
			}
			out = append(out, token{'i', source[start:i]})
			lineStart = false
		default:
			out = append(out, token{c, ""})
			i++
			lineStart = false
		}
	}
	return out
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func indexFrom(s string, from int, what string) int {
	if from < len(s) {
		if n := strings.Index(s[from:], what); n >= 0 {
			return from + n
		}
	}
	return len(s)
}

// lineEnd returns the end of a logical line, without its newline.
func lineEnd(s string, i int) int {
	for {
		i = indexFrom(s, i, "\n")
		if i == len(s) || s[i-1] != '\\' {
			return i
		}
		i++
	}
}

// quoted returns the index behind the literal that begins at i.
func quoted(s string, i int) int {
	quote := s[i]
	for i++; i < len(s) && s[i] != quote && s[i] != '\n'; i++ {
		if s[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(s))
}

var octal = regexp.MustCompile(`^[0-7]{1,3}`)

// unescape returns the bytes of a literal's inside.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if digits := octal.FindString(s[i:]); digits != "" {
			n, _ := strconv.ParseUint(digits, 8, 16)
			b.WriteByte(byte(n))
			i += len(digits) - 1
			continue
		}
		if s[i] == 'x' {
			end := i + 1
			for end < len(s) && end < i+3 && strings.IndexByte("0123456789abcdefABCDEF", s[end]) >= 0 {
				end++
			}
			n, _ := strconv.ParseUint(s[i+1:end], 16, 16)
			b.WriteByte(byte(n))
			i = end - 1
			continue
		}
		if at := strings.IndexByte("abfnrtv", s[i]); at >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v"[at])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

var defineLine = regexp.MustCompile(`^#\s*define\s+(\w+)(\(([^)]*)\))?\s*(.*)`)

// add takes macros from a file.
func (m *macros) add(source string) {
	tokens(source, func(line string) {
		d := defineLine.FindStringSubmatch(line)
		if d == nil {
			return
		}
		body := m.join(tokens(d[4], nil))
		if d[2] == "" {
			if len(body) == 1 && body[0].kind == 's' {
				m.text[d[1]] = body[0].text
			}
			return
		}
		parameters := make(map[string]bool)
		for _, p := range strings.Split(d[3], ",") {
			parameters[strings.TrimSuffix(strings.TrimSpace(p), "...")] = true
		}
		for i, t := range body {
			if t.kind != 'i' || !parameters[t.text] {
				continue
			}
			var around template
			if i > 0 && body[i-1].kind == 's' {
				around.before = body[i-1].text
			}
			if i+1 < len(body) && body[i+1].kind == 's' {
				around.behind = body[i+1].text
			}
			if around != (template{}) {
				m.around[d[1]] = append(m.around[d[1]], around)
			}
		}
	})
}

// join makes one literal of adjacent ones and of macros that stand for them.
func (m *macros) join(in []token) (out []token) {
	for _, t := range in {
		if text, ok := m.text[t.text]; ok && t.kind == 'i' {
			t = token{'s', text}
		}
		if n := len(out); n > 0 && t.kind == 's' && out[n-1].kind == 's' {
			out[n-1].text += t.text
			continue
		}
		out = append(out, t)
	}
	return out
}

// literals returns the strings that a file's code may refer to: each literal by
// itself and as macros around it complete it.
func (m *macros) literals(source string) []string {
	found := make(map[string]bool)
	var calls []string // the macro or function whose parentheses are open
	in := m.join(tokens(source, func(line string) {
		if d := defineLine.FindStringSubmatch(line); d != nil {
			for _, t := range m.join(tokens(d[4], nil)) {
				if t.kind == 's' {
					found[t.text] = true
				}
			}
		}
	}))
	for i, t := range in {
		switch t.kind {
		case '(':
			name := ""
			if i > 0 && in[i-1].kind == 'i' {
				name = in[i-1].text
			}
			calls = append(calls, name)
		case ')':
			calls = calls[:max(0, len(calls)-1)]
		case 's':
			found[t.text] = true
			for _, name := range calls {
				for _, around := range m.around[name] {
					found[around.before+t.text+around.behind] = true
				}
			}
		}
	}
	out := make([]string, 0, len(found))
	for s := range found {
		out = append(out, s)
	}
	return out
}
