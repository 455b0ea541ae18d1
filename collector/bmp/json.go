// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"leakprof/collector/bgp"
)

// jsonHead is what all lines have.
type jsonHead struct {
	Time       time.Time `json:"time"`
	Connection uint64    `json:"connection"`
	Type       string    `json:"type"` // in the words of RFC 7854, or Connected, Disconnected
}

type jsonMessage struct {
	jsonHead
	Offset      int64     `json:"offset"` // bytes, in the connection
	Length      int       `json:"length"` // bytes
	Peer        *jsonPeer `json:"peer,omitempty"`
	Body        any       `json:"body,omitempty"`
	UnknownTLVs int       `json:"unknown_tlvs,omitempty"`
	Error       string    `json:"error,omitempty"` // what could not be read
}

type jsonPeer struct {
	Type          string     `json:"type"`
	Distinguisher string     `json:"distinguisher,omitempty"`
	Address       string     `json:"address,omitempty"` // of a BGP peer
	AS            uint32     `json:"as"`
	BGPID         string     `json:"bgp_id"`
	Flags         []string   `json:"flags,omitempty"` // V, L, A, O, F
	RIB           string     `json:"rib,omitempty"`   // of Route Monitoring and Mirroring
	Time          *time.Time `json:"time,omitempty"`  // of the event in the router
}

type jsonUpdate struct {
	Announced   []jsonRoute `json:"announced,omitempty"`
	Withdrawn   []jsonRoute `json:"withdrawn,omitempty"`
	Opaque      []string    `json:"opaque,omitempty"`
	EndOfRIB    string      `json:"end_of_rib,omitempty"` // the family
	Origin      string      `json:"origin,omitempty"`
	ASPath      string      `json:"as_path,omitempty"`
	NextHop     string      `json:"next_hop,omitempty"`
	MED         *uint32     `json:"med,omitempty"`
	LocalPref   *uint32     `json:"local_pref,omitempty"`
	Communities []string    `json:"communities,omitempty"`
	Attributes  []int       `json:"attributes,omitempty"` // types of all, in order
}

type jsonRoute struct {
	Prefix string `json:"prefix"`
	PathID uint32 `json:"path_id,omitempty"`
}

type jsonPeerUp struct {
	Local      netip.AddrPort `json:"local"`
	RemotePort uint16         `json:"remote_port"`
	Sent       *jsonOpen      `json:"sent,omitempty"`
	Received   *jsonOpen      `json:"received,omitempty"`
	Info       []string       `json:"info,omitempty"`
	TableName  string         `json:"table_name,omitempty"`
	AdminLabel string         `json:"admin_label,omitempty"`
}

type jsonOpen struct {
	AS           uint32           `json:"as"`
	HoldTime     float64          `json:"hold_time"` // seconds
	BGPID        string           `json:"bgp_id"`
	Capabilities []jsonCapability `json:"capabilities,omitempty"`
}

type jsonCapability struct {
	Code  uint8  `json:"code"`
	Value string `json:"value,omitempty"` // hexadecimal
}

type jsonPeerDown struct {
	Code         uint8   `json:"code"`
	Reason       string  `json:"reason"`
	Notification string  `json:"notification,omitempty"`
	FSMEvent     *uint16 `json:"fsm_event,omitempty"`
	TableName    string  `json:"table_name,omitempty"`
}

type jsonStatistic struct {
	Type   uint16 `json:"type"`
	Name   string `json:"name"`
	Family string `json:"family,omitempty"`
	Value  uint64 `json:"value"`
}

type jsonInitiation struct {
	SysName  string   `json:"sys_name"`
	SysDescr string   `json:"sys_descr"`
	Info     []string `json:"info,omitempty"`
}

type jsonTermination struct {
	Code   uint16   `json:"code"`
	Reason string   `json:"reason"`
	Info   []string `json:"info,omitempty"`
}

type jsonMirroring struct {
	Messages    []string `json:"messages,omitempty"` // hexadecimal
	Information []string `json:"information,omitempty"`
}

// MarshalJSON gives the message decoded, as one object: time, connection, offset, length
// and type, the per-peer header as peer, the rest as body, and as error what of it cannot
// be read.
func (m Message) MarshalJSON() ([]byte, error) {
	j := jsonMessage{
		jsonHead: jsonHead{m.At, m.Connection, m.Type.String()},
		Offset:   m.Offset,
		Length:   len(m.Bytes),
	}
	body, err := m.Decode()
	if err != nil {
		j.Error = err.Error()
	}
	if m.Type < numTypes && minBody[m.Type] > 0 && len(m.Bytes) > commonLen {
		if h, err := ParsePeerHeader(m.Bytes[commonLen:]); err == nil {
			j.Peer = peerJSON(h, m.Type)
		}
	}
	if err == nil {
		j.fill(body)
	}
	return json.Marshal(j)
}

