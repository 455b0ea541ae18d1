// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Sizes of RFC 4271 §4.1, in bytes. The speaker does not offer extended messages (RFC 8654).
const (
	headerLen  = 19
	maxMessage = 4096
)

// MessageType is the type octet of RFC 4271 §4.1 and RFC 2918.
type MessageType uint8

// The message types.
const (
	TypeOpen         MessageType = 1
	TypeUpdate       MessageType = 2
	TypeNotification MessageType = 3
	TypeKeepalive    MessageType = 4
	TypeRouteRefresh MessageType = 5
)

func (t MessageType) String() string {
	switch t {
	case TypeOpen:
		return "OPEN"
	case TypeUpdate:
		return "UPDATE"
	case TypeNotification:
		return "NOTIFICATION"
	case TypeKeepalive:
		return "KEEPALIVE"
	case TypeRouteRefresh:
		return "ROUTE-REFRESH"
	}
	return fmt.Sprintf("message type %d", uint8(t))
}

// minLength is the least length of a whole message of each type (RFC 4271 §6.1).
var minLength = [...]int{TypeOpen: 29, TypeUpdate: 23, TypeNotification: 21, TypeKeepalive: 19, TypeRouteRefresh: 23}

// readMessage reads one message into buf, which must hold maxMessage bytes, and returns
// its type and its body. A message that breaks RFC 4271 §6.1 gives a *NotificationError
// with the NOTIFICATION that is due.
func readMessage(r *bufio.Reader, buf []byte) (MessageType, []byte, error) {
	if _, err := io.ReadFull(r, buf[:headerLen]); err != nil {
		return 0, nil, err
	}
	length, typ, err := parseHeader(buf)
	if err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r, buf[headerLen:length]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return typ, buf[headerLen:length], nil
}

// parseHeader checks the message header at the start of b (RFC 4271 §6.1) and returns
// the length of the whole message. b holds at least headerLen bytes.
func parseHeader(b []byte) (length int, typ MessageType, err error) {
	if binary.BigEndian.Uint64(b) != ^uint64(0) || binary.BigEndian.Uint64(b[8:]) != ^uint64(0) {
		return 0, 0, reject(codeHeader, subNotSynchronized)
	}
	length, typ = int(binary.BigEndian.Uint16(b[16:])), MessageType(b[18])
	if length < headerLen || length > maxMessage {
		return 0, 0, reject(codeHeader, subBadMessageLength, b[16], b[17])
	}
	if typ < TypeOpen || typ > TypeRouteRefresh {
		return 0, 0, reject(codeHeader, subBadMessageType, b[18])
	}
	if length < minLength[typ] || (typ == TypeKeepalive && length != headerLen) {
		return 0, 0, reject(codeHeader, subBadMessageLength, b[16], b[17])
	}
	return length, typ, nil
}
