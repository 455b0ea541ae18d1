// SPDX-License-Identifier: Apache-2.0

// Package structure finds the functions of BIRD's memory allocators in an
// x86-64 ELF file without symbols, by what their code does.
//
// The way there, one file each:
//
//   - image.go, relocation.go: the file as the dynamic linker leaves it in
//     memory, and what its calls into other libraries are named.
//   - program.go, noreturn.go, clobber.go: functions, from call frame
//     information; who calls whom; which never return; what registers they write.
//   - class.go: BIRD's resource classes (struct resclass), which hold pointers
//     to some functions and whose addresses others store.
//   - value.go, machine.go, instruction.go, vector.go: instructions as terms
//     over the arguments, so that register allocation, spilling and the order
//     of blocks do not matter.
//   - path.go, transfer.go: what a function does on each way through it, up to a
//     bound; behavior.go: the words in which that is asked for.
//   - flow.go: what is true at each of its instructions, on all ways.
//   - block.go, destruction.go, pool.go, page.go, slab.go, linpool.go,
//     multislab.go: BIRD's functions, each as a predicate on paths; candidate.go:
//     where to look.
//   - inline.go: copies that the compiler put into other functions.
//   - confirm.go: how many independent signals each finding has.
//
// A predicate that two functions fulfil finds neither, unless one is called so
// much more often that no doubt is left; then Confidence says so. What is not
// found is named with the reason. Only the layout that a predicate states is
// assumed: the offsets K and H that differ between BIRD 2 and 3 are read from
// the code.
package structure
