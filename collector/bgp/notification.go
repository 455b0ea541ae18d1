// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"unicode/utf8"
)

// Error codes and subcodes this speaker sends (RFC 4271 §4.5, RFC 4486).
const (
	codeHeader    = 1
	codeOpen      = 2
	codeHoldTimer = 4
	codeFSM       = 5
	codeCease     = 6

	subNotSynchronized       = 1
	subBadMessageLength      = 2
	subBadMessageType        = 3
	subUnsupportedVersion    = 1
	subBadPeerAS             = 2
	subBadIdentifier         = 3
	subUnacceptableHoldTime  = 6
	subUnsupportedCapability = 7
	subAdminShutdown         = 2
	subAdminReset            = 4
	subConnectionRejected    = 5
	subUnexpectedOpenSent    = 1
	subUnexpectedOpenConfirm = 2
	subUnexpectedEstablished = 3
)

// codeNames are IANA's "BGP Error (Notification) Codes".
var codeNames = map[uint8]string{
	1: "Message Header Error",
	2: "OPEN Message Error",
	3: "UPDATE Message Error",
	4: "Hold Timer Expired",
	5: "Finite State Machine Error",
	6: "Cease",
	7: "ROUTE-REFRESH Message Error",
	8: "Send Hold Timer Expired",
}

// subcodeNames are IANA's subcodes of each code: RFC 4271 §4.5 (1-3), RFC 6608 (5),
// RFC 4486, 8538 and 9384 (6), RFC 7313 (7).
var subcodeNames = map[uint8]map[uint8]string{
	1: {1: "Connection Not Synchronized", 2: "Bad Message Length", 3: "Bad Message Type"},
	2: {1: "Unsupported Version Number", 2: "Bad Peer AS", 3: "Bad BGP Identifier",
		4: "Unsupported Optional Parameter", 6: "Unacceptable Hold Time",
		7: "Unsupported Capability", 11: "Role Mismatch"},
	3: {1: "Malformed Attribute List", 2: "Unrecognized Well-known Attribute",
		3: "Missing Well-known Attribute", 4: "Attribute Flags Error",
		5: "Attribute Length Error", 6: "Invalid ORIGIN Attribute",
		8: "Invalid NEXT_HOP Attribute", 9: "Optional Attribute Error",
		10: "Invalid Network Field", 11: "Malformed AS_PATH"},
	5: {1: "Receive Unexpected Message in OpenSent State",
		2: "Receive Unexpected Message in OpenConfirm State",
		3: "Receive Unexpected Message in Established State"},
	6: {1: "Maximum Number of Prefixes Reached", 2: "Administrative Shutdown",
		3: "Peer De-configured", 4: "Administrative Reset", 5: "Connection Rejected",
		6: "Other Configuration Change", 7: "Connection Collision Resolution",
		8: "Out of Resources", 9: "Hard Reset", 10: "BFD Down"},
	7: {1: "Invalid Message Length"},
}

// Notification is the content of a NOTIFICATION message (RFC 4271 §4.5).
type Notification struct {
	Code    uint8
	Subcode uint8
	Data    []byte // at most 4075 bytes; its meaning depends on the code
}

// ParseNotification decodes a NOTIFICATION's body, the bytes after the 19-byte header.
// Data aliases body.
func ParseNotification(body []byte) (Notification, error) {
	if len(body) < 2 {
		return Notification{}, fmt.Errorf("parse NOTIFICATION: %d bytes, need 2", len(body))
	}
	return Notification{Code: body[0], Subcode: body[1], Data: body[2:]}, nil
}

// Name is the code and subcode in IANA's words, such as "Cease/Administrative Shutdown".
func (n Notification) Name() string {
	code, ok := codeNames[n.Code]
	if !ok {
		return "unassigned"
	}
	if sub, ok := subcodeNames[n.Code][n.Subcode]; ok {
		return code + "/" + sub
	}
	if n.Subcode == 0 {
		return code // "unspecific", RFC 4271 §4.5
	}
	return code + "/unassigned"
}

// Communication is the operator's text in a Cease for administrative shutdown or reset
// (RFC 9003), or "" where there is none.
func (n Notification) Communication() string {
	if n.Code != codeCease || (n.Subcode != subAdminShutdown && n.Subcode != subAdminReset) || len(n.Data) == 0 {
		return ""
	}
	length := int(n.Data[0])
	if length > len(n.Data)-1 || !utf8.Valid(n.Data[1:1+length]) {
		return ""
	}
	return string(n.Data[1 : 1+length])
}

// String gives the name, both numbers, and the operator's text if there is one.
func (n Notification) String() string {
	s := fmt.Sprintf("%s (%d/%d)", n.Name(), n.Code, n.Subcode)
	if text := n.Communication(); text != "" {
		s += fmt.Sprintf(": %q", text)
	}
	return s
}

// NotificationError says that a NOTIFICATION ended the session.
type NotificationError struct {
	Notification
	Sent bool // we sent it; otherwise the peer did
}

func (e *NotificationError) Error() string {
	if e.Sent {
		return "sent NOTIFICATION " + e.String()
	}
	return "received NOTIFICATION " + e.String()
}

// reject is the error for something that we answer with a NOTIFICATION.
func reject(code, subcode uint8, data ...byte) error {
	return &NotificationError{Notification: Notification{Code: code, Subcode: subcode, Data: data}, Sent: true}
}
