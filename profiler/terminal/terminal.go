// SPDX-License-Identifier: Apache-2.0

// Package terminal makes text of others fit for a terminal. Names of files,
// symbols and processes, what BIRD says, and errors that quote any of them may
// hold what a terminal would act upon (ECMA-48), or a line's end behind which
// another line of ours seems to begin.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line makes one line of a text: white space becomes a space, and '?' whatever
// else is not printed, such as control characters of either set (C0, C1), those
// that turn the direction of writing, and what is no UTF-8.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// JSON returns a writer for JSON, of which each Write has whole characters, as
// those of encoding/json have. That escapes control characters of ASCII only;
// here all others are too which are not printed. The value stays the same.
func JSON(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ out io.Writer }

func (w jsonWriter) Write(b []byte) (int, error) {
	stays := func(r rune) bool { return r == '\n' || unicode.IsPrint(r) }
	if !bytes.ContainsFunc(b, func(r rune) bool { return !stays(r) }) {
		return w.out.Write(b)
	}
	var escaped strings.Builder
	for _, r := range string(b) {
		switch {
		case stays(r):
			escaped.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&escaped, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&escaped, `\u%04x`, r)
		}
	}
	if _, err := io.WriteString(w.out, escaped.String()); err != nil {
		return 0, err
	}
	return len(b), nil
}
