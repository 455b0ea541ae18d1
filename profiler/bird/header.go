// SPDX-License-Identifier: Apache-2.0

package bird

import (
	"encoding/binary"

	"leakprof/profiler/target"
)

// Block is what a block's own header says of it.
type Block struct {
	// Class is the resource class, "" for a block that is no resource: a
	// large linpool chunk, a socket's buffer, a library's memory.
	Class string
	// Payload is what mb_alloc was asked for, bytes; only for MemoryClass.
	Payload uint64
}

// Classify reads the headers of blocks in the running process, at addresses
// sorted or not, sizes beside them. A block that cannot be read or is freed
// meanwhile comes out without a class, or with a stale one.
func (b *Bird) Classify(p *target.Process, addresses, sizes []uint64) ([]Block, error) {
	layout := b.Generation.Layout()
	length := int(layout.Size + 4)
	out := make([]Block, len(addresses))
	var read []uint64
	var index []int
	for i, a := range addresses {
		if sizes[i] >= uint64(length) {
			read, index = append(read, a), append(index, i)
		}
	}
	data, ok, err := p.ReadBatch(read, length)
	if err != nil {
		return nil, err
	}
	for i, at := range index {
		if !ok[i] {
			continue
		}
		header := data[i*length:]
		class, known := b.Classes[binary.LittleEndian.Uint64(header[layout.Class:])]
		if !known {
			continue
		}
		out[at].Class = class.Name
		if class.Name == MemoryClass {
			payload := uint64(binary.LittleEndian.Uint32(header[layout.Size:]))
			// A header is at least as long as up to its size field.
			if payload > sizes[at] {
				out[at].Class = ""
				continue
			}
			out[at].Payload = payload
		}
	}
	return out, nil
}
