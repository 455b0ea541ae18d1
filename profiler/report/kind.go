// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
)

// isKind says whether it is no call stack, but stands for memory of one pool,
// class and size that nobody saw allocated (attribution.Stack.Kind).
func (s *DocumentStack) isKind() bool {
	return s.Complete && len(s.Frames) > 0 && strings.HasPrefix(s.Frames[0].Function, "[")
}

// pieces says in how many what is: "12 blocks", "12 objects of 88 B".
func (s *DocumentStack) pieces() string {
	if s.isKind() {
		return Pieces(s.Objects, printable(strings.Trim(s.Frames[0].Function, "[]")))
	}
	return plural(s.Objects, "block")
}

// Pieces says how many pieces of a kind of memory (attribution.Stack.Kind) there
// are: "6,664 blocks of 4096 B", "1 page".
func Pieces(n int64, kind string) string {
	what, rest, _ := strings.Cut(kind, " ")
	return strings.TrimSpace(plural(n, strings.TrimSuffix(what, "s")) + " " + rest)
}

// kindWord is what a stack stands for that is none.
const kindWord = "kind"

// placesOf says by what stacks are listed.
func placesOf(all []DocumentStack) string {
	if placeWord(all) == kindWord {
		return "by pool, class and size"
	}
	return fmt.Sprintf("by %s, innermost function first", plural(len(all), placeWord(all)))
}

// placeWord is what a stack stands for.
func placeWord(all []DocumentStack) string {
	if slices.ContainsFunc(all, func(s DocumentStack) bool { return !s.isKind() }) {
		return "call stack"
	}
	return kindWord
}

// moreOf says how many more stacks there are.
func moreOf(n int, all []DocumentStack) string {
	if placeWord(all) == kindWord {
		return plural(n, "more kind") + " of memory"
	}
	return plural(n, "more call stack")
}
