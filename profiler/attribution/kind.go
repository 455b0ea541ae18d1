// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"fmt"

	"leakprof/bpf"
	"leakprof/profiler/symbol"
)

// sizedKind is what memory without a stack has in common instead of one.
type sizedKind struct {
	kindName
	size uint64 // bytes each
}

// kindKeys is where the keys of kinds begin: numbers of stacks are below.
const kindKeys = 1 << 32

// isNoStack says whether a stack's number is of none.
func isNoStack(stack uint32) bool {
	return stack == bpf.StackNone || stack == bpf.StackBefore
}

// kindStack stands for the call stack of memory that nobody saw allocated, one
// for each pool, allocator, class and size, so that what grows can be told by
// these. It has two frames that say what the memory is: the pool is a label.
func (a *Attributor) kindStack(k kindName, size uint64) *Stack {
	key := sizedKind{k, size}
	st := a.kinds[key]
	if st == nil {
		st = &Stack{Key: kindKeys + uint64(len(a.kinds)), Kind: k.words(size), Size: size, Complete: true}
		for _, words := range []string{st.Kind, k.class} {
			if words != "" {
				st.Locations = append(st.Locations, Location{Module: -1, Lines: []symbol.Frame{{Function: "[" + words + "]"}}})
			}
		}
		a.kinds[key] = st
	}
	return st
}

// words say what so long pieces of memory are.
func (k kindName) words(size uint64) string {
	switch k.allocator {
	case AllocatorPage:
		return "pages"
	case AllocatorSlab:
		return fmt.Sprintf("objects of %d B", size)
	case AllocatorLinpool:
		return fmt.Sprintf("chunks of %d B", size)
	}
	return fmt.Sprintf("blocks of %d B", size)
}
