// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	asTrans           = 23456 // RFC 6793 §2: stands in a 2-octet field for a larger number
	optCapabilities   = 2     // RFC 5492 §4
	optExtendedLength = 255   // RFC 9072 §2

	capFourOctetAS = 65
)

// Capability is one capability of an OPEN message (RFC 5492 §4).
type Capability struct {
	Code  uint8
	Value []byte
}

// Open is the content of an OPEN message (RFC 4271 §4.2).
type Open struct {
	Version      uint8
	ASN          uint32 // from the 4-octet AS capability (RFC 6793) where there is one
	FourOctetAS  bool   // the capability is there
	HoldTime     time.Duration
	RouterID     netip.Addr
	Capabilities []Capability
}

// ParseOpen decodes an OPEN's body, the bytes after the 19-byte header. It knows both
// forms of the optional parameters' length (RFC 4271 §4.2, RFC 9072). Capability values
// alias body.
func ParseOpen(body []byte) (Open, error) {
	if len(body) < 10 {
		return Open{}, fmt.Errorf("parse OPEN: %d bytes, need 10", len(body))
	}
	o := Open{
		Version:  body[0],
		ASN:      uint32(binary.BigEndian.Uint16(body[1:])),
		HoldTime: time.Duration(binary.BigEndian.Uint16(body[3:])) * time.Second,
		RouterID: netip.AddrFrom4([4]byte(body[5:9])),
	}
	params, length, lengthSize := body[10:], int(body[9]), 1
	if length != 0 && len(params) >= 3 && params[0] == optExtendedLength {
		length, lengthSize = int(binary.BigEndian.Uint16(params[1:])), 2
		params = params[3:]
	}
	if length != len(params) {
		return Open{}, fmt.Errorf("parse OPEN: optional parameters of %d bytes, %d there", length, len(params))
	}
	for len(params) > 0 {
		if len(params) < 1+lengthSize {
			return Open{}, fmt.Errorf("parse OPEN: optional parameter cut after %d bytes", len(params))
		}
		typ, n := params[0], int(params[1])
		if lengthSize == 2 {
			n = int(binary.BigEndian.Uint16(params[1:]))
		}
		params = params[1+lengthSize:]
		if n > len(params) {
			return Open{}, fmt.Errorf("parse OPEN: optional parameter %d of %d bytes, %d left", typ, n, len(params))
		}
		if typ == optCapabilities {
			if err := o.parseCapabilities(params[:n]); err != nil {
				return Open{}, err
			}
		}
		params = params[n:]
	}
	return o, nil
}

func (o *Open) parseCapabilities(b []byte) error {
	for len(b) > 0 {
		if len(b) < 2 || int(b[1]) > len(b)-2 {
			return fmt.Errorf("parse OPEN: capability cut after %d bytes", len(b))
		}
		c := Capability{Code: b[0], Value: b[2 : 2+int(b[1])]}
		b = b[2+len(c.Value):]
		if c.Code == capFourOctetAS && len(c.Value) == 4 {
			o.ASN, o.FourOctetAS = binary.BigEndian.Uint32(c.Value), true
		}
		o.Capabilities = append(o.Capabilities, c)
	}
	return nil
}

// check says whether we can hold a session with the sender of o (RFC 4271 §6.2). The
// error is a *NotificationError with the NOTIFICATION that is due.
func (o Open) check(remoteASN uint32) error {
	switch {
	case o.Version != 4:
		return reject(codeOpen, subUnsupportedVersion, 0, 4)
	case !o.FourOctetAS:
		// Every Table's AS_PATH has 4-octet numbers, which an old speaker would misread.
		return reject(codeOpen, subUnsupportedCapability, capFourOctetAS, 0)
	case o.ASN == 0 || (remoteASN != 0 && o.ASN != remoteASN):
		return reject(codeOpen, subBadPeerAS)
	case o.HoldTime != 0 && o.HoldTime < minHoldTime:
		return reject(codeOpen, subUnacceptableHoldTime)
	case o.RouterID.IsUnspecified():
		return reject(codeOpen, subBadIdentifier)
	}
	return nil
}

// openMessage encodes our OPEN: IPv4 unicast, IPv6 unicast if that is wanted (RFC 4760 §8),
// and 4-octet AS numbers.
func openMessage(c Config) ([]byte, error) {
	myAS := uint16(asTrans)
	if c.ASN <= 0xffff {
		myAS = uint16(c.ASN)
	}
	all := []bgp.ParameterCapabilityInterface{bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC)}
	if c.IPv6 {
		all = append(all, bgp.NewCapMultiProtocol(bgp.RF_IPv6_UC))
	}
	all = append(all, bgp.NewCapFourOctetASNumber(c.ASN))
	caps := bgp.NewOptionParameterCapability(all)
	m := bgp.NewBGPOpenMessage(myAS, uint16(c.HoldTime/time.Second), c.RouterID.String(),
		[]bgp.OptionParameterInterface{caps})
	return m.Serialize()
}

// notificationMessage encodes n, with as much of its data as a message holds.
func notificationMessage(n Notification) ([]byte, error) {
	data := n.Data[:min(len(n.Data), maxMessage-minLength[TypeNotification])]
	return bgp.NewBGPNotificationMessage(n.Code, n.Subcode, data).Serialize()
}

// keepaliveMessage is the whole KEEPALIVE message (RFC 4271 §4.4).
var keepaliveMessage = []byte{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0, headerLen, byte(TypeKeepalive),
}

// endOfRIBMessage is the End-of-RIB marker for IPv4 unicast, an UPDATE without content
// (RFC 4724 §2).
var endOfRIBMessage = []byte{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0, 23, byte(TypeUpdate), 0, 0, 0, 0,
}
