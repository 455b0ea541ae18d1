// SPDX-License-Identifier: Apache-2.0

package redact

// asNumbers gives AS numbers pseudonyms in the order in which they come. One of
// two bytes gets one of two bytes, so that communities stay valid.
type asNumbers struct {
	pseudonyms map[uint32]uint32
	count      [2]uint32 // of two bytes and of four
}

// Reserved AS numbers: for documentation (RFC 5398), and for private use (RFC
// 6996) when those run out.
const (
	documentation16, documentation16Size = 64496, 16
	private16, private16Size             = 64512, 1023
	documentation32, documentation32Size = 65536, 16
	private32, private32Size             = 4200000000, 94967295
)

// keptAS have a meaning of their own: RFC 7607, 4893, 7300 and 1997 (well-known
// communities).
func keptAS(n uint32) bool {
	return n == 0 || n == 23456 || n == 65535 || n == 1<<32-1
}

// of returns the pseudonym of an AS number. More than a thousand of two bytes
// share pseudonyms.
func (a *asNumbers) of(n uint32) uint32 {
	if keptAS(n) {
		return n
	}
	if p, known := a.pseudonyms[n]; known {
		return p
	}
	var p uint32
	if n < 1<<16 {
		p = nth(a.count[0], documentation16, documentation16Size, private16, private16Size)
		a.count[0]++
	} else {
		p = nth(a.count[1], documentation32, documentation32Size, private32, private32Size)
		a.count[1]++
	}
	a.pseudonyms[n] = p
	return p
}

func nth(i, first, firstSize, second, secondSize uint32) uint32 {
	if i < firstSize {
		return first + i
	}
	return second + (i-firstSize)%secondSize
}
