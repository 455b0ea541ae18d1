// SPDX-License-Identifier: Apache-2.0

package bpf

// BlockBytes is about how much kernel memory the live set takes for each block
// that the target holds, bytes.
const BlockBytes = blockEntry

// Multi says whether probes are placed by uprobe_multi (Linux 6.10 and later),
// or else by one perf event each.
func (p *Programs) Multi() bool { return p.multi }
