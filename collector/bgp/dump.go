// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"leakprof/collector/bgp/mrt"
)

// maxDump bounds the memory that the routes of a dump take, in bytes of attributes and
// prefixes: a full table of 2026 from each of 16 peers.
const maxDump = 2 << 30

// Identity is what a peer puts into the routes that it announces.
type Identity struct {
	ASN      uint32
	NextHop  netip.Addr // IPv4
	NextHop6 netip.Addr // IPv6
}

// Dump says how the routes of an MRT table dump become what peers announce.
//
// Where a prefix has as many routes as there are peers, or more, each peer announces one;
// where it has fewer they go to one peer after the other, so that a dump of a single router
// is spread evenly. A route keeps its attributes but for what only the session it came by
// gave meaning: the peer's AS number is put in front of AS_PATH, the next hop becomes the
// peer's, and LOCAL_PREF and the attributes of route reflection are left out.
type Dump struct {
	// Peers are those that announce the routes.
	Peers []Identity
	// PerPeer is how many routes each may announce at most; 0 means all that there are.
	PerPeer int
	// Avoid is the AS number of the daemon, which refuses routes with it in AS_PATH.
	Avoid uint32
	// Progress, if set, is called now and then with how much of the file was read, its
	// size or 0, and how many routes were taken.
	Progress func(read, size int64, routes int)
}

// DumpStats counts what became of a dump.
type DumpStats struct {
	mrt.Stats
	Routes         int // that the peers announce
	Prefixes       int // distinct ones in them, IPv4 and IPv6
	IPv6           int // distinct ones in them, IPv6 alone
	Repeated       int // prefixes that came in a second record, which is left out
	Martians       int // prefixes that BIRD refuses (Acceptable)
	Looped         int // routes with the daemon's AS number in AS_PATH
	Malformed      int // routes whose attributes BIRD would refuse
	firstMalformed error
}

// progressEvery is after how many RIBs a dump's reader looks about.
const progressEvery = 4096

// Read reads the dump in a file and encodes what each peer announces. The same file always
// gives the same messages.
func (d Dump) Read(ctx context.Context, path string) ([]*Table, DumpStats, error) {
	f, err := mrt.Open(path)
	if err != nil {
		return nil, DumpStats{}, err
	}
	defer f.Close()
	tables, stats, err := d.read(ctx, f.Reader, f.Progress)
	if err != nil {
		return nil, stats, fmt.Errorf("read %s: %w", path, err)
	}
	return tables, stats, nil
}

func (d Dump) read(ctx context.Context, in *mrt.Reader, progress func() (read, size int64)) ([]*Table, DumpStats, error) {
	l := loader{Dump: d, seen: make(map[prefixKey]struct{}), peers: make([]peerRoutes, len(d.Peers))}
	for {
		rib, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, l.stats, err
		}
		l.stats.Stats = in.Stats()
		if l.stats.RIBs%progressEvery == 0 {
			if err := ctx.Err(); err != nil {
				return nil, l.stats, context.Cause(ctx)
			}
			if d.Progress != nil {
				read, size := progress()
				d.Progress(read, size, l.stats.Routes)
			}
		}
		if err := l.take(rib); err != nil {
			return nil, l.stats, err
		}
		if l.full() {
			break
		}
	}
	l.stats.Stats = in.Stats()
	if l.stats.Routes == 0 {
		return nil, l.stats, l.nothing()
	}
	var tables []*Table
	for i := range l.peers {
		tables = append(tables, l.peers[i].table(d.Peers[i].NextHop6))
	}
	return tables, l.stats, nil
}

// prefixKey is a prefix without pointers, for large maps: address, length, family.
type prefixKey [18]byte

func keyOf(p netip.Prefix) prefixKey {
	address := p.Addr().As16()
	k := prefixKey{16: byte(p.Bits())}
	copy(k[:], address[:])
	if p.Addr().Is6() {
		k[17] = 1
	}
	return k
}

// loader gathers the routes of a dump.
type loader struct {
	Dump
	seen  map[prefixKey]struct{}
	peers []peerRoutes
	stats DumpStats
	bytes int
	spare []byte
}

