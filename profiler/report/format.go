// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"leakprof/profiler/terminal"
)

// amount is Size of a number that BIRD has rounded.
func amount(bytes float64) string {
	return Size(int64(math.Round(min(max(bytes, -math.MaxInt64/2), math.MaxInt64/2))))
}

// number formats a count with a comma between thousands.
func number[N int | int64 | uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	if n > 0 {
		s = strconv.FormatUint(uint64(n), 10)
	}
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	b.WriteString(s[:len(s)-len(digits)])
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// plural is "1 block" or "2 blocks".
func plural[N int | int64 | uint64](n N, what string) string {
	if n != 1 {
		what += "s"
	}
	return number(n) + " " + what
}

// percent is exact at its ends: 0% and 100% mean none and all.
func percent(part, whole float64) string {
	switch {
	case part <= 0 || whole <= 0:
		return "0%"
	case part >= whole:
		return "100%"
	case part*10_000 < whole:
		return "<0.01%"
	}
	return strconv.FormatFloat(math.Floor(10_000*part/whole)/100, 'f', -1, 64) + "%"
}

// printable makes text of the target (names in its ELF files, replies of
// BIRD) fit for a terminal, and for a page.
func printable(s string) string { return terminal.Line(s) }

// shortenLeft keeps the end of a text, where a path has what matters.
func shortenLeft(s string, width int) string {
	r := []rune(s)
	if len(r) <= width || width < 2 {
		return s
	}
	return "…" + string(r[len(r)-width+1:])
}

// shorten keeps the begin of a text.
func shorten(s string, width int) string {
	r := []rune(s)
	if len(r) <= width || width < 2 {
		return s
	}
	return string(r[:width-1]) + "…"
}

// wrap breaks a text at spaces. Its first line begins at column indent, where
// the caller has it; the others are indented to there.
func wrap(s string, width, indent int) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(s) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+length > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}

// shellQuote makes a path one word of a shell's command line.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("/._-+:=@%", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
