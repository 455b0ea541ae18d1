// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"strings"

	"leakprof/profiler/bird"
)

// Names of pools and classes that mean something here.
const (
	protocolsPool = "Protocols"
	bfdProtocol   = "BFD"
)

// instances names the pools of protocols after their instances. BIRD 3 puts
// the name into the pool's name. BIRD 2 gives all pools of a protocol the
// protocol's name; there the instances themselves are looked for: struct proto
// (nest/protocol.h), a block in the pool "Protocols" or one directly in it. It
// is known by pointing to a struct protocol, a variable of the program, and to
// its configuration, which points back to both.
func (w *walker) instances() error {
	protocols := w.t.Root.Child(protocolsPool)
	if protocols == nil {
		return nil
	}
	pools := make(map[uint64]*Node)
	for _, n := range protocols.Children {
		pools[n.Address] = n
	}
	for _, n := range append([]*Node{protocols}, protocols.Children...) {
		blocks := w.t.blocks[n.first:n.last]
		for _, b := range blocks[:min(len(blocks), maxInstances)] {
			if w.t.class[b.class] != bird.MemoryClass || b.bytes < protoLength {
				continue
			}
			name, protocol, pool := w.instance(b.addr+w.l.MblockHeader, pools)
			if pool != nil && pool.Protocol == "" {
				pool.Name, pool.Protocol = name, protocol
			}
		}
	}
	nameRest(protocols.Children)
	return nil
}

const (
	// maxInstances bounds how many of a pool's blocks are looked at.
	maxInstances = 4096
	// protoLength is how much of struct proto is looked at: up to its pools.
	protoLength = 128
)

// instance returns the name and the protocol of the instance at addr, and that
// of the pools that is its own, nil if it is no instance or is down.
func (w *walker) instance(addr uint64, pools map[uint64]*Node) (name, protocol string, pool *Node) {
	buf := make(words, protoLength)
	if w.read(addr, buf) != nil {
		return "", "", nil
	}
	// A list node is first: two words, or three (lib/tlists.h).
	at := w.l.header - 8
	kind := buf.u64(at)
	if !w.variable(kind) {
		return "", "", nil
	}
	// struct protocol: a node, the protocol's name.
	label, err := w.word(kind + 16)
	if err != nil {
		return "", "", nil
	}
	if protocol, err = w.text(label, maxName); err != nil || protocol == "" {
		return "", "", nil
	}
	for i := at + 8; i+8 <= protoLength; i += 8 {
		v := buf.u64(i)
		if n := pools[v]; n != nil && pool == nil {
			pool = n
		}
		if name == "" {
			name = w.configured(v, kind, addr)
		}
	}
	if name == "" {
		return "", "", nil
	}
	return name, protocol, pool
}

// configured returns the name in the struct proto_config at addr, "" if it is
// none of the instance and its protocol: a node, the global configuration, the
// protocol, the instance, a parent, the name.
func (w *walker) configured(addr, protocol, instance uint64) string {
	buf := make(words, 56)
	if addr == 0 || addr%8 != 0 || w.read(addr, buf) != nil || buf.u64(24) != protocol || buf.u64(32) != instance {
		return ""
	}
	name, err := w.text(buf.u64(48), maxName)
	if err != nil {
		return ""
	}
	return name
}

// nameRest names the pools of protocols for which no instance was found: by
// BIRD 3's own names, and by numbers where several have the same.
func nameRest(pools []*Node) {
	same := make(map[string]int)
	for _, n := range pools {
		if n.Protocol != "" {
			continue
		}
		if name, ok := strings.CutPrefix(n.PoolName, "Protocol "); ok {
			n.Name = strings.TrimSuffix(name, " (persistent)")
		} else {
			same[n.PoolName]++
		}
	}
	number := make(map[string]int)
	for _, n := range pools {
		if n.Protocol == "" && same[n.PoolName] > 1 {
			number[n.PoolName]++
			n.Name = fmt.Sprintf("%s #%d", n.PoolName, number[n.PoolName])
		}
	}
}

// runsBFD says whether a protocol BFD has memory.
func (t *Tree) runsBFD() bool {
	for _, n := range t.nodes {
		if n.Protocol == bfdProtocol || n.PoolName == bfdProtocol {
			return true
		}
	}
	return false
}
