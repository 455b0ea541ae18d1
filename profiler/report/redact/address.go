// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"fmt"
	"net/netip"
	"slices"
)

// Networks that are for documentation, and those that are used when they run
// out: RFC 5737, RFC 2544 (benchmarks) and the reserved 240.0.0.0/4 for IPv4;
// RFC 3849 and RFC 9637 for IPv6.
var (
	documentation4 = []netip.Addr{
		netip.AddrFrom4([4]byte{192, 0, 2}), netip.AddrFrom4([4]byte{198, 51, 100}), netip.AddrFrom4([4]byte{203, 0, 113}),
	}
	benchmark4 = netip.MustParsePrefix("198.18.0.0/15")
	reserved4  = netip.MustParsePrefix("240.0.0.0/4")
	short6     = netip.MustParsePrefix("2001:db8::/32")
	long6      = netip.MustParsePrefix("3fff::/20")
)

// Bits of the networks that are replaced as a whole. What lies below keeps its
// structure: two addresses have as many bits in common as before.
const (
	network4 = 24
	network6 = 48
	local6   = 64 // of link-local addresses, whose network stays
)

// kept networks say nothing of whose they are.
var kept = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/24"),
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("ff02::/112"),
}

func isKept(a netip.Addr) bool {
	a = a.Unmap()
	return slices.ContainsFunc(kept, func(k netip.Prefix) bool { return k.Contains(a) })
}

// addresses gives every network a pseudonym in the order in which they come.
type addresses struct {
	networks map[netip.Prefix]netip.Addr
	count    [2]int // of IPv4 and IPv6 networks
	// flips says, by what comes before a bit, whether it is turned: the first
	// address of a network gets zeros and a one at the end.
	flips map[netip.Prefix]byte
	macs  map[[6]byte]int
}

// prefix returns the pseudonym of a prefix; its length stays. A prefix shorter
// than a network is that of the network it begins with.
func (a *addresses) prefix(p netip.Prefix) netip.Prefix {
	addr := p.Addr().WithZone("")
	if addr.Is4In6() && p.Bits() >= 96 {
		inner := a.prefix(netip.PrefixFrom(addr.Unmap(), p.Bits()-96))
		return netip.PrefixFrom(netip.AddrFrom16(inner.Addr().As16()), p.Bits())
	}
	if isKept(addr) {
		return netip.PrefixFrom(addr, p.Bits())
	}
	// An interface's address with the length of its network is the address.
	end := p.Bits()
	if p.Masked().Addr() != addr {
		end = addr.BitLen()
	}
	size := network6
	switch {
	case addr.Is4():
		size = network4
	case addr.IsLinkLocalUnicast():
		size = local6
	}
	network, _ := addr.Prefix(size)
	out := a.network(network).AsSlice()
	for bit := size; bit < end; bit++ {
		before, _ := addr.Prefix(bit)
		was := bitOf(addr, bit)
		flip, known := a.flips[before]
		if !known {
			flip = was
			if bit == addr.BitLen()-1 {
				flip ^= 1
			}
			a.flips[before] = flip
		}
		out[bit/8] |= (was ^ flip) << (7 - bit%8)
	}
	addr, _ = netip.AddrFromSlice(out)
	return netip.PrefixFrom(addr, p.Bits())
}

// network returns the first address of a network's pseudonym.
func (a *addresses) network(n netip.Prefix) netip.Addr {
	if n.Addr().IsLinkLocalUnicast() && n.Addr().Is6() {
		return n.Addr()
	}
	if base, ok := a.networks[n]; ok {
		return base
	}
	var base netip.Addr
	if n.Addr().Is4() {
		base = nth4(a.count[0])
		a.count[0]++
	} else {
		base = nth6(a.count[1])
		a.count[1]++
	}
	a.networks[n] = base
	return base
}

func nth4(i int) netip.Addr {
	if i < len(documentation4) {
		return documentation4[i]
	}
	i -= len(documentation4)
	size := 1 << (network4 - benchmark4.Bits())
	if i < size {
		return add(benchmark4, network4, i)
	}
	i -= size
	// More than a million networks share pseudonyms.
	return add(reserved4, network4, i%(1<<(network4-reserved4.Bits())))
}

func nth6(i int) netip.Addr {
	size := 1 << (network6 - short6.Bits())
	if i < size {
		return add(short6, network6, i)
	}
	return add(long6, network6, (i-size)%(1<<(network6-long6.Bits())))
}

// add returns the network numbered i of so many bits in a larger one.
func add(p netip.Prefix, bits, i int) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := bits - 1; i > 0; bit, i = bit-1, i>>1 {
		b[bit/8] |= byte(i&1) << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// bitOf returns a bit of an address, the first is 0.
func bitOf(a netip.Addr, bit int) byte {
	b := a.As16()
	if a.Is4() {
		bit += 96
	}
	return b[bit/8] >> (7 - bit%8) & 1
}

// mac returns the pseudonym of an Ethernet address: those of RFC 7042 (00:00:5e:00:53),
// and then locally administered ones.
func (a *addresses) mac(m [6]byte) string {
	i, known := a.macs[m]
	if !known {
		i = len(a.macs)
		a.macs[m] = i
	}
	if i < 256 {
		return fmt.Sprintf("00:00:5e:00:53:%02x", i)
	}
	return fmt.Sprintf("02:00:00:%02x:%02x:%02x", byte(i>>16), byte(i>>8), byte(i))
}
