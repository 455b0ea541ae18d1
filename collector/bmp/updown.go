// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"leakprof/collector/bgp"
)

// PeerUp says that a session came up (RFC 7854 §4.10).
type PeerUp struct {
	PeerHeader
	Local      netip.AddrPort // the router's end
	RemotePort uint16
	Sent       bgp.Open // the OPEN the router sent
	Received   bgp.Open // the OPEN the peer sent
	Info       []string // free-form strings
	TableName  string   // VRF or table (RFC 9069 §5.2.1)
	AdminLabel string   // (RFC 8671 §6.3.1)
	// UnknownTLVs is how many TLVs of other types were skipped.
	UnknownTLVs int
	// Err says what of the OPENs and strings could not be read; the rest holds.
	Err error
}

// ParsePeerUp decodes the body of a Peer Up Notification, the bytes after the common
// header. Only a body too short for its fixed fields is an error.
func ParsePeerUp(body []byte) (PeerUp, error) {
	if len(body) < minBody[TypePeerUp] {
		return PeerUp{}, fmt.Errorf("parse Peer Up: %d bytes, need %d", len(body), minBody[TypePeerUp])
	}
	h, err := ParsePeerHeader(body)
	if err != nil {
		return PeerUp{}, err
	}
	b := append([]byte(nil), body[peerHeaderLen:]...) // capabilities alias it
	up := PeerUp{
		PeerHeader: h,
		Local:      netip.AddrPortFrom(address(b, h.ipv6()), binary.BigEndian.Uint16(b[16:])),
		RemotePort: binary.BigEndian.Uint16(b[18:]),
	}
	b = b[20:]
	if up.Sent, b, up.Err = parseOpen(b); up.Err != nil {
		return up, nil
	}
	if up.Received, b, up.Err = parseOpen(b); up.Err != nil {
		return up, nil
	}
	tlvs, err := ParseTLVs(b)
	up.Err = err
	for _, t := range tlvs {
		switch t.Type {
		case 0:
			up.Info = append(up.Info, text(t.Value))
		case 3:
			up.TableName = text(t.Value)
		case 4:
			up.AdminLabel = text(t.Value)
		default:
			up.UnknownTLVs++
		}
	}
	return up, nil
}

// parseOpen decodes the OPEN message at the start of b and returns what follows it.
func parseOpen(b []byte) (bgp.Open, []byte, error) {
	body, rest, err := bgpMessage(b, bgp.TypeOpen)
	if err != nil {
		return bgp.Open{}, nil, err
	}
	o, err := bgp.ParseOpen(body)
	return o, rest, err
}

// bgpHeaderLen is the length of a BGP message header (RFC 4271 §4.1).
const bgpHeaderLen = 19

// bgpMessage splits the BGP message of this type at the start of b into its body and what
// follows it. The marker is not looked at: nothing depends on it here.
func bgpMessage(b []byte, want bgp.MessageType) (body, rest []byte, err error) {
	if len(b) < bgpHeaderLen {
		return nil, nil, fmt.Errorf("parse %v: %d bytes, need %d", want, len(b), bgpHeaderLen)
	}
	length, typ := int(binary.BigEndian.Uint16(b[16:])), bgp.MessageType(b[18])
	if length < bgpHeaderLen || length > len(b) {
		return nil, nil, fmt.Errorf("parse %v: length %d, want %d to %d", want, length, bgpHeaderLen, len(b))
	}
	if typ != want {
		return nil, nil, fmt.Errorf("parse %v: %v instead", want, typ)
	}
	return b[bgpHeaderLen:length], b[length:], nil
}

// PeerDownReason says why a session went down (RFC 7854 §4.9, RFC 9069 §5.3).
type PeerDownReason uint8

// The reasons.
const (
	LocalNotification   PeerDownReason = 1
	LocalNoNotification PeerDownReason = 2
	RemoteNotification  PeerDownReason = 3
	RemoteNoData        PeerDownReason = 4
	PeerDeconfigured    PeerDownReason = 5
	LocalTLVs           PeerDownReason = 6
)

func (r PeerDownReason) String() string {
	names := [...]string{
		LocalNotification:   "Local system closed, NOTIFICATION PDU follows",
		LocalNoNotification: "Local system closed, FSM Event follows",
		RemoteNotification:  "Remote system closed, NOTIFICATION PDU follows",
		RemoteNoData:        "Remote system closed, no data",
		PeerDeconfigured:    "Peer de-configured",
		LocalTLVs:           "Local system closed, TLV data follows",
	}
	if int(r) < len(names) && names[r] != "" {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// PeerDown says that a session went down (RFC 7854 §4.9).
type PeerDown struct {
	PeerHeader
	Reason       PeerDownReason
	Notification *bgp.Notification // with reasons 1 and 3
	FSMEvent     uint16            // with reason 2: the event of RFC 4271 §8.1, 0 if none
	TableName    string            // with reason 6: VRF or table
	// UnknownTLVs is how many TLVs of other types were skipped, with reason 6.
	UnknownTLVs int
	// Err says what of the reason's data could not be read; the rest holds.
	Err error
}

// ParsePeerDown decodes the body of a Peer Down Notification, the bytes after the common
// header. Only a body too short for its fixed fields is an error.
func ParsePeerDown(body []byte) (PeerDown, error) {
	if len(body) < minBody[TypePeerDown] {
		return PeerDown{}, fmt.Errorf("parse Peer Down: %d bytes, need %d", len(body), minBody[TypePeerDown])
	}
	h, err := ParsePeerHeader(body)
	if err != nil {
		return PeerDown{}, err
	}
	down := PeerDown{PeerHeader: h, Reason: PeerDownReason(body[peerHeaderLen])}
	data := append([]byte(nil), body[peerHeaderLen+1:]...) // the NOTIFICATION's data aliases it
	switch down.Reason {
	case LocalNotification, RemoteNotification:
		var n bgp.Notification
		if data, _, down.Err = bgpMessage(data, bgp.TypeNotification); down.Err == nil {
			if n, down.Err = bgp.ParseNotification(data); down.Err == nil {
				down.Notification = &n
			}
		}
	case LocalNoNotification:
		if len(data) < 2 {
			down.Err = fmt.Errorf("parse Peer Down: FSM event of %d bytes, want 2", len(data))
			break
		}
		down.FSMEvent = binary.BigEndian.Uint16(data)
	case LocalTLVs:
		var tlvs []TLV
		tlvs, down.Err = ParseTLVs(data)
		for _, t := range tlvs {
			if t.Type == 3 {
				down.TableName = text(t.Value)
			} else {
				down.UnknownTLVs++
			}
		}
	}
	return down, nil
}
