// SPDX-License-Identifier: Apache-2.0

package bpf

import "crypto/sha256"

// Object names one BPF object that is embedded in the program.
type Object struct {
	Name   string // of the file that bpf2go made
	SHA256 [sha256.Size]byte
}

// Objects returns the embedded BPF objects, so that a program can be told from
// another by what it loads into the kernel.
func Objects() []Object {
	return []Object{
		{Name: "count_bpfel.o", SHA256: sha256.Sum256(_CountBytes)},
		{Name: "live_bpfel.o", SHA256: sha256.Sum256(_LiveBytes)},
		{Name: "try_bpfel.o", SHA256: sha256.Sum256(_TryBytes)},
	}
}
