// SPDX-License-Identifier: Apache-2.0

// Package redact replaces in a report and its profiles what tells whose router
// it was: addresses, AS numbers, names of hosts, users, protocols, tables and
// peers, and paths. The same input always gets the same pseudonym, and what
// lies in one network still does. What says what went wrong stays: numbers,
// times, BIRD's version, its build ID, functions, and BIRD's source files.
//
// It works by lists of what may stay, not of what must go: each field of a
// report is decided on in one table (fields), a field that is not in it is read
// as text, and of a text only those words stay that leakprof itself writes.
package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
)

// Redactor replaces. It keeps what it has replaced by what, so that one can
// serve several reports. It is not for use by several goroutines at once.
type Redactor struct {
	addresses addresses
	as        asNumbers
	names     map[string]string // by the original, of names and hosts
	count     map[kind]int
	own       map[string]bool // names that are somebody's own, whatever they are made of
	keep      map[string]bool // build IDs
	entries   []Entry
	known     map[Entry]bool
}

// kind says what was replaced.
type kind string

const (
	kindName    kind = "name"
	kindHost    kind = "host"
	kindAddress kind = "address" // with a prefix length, if it had one
	kindAS      kind = "as"
)

// Entry is one replacement.
type Entry struct {
	Kind      kind   `json:"kind"`
	Pseudonym string `json:"pseudonym"`
	Original  string `json:"original"`
}

// New returns a Redactor that has replaced nothing yet.
func New() *Redactor {
	return &Redactor{
		addresses: addresses{networks: map[netip.Prefix]netip.Addr{}, flips: map[netip.Prefix]byte{}, macs: map[[6]byte]int{}},
		as:        asNumbers{pseudonyms: map[uint32]uint32{}},
		names:     map[string]string{}, count: map[kind]int{},
		own: map[string]bool{}, keep: map[string]bool{}, known: map[Entry]bool{},
	}
}

// replace gives a pseudonym, numbered from 1, to what has none.
func (r *Redactor) replace(k kind, original string, format func(int) string) string {
	if p, known := r.names[original]; known {
		return p
	}
	r.count[k]++
	p := format(r.count[k])
	r.names[original] = p
	r.remember(k, original, p)
	return p
}

// remember keeps a replacement for the mapping.
func (r *Redactor) remember(k kind, original, p string) {
	e := Entry{k, p, original}
	if !r.known[e] {
		r.known[e] = true
		r.entries = append(r.entries, e)
	}
}

// Counts returns how many names (of hosts as well), addresses and AS numbers have
// been replaced.
func (r *Redactor) Counts() (names, addresses, asNumbers int) {
	for _, e := range r.entries {
		switch e.Kind {
		case kindAddress:
			addresses++
		case kindAS:
			asNumbers++
		default:
			names++
		}
	}
	return names, addresses, asNumbers
}

// mapping is the file by which pseudonyms are translated back.
type mapping struct {
	Version int     `json:"version"`
	Entries []Entry `json:"entries"`
}

const mappingVersion = 1

// MaxMapping bounds what Load reads, in bytes.
const MaxMapping = 64 << 20

// WriteMapping writes what was replaced, in the order in which it came: JSON
// that a person can search, and Load goes on from.
func (r *Redactor) WriteMapping(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(mapping{mappingVersion, append([]Entry{}, r.entries...)}); err != nil {
		return fmt.Errorf("write mapping: %w", err)
	}
	return nil
}

// Load returns a Redactor that goes on with a mapping, so that what it has gets
// the same pseudonyms again.
func Load(in io.Reader) (*Redactor, error) {
	limited := &io.LimitedReader{R: in, N: MaxMapping + 1}
	var m mapping
	if err := json.NewDecoder(limited).Decode(&m); err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	if m.Version != mappingVersion {
		return nil, fmt.Errorf("read mapping: version %d is not known (this leakprof reads %d)", m.Version, mappingVersion)
	}
	r := New()
	for i, e := range m.Entries {
		// Pseudonyms follow from the order alone.
		if err := r.again(e); err != nil {
			return nil, fmt.Errorf("read mapping: entry %d: %w", i, err)
		}
	}
	return r, nil
}

var errChanged = errors.New("it does not follow from those before: the mapping was changed, or another leakprof made it")

func (r *Redactor) again(e Entry) error {
	var p string
	switch e.Kind {
	case kindName:
		p = r.name(e.Original)
	case kindHost:
		p = r.host(e.Original)
	case kindAddress:
		var ok bool
		if p, ok = r.address(e.Original); !ok {
			return fmt.Errorf("%q is no address", e.Original)
		}
	case kindAS:
		n, err := strconv.ParseUint(e.Original, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is no AS number", e.Original)
		}
		p = strconv.FormatUint(uint64(r.asNumber(uint32(n))), 10)
	default:
		return fmt.Errorf("kind %q is none", e.Kind)
	}
	if p != e.Pseudonym {
		return errChanged
	}
	return nil
}
