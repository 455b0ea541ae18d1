// SPDX-License-Identifier: Apache-2.0

package structure

import "slices"

// using keeps the functions of at most so many bytes that use memory at all the
// offsets from some register. It only saves time: the predicates look closely.
func (f *finder) using(candidates []uint64, most uint64, offsets ...int64) (kept []uint64) {
	for _, c := range candidates {
		ok := f.length[c] <= most
		for _, o := range offsets {
			ok = ok && f.fields[c]>>(uint64(o)/8)&1 != 0
		}
		if ok {
			kept = append(kept, c)
		}
	}
	return kept
}

// both keeps the functions that are in both lists.
func both(a, b []uint64) (kept []uint64) {
	for _, x := range a {
		if slices.Contains(b, x) {
			kept = append(kept, x)
		}
	}
	return kept
}

func unique(list []uint64) []uint64 {
	seen := make(map[uint64]bool)
	out := list[:0:0]
	for _, x := range list {
		if !seen[x] {
			seen[x] = true
			out = append(out, x)
		}
	}
	return out
}
