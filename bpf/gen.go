// SPDX-License-Identifier: Apache-2.0

package bpf

// The types and constants named here are those of abi.h; the object is
// committed, and `make check-generated` compares it with a fresh one.
//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type cookie -type function -type stack_end -type counter -type unwind_row -type cfa_kind -type saved_kind -type unwind_rule -type unwind_areas -type block -type bucket -type entry -type entry_part -type stack -type stack_account -type stack_number -type slots_class -type acceptance -type slots_head -type linpool_object live live.bpf.c
//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" count count.bpf.c
//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type seen try try.bpf.c
