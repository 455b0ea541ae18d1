// SPDX-License-Identifier: Apache-2.0

// Package mrt reads the routes of a table dump in the MRT format: TABLE_DUMP_V2 (RFC 6396
// §4.3, with the ADD-PATH subtypes of RFC 8050), as RouteViews, RIPE RIS and BIRD's
// protocol mrt write it.
//
// The records are read by own code: gobgp's decoder reads beyond the end of records that
// were cut, and takes every attribute of every entry apart, where a collector's dump has
// fifty entries per prefix of which four are wanted.
package mrt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Types and subtypes of records (RFC 6396 §4, RFC 8050 §4).
const (
	typeTableDumpV2 = 13

	subPeerIndexTable        = 1
	subRIBIPv4Unicast        = 2
	subRIBIPv6Unicast        = 4
	subRIBIPv4UnicastAddPath = 8
	subRIBIPv6UnicastAddPath = 10
)

// Sizes, in bytes.
const (
	headerLen         = 12
	minPeerIndexTable = 8
	minRIB            = 5
	entryHeaderLen    = 8
	pathIdentifierLen = 4
	// maxRecord is the longest record taken: 65,535 routes of 200 bytes are 13 MB.
	maxRecord  = 16 << 20
	readBuffer = 64 << 10
)

// Bits of a peer's type (RFC 6396 §4.3.1).
const (
	peerIPv6 = 1
	peerAS4  = 2
)

// Entry is one route of a RIB: how one peer of the collector had it.
type Entry struct {
	Peer int // index in the dump's peer index table
	// Attributes are the path attributes as encoded in the dump: AS_PATH with 4-octet
	// numbers, and MP_REACH_NLRI cut down to the next hop (RFC 6396 §4.3.4). They are valid
	// until the next Next.
	Attributes []byte
}

// RIB is one prefix and all the routes to it.
type RIB struct {
	Prefix  netip.Prefix
	Entries []Entry // valid until the next Next
}

// Stats counts what was read.
type Stats struct {
	Records int   // of all types
	RIBs    int   // prefixes of IPv4 and IPv6 unicast
	Entries int   // routes to them
	Skipped int   // records of other types and subtypes
	Bytes   int64 // of records, after decompression
	Peers   int   // of the last peer index table
}

// Reader reads a dump. It keeps one record in memory.
type Reader struct {
	in      *bufio.Reader
	record  bytes.Buffer
	entries []Entry
	stats   Stats
	indexed bool // a peer index table was read
	err     error
}

// NewReader reads from r, which is not compressed.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, readBuffer)}
}

// Stats is what was read so far.
func (r *Reader) Stats() Stats { return r.stats }

// Next returns the next unicast RIB, and io.EOF after the last. An error names the record,
// counted from 1, and its offset in the uncompressed stream; there is none after it.
func (r *Reader) Next() (RIB, error) {
	for r.err == nil {
		offset := r.stats.Bytes
		rib, found, err := r.next()
		switch {
		case err == io.EOF && r.stats.Records == 0:
			r.err = errors.New("the file is empty")
		case err == io.EOF:
			r.err = io.EOF
		case err != nil:
			r.err = fmt.Errorf("record %d at offset %d: %w", r.stats.Records+1, offset, err)
		default:
			r.stats.Records++
			if found {
				return rib, nil
			}
			r.stats.Skipped++
		}
	}
	return RIB{}, r.err
}

