// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// maxText is how much of the router's text is kept per string, in bytes.
const maxText = 4096

// TLV is one information TLV (RFC 7854 §4.4). Value aliases the parsed bytes.
type TLV struct {
	Type  uint16
	Value []byte
}

// ParseTLVs decodes a run of information TLVs.
func ParseTLVs(b []byte) ([]TLV, error) {
	var tlvs []TLV
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, fmt.Errorf("parse TLV: header of %d bytes, need 4", len(b))
		}
		t := TLV{Type: binary.BigEndian.Uint16(b)}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return nil, fmt.Errorf("parse TLV: type %d of %d bytes, %d left", t.Type, n, len(b)-4)
		}
		t.Value, b = b[4:4+n], b[4+n:]
		tlvs = append(tlvs, t)
	}
	return tlvs, nil
}

// text makes a string of a TLV that holds UTF-8, cut to a sane length.
func text(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "\ufffd")
}

// Initiation opens a session (RFC 7854 §4.3).
type Initiation struct {
	SysName  string
	SysDescr string
	Info     []string // free-form strings
	// UnknownTLVs is how many TLVs of other types were skipped.
	UnknownTLVs int
}

func parseInitiation(body []byte) (Initiation, error) {
	tlvs, err := ParseTLVs(body)
	if err != nil {
		return Initiation{}, err
	}
	var in Initiation
	for _, t := range tlvs {
		switch t.Type {
		case 0:
			in.Info = append(in.Info, text(t.Value))
		case 1:
			in.SysDescr = text(t.Value)
		case 2:
			in.SysName = text(t.Value)
		default:
			in.UnknownTLVs++
		}
	}
	return in, nil
}

// TerminationReason is the reason TLV of a Termination message (RFC 7854 §4.5).
type TerminationReason uint16

func (r TerminationReason) String() string {
	names := [...]string{
		"Session administratively closed", "Unspecified reason", "Out of resources",
		"Redundant connection", "Session permanently administratively closed",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("reason %d", uint16(r))
}

// Termination announces the end of a session (RFC 7854 §4.5).
type Termination struct {
	Reason TerminationReason
	Info   []string // free-form strings
	// UnknownTLVs is how many TLVs of other types were skipped.
	UnknownTLVs int
}

func parseTermination(body []byte) (Termination, error) {
	tlvs, err := ParseTLVs(body)
	if err != nil {
		return Termination{}, err
	}
	term := Termination{Reason: 1} // unspecified, unless told
	for _, t := range tlvs {
		switch {
		case t.Type == 0:
			term.Info = append(term.Info, text(t.Value))
		case t.Type == 1 && len(t.Value) == 2:
			term.Reason = TerminationReason(binary.BigEndian.Uint16(t.Value))
		case t.Type == 1:
			return Termination{}, fmt.Errorf("parse Termination: reason of %d bytes, want 2", len(t.Value))
		default:
			term.UnknownTLVs++
		}
	}
	return term, nil
}
