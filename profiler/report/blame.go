// SPDX-License-Identifier: Apache-2.0

package report

import "strings"

// allocators are functions that hand out memory on behalf of their caller: the
// C library's, and BIRD's own (lib/xmalloc.c, lib/resource.c, lib/mempool.c,
// lib/slab.c, lib/mslab.c, lib/islab.c, sysdep/unix/alloc.c; BIRD 2.0 to 3.4). Profiles keep them; the
// printed report begins with the function that called them.
var allocators = map[string]bool{
	"malloc": true, "calloc": true, "realloc": true, "reallocarray": true,
	"posix_memalign": true, "aligned_alloc": true, "memalign": true, "valloc": true, "pvalloc": true,
	"__libc_malloc": true, "__libc_calloc": true, "__libc_realloc": true, "__libc_memalign": true,
	"strdup": true, "strndup": true, "__strdup": true, "__strndup": true,

	"xmalloc": true, "xrealloc": true, "bird_xmalloc": true, "bird_xrealloc": true, "xstrdup": true,
	"mb_alloc": true, "mb_allocz": true, "mb_realloc": true, "mb_strdup": true, "mb_sprintf": true, "mb_vsprintf": true,
	"ralloc": true, "rp_new": true, "rp_newf": true, "rp_vnewf": true,
	"lp_alloc": true, "lp_allocu": true, "lp_allocz": true, "lp_alloc_slow": true, "lp_strdup": true, "lp_new": true, "lp_save": true,
	"sl_alloc": true, "sl_allocz": true, "sth_alloc": true, "sth_allocz": true, "alloc_page": true,
	"msl_alloc": true, "msl_allocz": true, "msl_alloc_from_page": true,
	"isl_alloc": true, "isl_allocz": true, "isl_alloc_obj_page": true, "isl_alloc_index_page": true,
}

func isAllocator(function string) bool {
	// A clone made by the compiler, "mb_alloc.constprop.0", is the same, and
	// so is a stub of the procedure linkage table, "malloc@plt".
	name, _, _ := strings.Cut(function, "@")
	name, _, _ = strings.Cut(name, ".")
	return allocators[name]
}

// splitAllocator parts the allocators at a stack's inner end, outermost
// first, from the function that asked them for memory and its callers. A
// stack of allocators alone is not parted.
func splitAllocator(frames []DocumentFrame) (through []string, rest []DocumentFrame) {
	n := 0
	for n < len(frames) && isAllocator(frames[n].Function) {
		n++
	}
	if n == len(frames) {
		return nil, frames
	}
	for i := n - 1; i >= 0; i-- {
		through = append(through, frames[i].Function)
	}
	return through, frames[n:]
}
