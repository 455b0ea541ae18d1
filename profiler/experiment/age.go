// SPDX-License-Identifier: Apache-2.0

package experiment

// exactAges is how many groups of a size there are before the next larger one:
// what was allocated in each of the last 64 cycles is told apart.
const exactAges = 32

// AgeGroup returns the cycles from first to last with which a cycle is summed up
// in cycle now, when it is told when memory was allocated: itself alone if it is
// young, more the older they are, so that there are never many groups. All cycles
// of a group are in the same one.
func AgeGroup(cycle, now int) (first, last int) {
	first, last = cycle, cycle
	for size := 2; cycle > 0; size *= 2 {
		begin := cycle - (cycle-1)%size
		end := begin + size - 1
		if now-end < exactAges*size {
			break
		}
		first, last = begin, end
	}
	return first, last
}

// ageMarks returns for each mark that under which its memory is summed up in
// cycle now: the index of the first phase of its group of cycles.
func (r *run) ageMarks(now int) []uint32 {
	marks := make([]uint32, len(r.phases))
	begins := make(map[int]uint32) // first phase of each cycle
	for i, p := range r.phases {
		n := uint32(i)
		if _, known := begins[p.Cycle]; !known {
			begins[p.Cycle] = n
		}
		if marks[i] = n; p.Cycle > 0 {
			if first, last := AgeGroup(p.Cycle, now); first < last {
				marks[i] = begins[first]
			}
		}
	}
	return marks
}

// ageMark is that of one mark, as of the current look.
func (r *run) ageMark(mark uint32) uint32 {
	// What was allocated before the experiment began anew was there at its
	// baseline.
	mark -= min(mark, r.firstMark)
	if int(mark) < len(r.ages) {
		return r.ages[mark]
	}
	return mark
}