// fill sets what depends on the type.
func (j *jsonMessage) fill(body any) {
	switch b := body.(type) {
	case *Update:
		j.Body = updateJSON(b)
	case StatisticsReport:
		list := make([]jsonStatistic, len(b.Statistics))
		for i, s := range b.Statistics {
			list[i] = jsonStatistic{Type: uint16(s.Type), Name: s.Type.String(), Value: s.Value}
			if s.Family != (Family{}) {
				list[i].Family = s.Family.String()
			}
		}
		j.Body, j.UnknownTLVs = list, b.UnknownTLVs
	case PeerUp:
		j.Body = jsonPeerUp{b.Local, b.RemotePort, openJSON(b.Sent), openJSON(b.Received), b.Info, b.TableName, b.AdminLabel}
		j.UnknownTLVs, j.Error = b.UnknownTLVs, errorText(b.Err)
	case PeerDown:
		d := jsonPeerDown{Code: uint8(b.Reason), Reason: b.Reason.String(), TableName: b.TableName}
		if b.Notification != nil {
			d.Notification = b.Notification.String()
		}
		if b.Reason == LocalNoNotification && b.Err == nil {
			d.FSMEvent = &b.FSMEvent
		}
		j.Body, j.UnknownTLVs, j.Error = d, b.UnknownTLVs, errorText(b.Err)
	case Initiation:
		j.Body, j.UnknownTLVs = jsonInitiation{b.SysName, b.SysDescr, b.Info}, b.UnknownTLVs
	case Termination:
		j.Body, j.UnknownTLVs = jsonTermination{uint16(b.Reason), b.Reason.String(), b.Info}, b.UnknownTLVs
	case RouteMirroring:
		var v jsonMirroring
		for _, m := range b.Messages {
			v.Messages = append(v.Messages, hex.EncodeToString(m))
		}
		for _, i := range b.Information {
			v.Information = append(v.Information, i.String())
		}
		j.Body, j.UnknownTLVs = v, b.UnknownTLVs
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func peerJSON(h PeerHeader, typ MessageType) *jsonPeer {
	j := &jsonPeer{Type: h.Peer.Type.String(), AS: h.Peer.AS, BGPID: h.Peer.BGPID.String(), Flags: h.FlagNames()}
	if h.Peer.IsBGP() {
		j.Address = h.Peer.Addr.String()
	}
	if h.Peer.Distinguisher != 0 {
		j.Distinguisher = h.Peer.DistinguisherText()
	}
	if typ == TypeRouteMonitoring || typ == TypeRouteMirroring {
		j.RIB = h.RIB().String()
	}
	if !h.Time.IsZero() {
		j.Time = &h.Time
	}
	return j
}

func openJSON(o bgp.Open) *jsonOpen {
	if o.Version == 0 {
		return nil // could not be read
	}
	j := &jsonOpen{AS: o.ASN, HoldTime: o.HoldTime.Seconds(), BGPID: o.RouterID.String()}
	for _, c := range o.Capabilities {
		j.Capabilities = append(j.Capabilities, jsonCapability{c.Code, hex.EncodeToString(c.Value)})
	}
	return j
}

func updateJSON(u *Update) jsonUpdate {
	j := jsonUpdate{
		Announced: routesJSON(u.Announced),
		Withdrawn: routesJSON(u.Withdrawn),
		ASPath:    asPathText(u.ASPath),
		MED:       u.MED,
		LocalPref: u.LocalPref,
	}
	for _, f := range u.Opaque {
		j.Opaque = append(j.Opaque, f.String())
	}
	if u.EndOfRIB {
		j.EndOfRIB = u.Family.String()
	}
	if u.Origin != nil {
		j.Origin = fmt.Sprint(*u.Origin)
		if names := [...]string{"IGP", "EGP", "INCOMPLETE"}; int(*u.Origin) < len(names) {
			j.Origin = names[*u.Origin]
		}
	}
	if u.NextHop.IsValid() {
		j.NextHop = u.NextHop.String()
	}
	for _, c := range u.Communities {
		j.Communities = append(j.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
	}
	for _, a := range u.Attributes {
		j.Attributes = append(j.Attributes, int(a.Type))
	}
	return j
}

func routesJSON(routes []Route) (list []jsonRoute) {
	for _, r := range routes {
		list = append(list, jsonRoute{r.Prefix.String(), r.PathID})
	}
	return list
}

// asPathText writes sets as {1 2}, and sequences and sets of a confederation as (1 2) and
// [1 2].
func asPathText(path []ASPathSegment) string {
	var parts []string
	for _, seg := range path {
		s := strings.Trim(fmt.Sprint(seg.AS), "[]")
		switch seg.Type {
		case 1:
			s = "{" + s + "}"
		case 3:
			s = "(" + s + ")"
		case 4:
			s = "[" + s + "]"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

// MarshalJSON gives a Connected or Disconnected as one object; other events are messages,
// which have more to say, and only their type is given.
func (e Event) MarshalJSON() ([]byte, error) {
	head := jsonHead{Time: e.At, Connection: e.Connection, Type: strings.TrimPrefix(fmt.Sprintf("%T", e.Body), "bmp.")}
	switch b := e.Body.(type) {
	case Connected:
		return json.Marshal(struct {
			jsonHead
			Remote netip.AddrPort `json:"remote"`
		}{head, b.Remote})
	case Disconnected:
		return json.Marshal(struct {
			jsonHead
			Bytes   int64  `json:"bytes"` // of whole messages
			PeersUp int    `json:"peers_up"`
			Error   string `json:"error,omitempty"`
		}{head, b.Offset, b.PeersUp, errorText(b.Err)})
	}
	return json.Marshal(head)
}
