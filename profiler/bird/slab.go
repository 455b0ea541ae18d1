// SPDX-License-Identifier: Apache-2.0

package bird

// ObjectLayout says where a resource that hands out objects of one size, each
// at its place in a page, has what: offsets in bytes.
type ObjectLayout struct {
	Class      uint64 // address of its class; 0: this BIRD has no such resource
	ClassAt    uint32 // class pointer
	SizeAt     uint32 // distance from object to object (32 bits)
	FirstAt    uint32 // where the first object begins in a page
	FirstBytes uint32 // width of that, bytes
}

// Slab is the layout of slabs (lib/slab.c): obj_size and head_size follow the
// header in every version with an allocator of pages, 2.0.11 to 3.4.
func (b *Bird) Slab() ObjectLayout {
	at := uint32(b.Generation.Layout().Class)
	return b.objects("Slab", ObjectLayout{ClassAt: at, SizeAt: at + 8, FirstAt: at + 12, FirstBytes: 4})
}

// Mslab is the layout of the slabs of many threads (lib/mslab.c, 3.3 and
// later): data_size, obj_size and head_size follow the header.
func (b *Bird) Mslab() ObjectLayout {
	return b.objects("mslab", ObjectLayout{ClassAt: 24, SizeAt: 36, FirstAt: 40, FirstBytes: 4})
}

// Islab is the layout of slabs that number their objects (lib/islab.c, 3.3 and
// later): obj_size is the second number behind the header, obj_offset the last
// of those before the counts.
func (b *Bird) Islab() ObjectLayout {
	return b.objects("Islab", ObjectLayout{ClassAt: 24, SizeAt: 36, FirstAt: 54, FirstBytes: 2})
}

// objects completes a layout by its class; there is none if not exactly one
// class has the name.
func (b *Bird) objects(class string, l ObjectLayout) ObjectLayout {
	for _, c := range b.Classes {
		if c.Name != class {
			continue
		}
		if l.Class != 0 {
			return ObjectLayout{}
		}
		l.Class = c.Address
	}
	if l.Class == 0 {
		return ObjectLayout{}
	}
	return l
}
