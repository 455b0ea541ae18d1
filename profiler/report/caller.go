// SPDX-License-Identifier: Apache-2.0

package report

import "leakprof/profiler/symbol"

// Caller is the innermost function of a stack that is no allocator: the one
// that wanted the memory. frames are innermost first; "" if there is none.
func Caller(frames []symbol.Frame) string {
	for _, f := range frames {
		if !isAllocator(f.Function) {
			return f.Function
		}
	}
	return ""
}
