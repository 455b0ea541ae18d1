// SPDX-License-Identifier: Apache-2.0

package pagecache

// loop tells of a list that leads back into itself, as one may that changes
// while it is read, or whose owner wants to keep us busy: without it such a list
// would be followed as far as its count says. It remembers one address, of the
// first, second, fourth, ... page (Brent's algorithm): at most three times as
// many pages are read as there are.
type loop struct {
	mark, steps, power uint64
}

// closed says that a page came up again. Each page has to be told of, in order.
func (l *loop) closed(page uint64) bool {
	if page == l.mark {
		return true
	}
	if l.steps == l.power {
		l.mark, l.steps, l.power = page, 0, max(1, 2*l.power)
	}
	l.steps++
	return false
}