// peerRoutes are the routes of a peer, by their attributes, in order of appearance.
type peerRoutes struct {
	byAttributes map[string]int // index in groups, by family and attributes
	groups       []routeGroup
	routes       int
}

type routeGroup struct {
	ipv6  bool
	attrs string
	nlri  []byte
}

// full says that no peer may announce more.
func (l *loader) full() bool {
	return l.PerPeer > 0 && l.stats.Routes >= l.PerPeer*len(l.peers)
}

// take spreads the routes to one prefix.
func (l *loader) take(rib mrt.RIB) error {
	if !Acceptable(rib.Prefix) {
		l.stats.Martians++
		return nil
	}
	key := keyOf(rib.Prefix)
	if _, repeated := l.seen[key]; repeated {
		l.stats.Repeated++
		return nil
	}
	first := 0
	if len(rib.Entries) < len(l.peers) {
		first = len(l.seen)
	}
	took, before := 0, l.stats.Routes
	for _, e := range rib.Entries {
		if took == len(l.peers) {
			break
		}
		peer := (first + took) % len(l.peers)
		if err := l.announce(peer, rib.Prefix, e.Attributes); err != nil {
			switch {
			case errors.Is(err, errLoop):
				l.stats.Looped++
			case errors.Is(err, errMalformed):
				l.stats.Malformed++
				if l.stats.firstMalformed == nil {
					l.stats.firstMalformed = fmt.Errorf("%v: %w", rib.Prefix, err)
				}
			default:
				return err
			}
			continue
		}
		took++
	}
	if took > 0 {
		l.seen[key] = struct{}{}
	}
	if l.stats.Routes > before {
		l.stats.Prefixes++
		if rib.Prefix.Addr().Is6() {
			l.stats.IPv6++
		}
	}
	return nil
}

// announce gives a route to a peer, unless that has as many as it may.
func (l *loader) announce(peer int, p netip.Prefix, raw []byte) error {
	r := &l.peers[peer]
	if l.PerPeer > 0 && r.routes >= l.PerPeer {
		return nil
	}
	ipv6 := p.Addr().Is6()
	family := byte(4)
	if ipv6 {
		family = 6
	}
	key, err := appendImported(append(l.spare[:0], family), raw, l.Dump.Peers[peer], ipv6, l.Avoid)
	l.spare = key
	if err != nil {
		return err
	}
	if r.byAttributes == nil {
		r.byAttributes = make(map[string]int)
	}
	i, known := r.byAttributes[string(key)]
	if !known {
		i = len(r.groups)
		k := string(key)
		r.byAttributes[k] = i
		r.groups = append(r.groups, routeGroup{ipv6: ipv6, attrs: k[1:]})
		l.bytes += len(k)
	}
	g := &r.groups[i]
	before := len(g.nlri)
	g.nlri = appendPrefix(g.nlri, p)
	r.routes++
	l.stats.Routes++
	if l.bytes += len(g.nlri) - before; l.bytes > maxDump {
		return fmt.Errorf("more than %d MB of routes after %d of them: take fewer", maxDump>>20, l.stats.Routes)
	}
	return nil
}

// table encodes the peer's routes.
func (r *peerRoutes) table(nextHop6 netip.Addr) *Table {
	t := &Table{attributeSets: len(r.groups)}
	for _, g := range r.groups {
		a := announcement{attrs: []byte(g.attrs), nlri: g.nlri}
		if g.ipv6 {
			a.nextHop = nextHop6
		}
		t.add(a, 0)
	}
	return t
}

// nothing says why no route was taken.
func (l *loader) nothing() error {
	s := l.stats
	switch {
	case s.RIBs == 0:
		return fmt.Errorf("no unicast RIB of a TABLE_DUMP_V2 in %d records: a table dump is needed (rib.* of RouteViews, bview.* of RIPE RIS), not updates", s.Records)
	case s.firstMalformed != nil:
		return fmt.Errorf("no usable route in %d RIBs: %w", s.RIBs, s.firstMalformed)
	}
	return fmt.Errorf("no usable route in %d RIBs: %d prefixes are martians, %d routes would be a loop", s.RIBs, s.Martians, s.Looped)
}
