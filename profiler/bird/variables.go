// SPDX-License-Identifier: Apache-2.0

package bird

import (
	"fmt"

	"leakprof/profiler/target"
)

// Variables reads the program's own variables, .bss included, and calls f with
// each of its writable segments: where it begins in the process, and what is in
// it.
func (b *Bird) Variables(p *target.Process, f func(start uint64, data []byte)) error {
	for _, s := range b.data {
		data, err := readArea(p, target.Mapping{Start: s.start, End: s.end})
		if err != nil {
			return fmt.Errorf("read variables: %w", err)
		}
		f(s.start, data)
	}
	return nil
}
