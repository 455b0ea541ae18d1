// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// PeerType is the peer type of the per-peer header (RFC 7854 §4.2, RFC 9069 §4.1).
type PeerType uint8

// The peer types.
const (
	PeerGlobal PeerType = 0
	PeerRD     PeerType = 1
	PeerLocal  PeerType = 2
	PeerLocRIB PeerType = 3
)

func (t PeerType) String() string {
	switch t {
	case PeerGlobal:
		return "Global Instance Peer"
	case PeerRD:
		return "RD Instance Peer"
	case PeerLocal:
		return "Local Instance Peer"
	case PeerLocRIB:
		return "Loc-RIB Instance Peer"
	}
	return fmt.Sprintf("peer type %d", uint8(t))
}

// PeerFlags are the flags of the per-peer header. Their meaning depends on the peer type.
type PeerFlags uint8

// The flags: V, L and A of RFC 7854 §4.2, O of RFC 8671 §4, and F of RFC 9069 §4.2, which
// is the only one of a Loc-RIB peer and has the bit of V.
const (
	FlagIPv6       PeerFlags = 0x80
	FlagPostPolicy PeerFlags = 0x40
	Flag2OctetAS   PeerFlags = 0x20
	FlagAdjRIBOut  PeerFlags = 0x10
	FlagFiltered   PeerFlags = 0x80
)

// RIB is the part of the monitored router whose routes a message carries.
type RIB uint8

// The parts, with the RFC that lets BMP monitor them.
const (
	AdjRIBInPre   RIB = iota // RFC 7854
	AdjRIBInPost             // RFC 7854
	AdjRIBOutPre             // RFC 8671
	AdjRIBOutPost            // RFC 8671
	LocRIB                   // RFC 9069

	numRIBs = 5
)

func (r RIB) String() string {
	return [...]string{
		"Adj-RIB-In pre-policy", "Adj-RIB-In post-policy",
		"Adj-RIB-Out pre-policy", "Adj-RIB-Out post-policy", "Loc-RIB",
	}[r]
}

// Peer names the other end of a monitored session, or a Loc-RIB instance. Two Peers are
// the same session if type, distinguisher and address are; the AS number and identifier
// may be missing while the session is down.
type Peer struct {
	Type          PeerType
	Distinguisher uint64     // 0, or the VRF's route distinguisher
	Addr          netip.Addr // unspecified for a Loc-RIB
	AS            uint32
	BGPID         netip.Addr
}

func (p Peer) String() string {
	s := fmt.Sprintf("%v AS%d", p.Addr, p.AS)
	if !p.IsBGP() {
		s = fmt.Sprintf("Loc-RIB of %v", p.BGPID)
	}
	if p.Distinguisher != 0 {
		s += " in " + p.DistinguisherText()
	}
	return s
}

// IsBGP says whether there is a BGP session behind the peer. A Loc-RIB has none: it comes
// up and goes down with the monitoring alone (RFC 9069 §5.3).
func (p Peer) IsBGP() bool { return p.Type != PeerLocRIB }

// DistinguisherText is the peer distinguisher as route distinguishers are written
// (RFC 4364 §4.2): 65000:1, 192.0.2.1:1. That of a Local Instance Peer is no route
// distinguisher but any number, and so is one of an unknown kind; they are hexadecimal.
func (p Peer) DistinguisherText() string {
	d := p.Distinguisher
	kind := d >> 48
	switch {
	case p.Type == PeerLocal || kind > 2:
		return fmt.Sprintf("0x%016x", d)
	case kind == 0:
		return fmt.Sprintf("%d:%d", d>>32&0xffff, uint32(d))
	case kind == 1:
		b := binary.BigEndian.AppendUint32(nil, uint32(d>>16))
		return fmt.Sprintf("%v:%d", netip.AddrFrom4([4]byte(b)), uint16(d))
	}
	return fmt.Sprintf("%d:%d", uint32(d>>16), uint16(d))
}

// PeerHeader is the per-peer header (RFC 7854 §4.2).
type PeerHeader struct {
	Peer  Peer
	Flags PeerFlags
	Time  time.Time // of the event in the router; the zero time if it does not say
}

// ParsePeerHeader decodes the per-peer header at the start of a message's body.
func ParsePeerHeader(body []byte) (PeerHeader, error) {
	if len(body) < peerHeaderLen {
		return PeerHeader{}, fmt.Errorf("parse per-peer header: %d bytes, need %d", len(body), peerHeaderLen)
	}
	h := PeerHeader{
		Peer: Peer{
			Type:          PeerType(body[0]),
			Distinguisher: binary.BigEndian.Uint64(body[2:]),
			AS:            binary.BigEndian.Uint32(body[26:]),
			BGPID:         netip.AddrFrom4([4]byte(body[30:34])),
		},
		Flags: PeerFlags(body[1]),
	}
	h.Peer.Addr = address(body[10:26], h.ipv6())
	sec, usec := binary.BigEndian.Uint32(body[34:]), binary.BigEndian.Uint32(body[38:])
	if sec != 0 || usec != 0 {
		h.Time = time.Unix(int64(sec), int64(usec)*1000).UTC()
	}
	return h, nil
}

// ipv6 says whether the peer's address, and its local one, are IPv6 addresses. The bit
// means something else for a Loc-RIB, which has no address.
func (h PeerHeader) ipv6() bool { return h.Peer.Type != PeerLocRIB && h.Flags&FlagIPv6 != 0 }

// address reads a 16-byte address field, in which an IPv4 address comes last.
func address(b []byte, ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.AddrFrom16([16]byte(b))
	}
	return netip.AddrFrom4([4]byte(b[12:16]))
}

// FlagNames are the letters of the flags that are set: V, L, A and O, or F of a Loc-RIB.
func (h PeerHeader) FlagNames() []string {
	if !h.Peer.IsBGP() {
		if h.Flags&FlagFiltered != 0 {
			return []string{"F"}
		}
		return nil
	}
	var names []string
	for _, f := range []struct {
		bit  PeerFlags
		name string
	}{{FlagIPv6, "V"}, {FlagPostPolicy, "L"}, {Flag2OctetAS, "A"}, {FlagAdjRIBOut, "O"}} {
		if h.Flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// RIB says whose routes the message carries. It means something in Route Monitoring and
// Route Mirroring only: a Peer Up or Down is about all RIBs of the peer (RFC 8671 §6.3),
// and a statistic has its RIB in its type.
func (h PeerHeader) RIB() RIB { return ribOf(byte(h.Peer.Type), byte(h.Flags)) }

func ribOf(typ, flags byte) RIB {
	if PeerType(typ) == PeerLocRIB {
		return LocRIB
	}
	return RIB((flags>>4&1)<<1 | flags>>6&1) // O, then L
}

// peerKey is what makes a peer within a connection: type, address family, distinguisher
// and address.
type peerKey [26]byte

// keyOf takes the key from a per-peer header.
func keyOf(body []byte) (k peerKey) {
	copy(k[:], body[:26])
	k[1] &= byte(FlagIPv6)
	if PeerType(k[0]) == PeerLocRIB {
		k[1] = 0
	}
	return k
}
