// SPDX-License-Identifier: Apache-2.0

package reachability

import "iter"

// Item is a piece of live memory that has a class of its own.
type Item struct {
	Address uint64
	// Bytes are what was asked for, rounded up to 8, with a resource's header; of
	// a block that only malloc knows, what it gave; of a linpool's chunk up to
	// its fill mark.
	Bytes uint64
	// Pool is the path of the pool that it is in, "" if it is in none.
	// ResourceClass is the class of the resource that it is or belongs to,
	// "malloc" or "page" if it is in no pool.
	Pool, ResourceClass string
	Class               Class
	Holder              Holder
}

// Items yields what is of one class, in the order of addresses.
func (r *Result) Items(c Class) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for n := range r.table.keys {
			i := uint32(n)
			if r.class(i) != c || !r.table.shape(i).counts() {
				continue
			}
			item := Item{Address: r.table.address(i), Bytes: r.table.shape(i).bytes, Class: c, Holder: r.holder(i, c)}
			item.Pool, item.ResourceClass = r.place(i)
			if !yield(item) {
				return
			}
		}
	}
}
