// SPDX-License-Identifier: Apache-2.0

package attribution

// Summary is a heap as reports list it, by allocator and pool, without stacks,
// marks and holders: a hundredth of the memory. Its totals are the same; it
// cannot be compared with others.
func (h *Heap) Summary() *Heap {
	type key struct{ allocator, pool string }
	index := make(map[key]int)
	s := *h
	s.Modules, s.Stacks, s.Samples = nil, nil, nil
	for i := range h.Samples {
		from := &h.Samples[i]
		k := key{from.Allocator, from.Pool}
		n, known := index[k]
		if !known {
			n = len(s.Samples)
			index[k] = n
			s.Samples = append(s.Samples, Sample{Allocator: from.Allocator, Pool: from.Pool})
		}
		to := &s.Samples[n]
		to.Objects += from.Objects
		to.Bytes += from.Bytes
		to.Empty += from.Empty
		to.Slack += from.Slack
	}
	return &s
}