// next reads one record, which need not be a RIB.
func (r *Reader) next() (rib RIB, found bool, err error) {
	var header [headerLen]byte
	if n, err := io.ReadFull(r.in, header[:]); err != nil {
		if n > 0 {
			err = cut("header", n, headerLen, err)
		}
		return RIB{}, false, err
	}
	typ, subtype := binary.BigEndian.Uint16(header[4:]), binary.BigEndian.Uint16(header[6:])
	length := binary.BigEndian.Uint32(header[8:])
	if length > maxRecord {
		return RIB{}, false, fmt.Errorf("%d bytes, more than %d: is it an MRT file?", length, maxRecord)
	}
	// The buffer grows with what is there, not with what the header promises.
	r.record.Reset()
	if n, err := io.CopyN(&r.record, r.in, int64(length)); err != nil {
		return RIB{}, false, cut("record", int(n), int(length), err)
	}
	record := r.record.Bytes()
	r.stats.Bytes += headerLen + int64(length)
	if typ != typeTableDumpV2 {
		return RIB{}, false, nil
	}
	switch subtype {
	case subPeerIndexTable:
		return RIB{}, false, r.peerIndexTable(record)
	case subRIBIPv4Unicast, subRIBIPv4UnicastAddPath:
		rib, err = r.rib(record, 32, subtype == subRIBIPv4UnicastAddPath)
	case subRIBIPv6Unicast, subRIBIPv6UnicastAddPath:
		rib, err = r.rib(record, 128, subtype == subRIBIPv6UnicastAddPath)
	default:
		return RIB{}, false, nil
	}
	return rib, err == nil, err
}

func cut(what string, got, want int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file ends after %d of %d bytes of the %s", got, want, what)
	}
	return err
}

// errShort is a record whose fields go beyond its end.
var errShort = errors.New("fields go beyond the end of the record")

// peerIndexTable reads RFC 6396 §4.3.1 as far as it is needed: how many peers there are.
func (r *Reader) peerIndexTable(b []byte) error {
	if len(b) < minPeerIndexTable {
		return errShort
	}
	name := int(binary.BigEndian.Uint16(b[4:]))
	if len(b) < minPeerIndexTable+name {
		return errShort
	}
	count := int(binary.BigEndian.Uint16(b[6+name:]))
	b = b[8+name:]
	for range count {
		if len(b) < 1 {
			return errShort
		}
		size := 1 + 4 + 4 + 2
		if b[0]&peerIPv6 != 0 {
			size += 12
		}
		if b[0]&peerAS4 != 0 {
			size += 2
		}
		if len(b) < size {
			return errShort
		}
		b = b[size:]
	}
	r.stats.Peers, r.indexed = count, true
	return nil
}

// rib reads RFC 6396 §4.3.2 and RFC 8050 §4.1.
func (r *Reader) rib(b []byte, addressBits int, addPath bool) (RIB, error) {
	if !r.indexed {
		return RIB{}, errors.New("a RIB before the peer index table")
	}
	if len(b) < minRIB {
		return RIB{}, errShort
	}
	bits := int(b[4])
	if bits > addressBits {
		return RIB{}, fmt.Errorf("prefix of %d bits: at most %d", bits, addressBits)
	}
	b = b[minRIB:]
	n := (bits + 7) / 8
	if len(b) < n+2 {
		return RIB{}, errShort
	}
	var address [16]byte
	copy(address[:], b[:n])
	ip := netip.AddrFrom16(address)
	if addressBits == 32 {
		ip = netip.AddrFrom4([4]byte(address[:4]))
	}
	count := int(binary.BigEndian.Uint16(b[n:]))
	b = b[n+2:]
	r.entries = r.entries[:0]
	for range count {
		header := entryHeaderLen
		if addPath {
			header += pathIdentifierLen
		}
		if len(b) < header {
			return RIB{}, errShort
		}
		peer, length := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[header-2:]))
		if peer >= r.stats.Peers {
			return RIB{}, fmt.Errorf("a route of peer %d of %d", peer, r.stats.Peers)
		}
		b = b[header:]
		if len(b) < length {
			return RIB{}, errShort
		}
		r.entries = append(r.entries, Entry{Peer: peer, Attributes: b[:length]})
		b = b[length:]
	}
	r.stats.RIBs++
	r.stats.Entries += count
	// Bits beyond the prefix's length mean nothing.
	return RIB{Prefix: netip.PrefixFrom(ip, bits).Masked(), Entries: r.entries}, nil
}
