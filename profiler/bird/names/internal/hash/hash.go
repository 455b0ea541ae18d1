// SPDX-License-Identifier: Apache-2.0

// Package hash is what the table of string literals and its maker agree on.
package hash

import (
	"hash/fnv"
	"io"
)

// shortest is the least length of a string that tells anything, bytes: shorter
// ones the compiler also makes, and BIRD may have elsewhere tomorrow.
const shortest = 6

// Telling says whether a string is long enough to tell where it is from.
func Telling(text string) bool { return len(text) >= shortest }

// Of returns the hash of a string: FNV-1a of 64 bits.
func Of(text string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, text)
	return h.Sum64()
}
