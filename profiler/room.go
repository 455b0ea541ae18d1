// SPDX-License-Identifier: Apache-2.0

package profiler

// Room is how much memory there is for the live set, in bytes.
type Room struct {
	// Available is what the machine has left, or our control group if that has a
	// limit and less.
	Available uint64
	Group     bool // Available is the control group's
	// Budget is what the live set takes at most unless the user says otherwise.
	Budget uint64
	// Short says that less is left than is kept for others, so that the live set
	// would take nothing.
	Short bool
}

// MemoryRoom looks how much memory there is now.
func MemoryRoom() Room {
	machine, group := machineMemory(), groupMemory()
	r := Room{Available: machine.available, Budget: DefaultMaxMemory(), Short: shortOfMemory(machine, false) || shortOfMemory(group, false)}
	if group.total > 0 && group.available < r.Available {
		r.Available, r.Group = group.available, true
	}
	return r
}
