// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestText(t *testing.T) {
	r := New()
	r.learn("acme_transit")
	r.learn("acme.bgp-peer")
	r.learn("bmp1")
	r.buildIDOf("1f27345d1733d7b08feaa7fdf3bd239d1b982348")
	// In one Redactor, so that what comes again gets its pseudonym again.
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"clean: 24.9 kB retained after 3 cycles, less than the threshold of 256.0 kB, 0 routes left; +860 B in each", "clean: 24.9 kB retained after 3 cycles, less than the threshold of 256.0 kB, 0 routes left; +860 B in each"},
		{"100% of 756,302 allocations complete, -1 of 0x1f, 1e-05, 2m3.5s", "100% of 756,302 allocations complete, -1 of 0x1f, 1e-05, 2m3.5s"},
		{"BIRD 3.1.7, build ID 1f27345d1733d7b08feaa7fdf3bd239d1b982348", "BIRD 3.1.7, build ID 1f27345d1733d7b08feaa7fdf3bd239d1b982348"},
		{"build ID 2f27345d1733d7b08feaa7fdf3bd239d1b982348", "build ID name3"},
		{"session acme_transit (acme.bgp-peer) of bmp1 is down in cycle 1", "session name1 (name2) of bmp1 is down in cycle 1"},
		{"mark Zyxorp", "mark name4"},
		{"BIRD's Zyxorp; zyxorp-slab", "BIRD's name4; name5-slab"},
		{"BIRD was reconfigured: Last reconfiguration on 2026-03-01 12:00:00.123", "BIRD was reconfigured: Last reconfiguration on 2026-03-01 12:00:00.123"},
		// Addresses, in every form; those of one network stay in one.
		{"10.1.2.3 10.1.2.3:179 10.1.2.2, 10.1.3.9.", "192.0.2.1 192.0.2.1:179 192.0.2.0, 198.51.100.1."},
		{"10.1.2.0/24 10.1.2.3/24 10.0.0.0/8 0.0.0.0/0 127.0.0.5 10.1.2.128/25", "192.0.2.0/24 192.0.2.1/24 203.0.113.0/8 0.0.0.0/0 127.0.0.5 192.0.2.128/25"},
		{"2A00:1450::5 [2a00:1450:0::5]:179 2a00:1450::/32 ::1 :: ::/0 fe80::1234:5678%eth0:", "2001:db8::1 [2001:db8::1]:179 2001:db8::/32 ::1 :: ::/0 fe80::1%name6:"},
		{"::ffff:10.1.2.3 peer-10.1.2.3 00:1B:21:aa:bb:cc 001b.21aa.bbcc", "::ffff:192.0.2.1 host1.example 00:00:5e:00:53:00 00:00:5e:00:53:00"},
		{"2a00::12zz -", "name7 -"},
		{"999.1.2.3 10.1.2.3.4", "host2.example host3.example"},
		// AS numbers: of two bytes and of four, plain and in dots (RFC 5396).
		{"AS3320 ASN3320 AS 3320 asn206924 AS3.10348 as3320", "AS64496 ASN64496 AS 64496 asn65536 AS1.1 as64496"},
		{"neighbor 10.1.2.3 as 3320, as 4096 bytes; AS 23456", "neighbor 192.0.2.1 as 64496, as 4096 bytes; AS 23456"},
		{"(3320,100) (3320, 1, 2) 3320:100 (65535,666) 10.1.2.3:100", "(64496,64497) (64496, 64498, 64499) 64496:64497 (65535,666) 192.0.2.1:100"},
		// Paths, hosts, users.
		{"no debug file in /usr/lib/debug/.build-id, /home/mark/bird.debug", "no debug file in /usr/lib/debug/.build-id, /home/name8/bird.debug"},
		{"/srv/zyxorp/bird3/proto/bmp/buffer.c proto/bmp/buffer.c ./malloc/malloc.c", "/srv/name5/bird3/proto/bmp/buffer.c proto/bmp/buffer.c ./malloc/malloc.c"},
		{"dial tcp: lookup rtr7.zyxorp.net: no such file; root@rtr7.zyxorp.net https://rtr7.zyxorp.net/zyxorp/x.conf", "dial tcp: lookup host4.example: no such file; root@host4.example https://host4.example/name5/x.conf"},
		{"leakprof-4242/report.json, zyxorp.conf, libzyxorp.so.1", "leakprof-4242/report.json, name5.conf, host5.example"},
		{"held in Root/Routing tables/Routing table service Zyxorp", "held in Root/Routing tables/Routing table service name4"},
		{"zyx+0x1f of bird+0x20", "name9+0x1f of bird+0x20"},
		{"Grüße 顧客 a\nand\x00c\xff", "name10 name11 a and c "},
	} {
		if got := r.Text(c.in); got != c.want {
			t.Errorf("%q:\n got %q\nwant %q", c.in, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	r := New()
	for _, c := range []struct {
		f        func(string) string
		in, want string
	}{
		{r.pool, "Root/Protocols/bmp1", "Root/Protocols/bmp1"},
		{r.pool, "Root/Protocols/leakprof_peer1/Channel leakprof_peer1.ipv4 export", "Root/Protocols/leakprof_peer1/Channel leakprof_peer1.ipv4 export"},
		{r.pool, "Root/Protocols/acme/Protocol acme early cleanup objects", "Root/Protocols/name1/Protocol name1 early cleanup objects"},
		{r.pool, "Root/Protocols/acme/Channel acme.ipv6-mpls export", "Root/Protocols/name1/Channel name1.ipv6-mpls export"},
		{r.pool, "Root/Protocols/a.b/a.b.ipv4 TX", "Root/Protocols/name2/name2.ipv4 TX"},
		{r.pool, "Root/Routing tables/Routing table service master4/Routing table data t_cust/Network index", "Root/Routing tables/Routing table service master4/Routing table data name3/Network index"},
		{r.pool, "Root/Protocols/memory/OSPF Interface", "Root/Protocols/name4/OSPF Interface"},
		{r.pool, "Root/Some new pool", "Root/name5"},
		{r.Text, "live memory moves", "live memory moves"}, // though a protocol is called so
		{r.Path, "/usr/sbin/bird", "/usr/sbin/bird"},
		{r.Path, "/opt/acme/sbin/bird-2.19", "/opt/name1/sbin/bird-2.19"},
		{r.Path, "/usr/lib/x86_64-linux-gnu/libssh.so.4.10.5", "/usr/lib/x86_64-linux-gnu/libssh.so.4.10.5"},
		{r.Path, "/usr/lib/libhook.so", "/usr/lib/name6.so"},
		{r.Path, "[vdso]", "[vdso]"},
		{r.Path, "/proc/123/root/usr", "/proc/123/root/usr"},
		{r.Path, "/home/bird/bird", "/home/name7/bird"},
		{r.source, "/home/bird/b/proto/bgp/attrs.c", "/home/name7/name8/proto/bgp/attrs.c"},
		{r.source, "/build/bird3-AbC/obj/conf/cf-parse.tab.c", "/build/name9/obj/conf/cf-parse.tab.c"},
		{r.source, "sysdep/unix/io.c", "sysdep/unix/io.c"},
		{r.source, "../sysdeps/nptl/libc_start_call_main.h", "../sysdeps/nptl/libc_start_call_main.h"},
		{r.source, "/home/x/malloc/q.c", "/home/name10/malloc/name11.c"},
		{r.source, "/usr/lib/acme/hook.c", "/usr/lib/name1/hook.c"},
		{r.function, "bmp_peer_down.lto_priv.0", "bmp_peer_down.lto_priv.0"},
		{r.function, "bird+0x6990f", "bird+0x6990f"},
		{r.function, "acme+0x6990f", "name1+0x6990f"},
		{r.function, "[allocated before leakprof attached]", "[allocated before leakprof attached]"},
		{r.root, "proto_list+0x8 of bird", "proto_list+0x8 of bird"},
		{r.root, ".bss of acme", ".bss of name1"},
		{r.root, "stack of thread 12", "stack of thread 12"},
		{r.version, "2.0.12+branch.x", "2.0.12+branch.x"},
		{r.version, "of acme", "of name1"},
		{r.buildIDOf, "00ff", "00ff"},
		{r.buildIDOf, "acme", ""},
		{r.Path, "/proc/4711/task/4712/fd/123", "/proc/4711/task/4712/fd/123"},
		{r.Path, "/run/user/1000/bird.ctl", "/run/user/name12/bird.ctl"},
		{r.Path, "/srv/20240301/64501/bird", "/srv/name13/name14/bird"},
		{r.Path, "/opt/bird/3/sbin/bird-2.19", "/opt/bird/3/sbin/bird-2.19"},
		{r.Path, "leakprof-4711/12/report.json", "leakprof-4711/12/report.json"},
		{r.Text, "/run/1000/1000.pid: 1000/s, 700/1000, /1000", "/run/name12/name12.pid: 1000/s, 700/1000, /1000"},
	} {
		if got := c.f(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

// TestPrefixes: addresses have as many bits in common as before, from their
// network's on, and different ones stay different.
func TestPrefixes(t *testing.T) {
	r := New()
	var in, out []netip.Addr
	for _, s := range []string{
		"10.9.8.7", "10.9.8.6", "10.9.8.255", "10.9.8.0", "10.9.9.7", "10.9.8.128", "11.9.8.7", "240.0.0.1", "192.0.2.77", "172.16.3.4",
		"2a00::1", "2a00::2", "2a00::ffff:1", "2a00:0:0:1::1", "2a00:0:0:ffff:1:2:3:4", "2a00:0:1::1", "2001:db8::7", "fe80::1:2", "fe80::1:3",
	} {
		a := netip.MustParseAddr(s)
		o, err := netip.ParseAddr(r.Text(s))
		if err != nil || !isDocumentation(o) {
			t.Fatalf("%s: %v, %v", s, o, err)
		}
		in, out = append(in, a), append(out, o)
	}
	for i := range in {
		for j := range in[:i] {
			if in[i].BitLen() != in[j].BitLen() {
				continue
			}
			size := network6
			if in[i].Is4() {
				size = network4
			}
			before, after := common(in[i], in[j]), common(out[i], out[j])
			if before >= size && after != before || before < size && after >= size {
				t.Errorf("%v and %v have %d bits in common, %v and %v %d", in[i], in[j], before, out[i], out[j], after)
			}
		}
	}
	// More networks than there are for documentation.
	seen := make(map[string]bool)
	for i := range 3000 {
		s := r.Text(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 1}).String())
		if seen[s] || !isDocumentation(netip.MustParseAddr(s)) {
			t.Fatalf("network %d: %s", i, s)
		}
		seen[s] = true
	}
	for i := range 70_000 {
		s := nth6(i)
		if !isDocumentation(s) || seen[s.String()] {
			t.Fatalf("network %d: %s", i, s)
		}
		seen[s.String()] = true
	}
	for i := range 20 {
		if a, b := r.as.of(uint32(1000+i)), r.as.of(uint32(200000+i)); i < 16 != (a < 64512 && b < 65552) || a >= 65535 || b < 65536 {
			t.Errorf("AS numbers %d and %d", a, b)
		}
	}
}

func common(a, b netip.Addr) int {
	for n := range a.BitLen() {
		if bitOf(a, n) != bitOf(b, n) {
			return n
		}
	}
	return a.BitLen()
}

// isDocumentation says whether an address is one that a Redactor may make.
func isDocumentation(a netip.Addr) bool {
	a = a.Unmap()
	for _, d := range documentation4 {
		if p, _ := d.Prefix(24); p.Contains(a) {
			return true
		}
	}
	return isKept(a) || benchmark4.Contains(a) || reserved4.Contains(a) || short6.Contains(a) || long6.Contains(a) || a.IsLinkLocalUnicast()
}

var (
	quad    = regexp.MustCompile(`(?:^|[^0-9A-Za-z_.])([0-9]+(?:\.[0-9]+){3})`)
	colons  = regexp.MustCompile(`(?:^|[^0-9A-Za-z_.:])([0-9A-Fa-f:]*::[0-9A-Fa-f:.]*|(?:[0-9A-Fa-f]+:){7}[0-9A-Fa-f]+)`)
	madeUp  = regexp.MustCompile(`^(?:(?i:asn?)[0-9]*|name[0-9]+|host[0-9]+|example|[eE][0-9]+|x[0-9a-f]+|[0-9a-fA-F]+|ffff|kB|GB|MB|[kMGBxsmhunTZ]|ms|us|ns)$`)
	lettery = regexp.MustCompile(`[\p{L}\p{M}_][\p{L}\p{M}\p{N}_]*`)
)

// FuzzText: whatever a text is, no word of it stays that is none of leakprof's
// own, no address but those that anybody can have, and the same text becomes the
// same again.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"mark acme", "peer 100.73.19.201 (acme_ipv4) AS4211119999", "2a0c:b641::dead:beef%vlan7/64", "(61999,100,200) 61999:4:5",
		"/home/quill/bird/proto/bmp/bmp.c:12", "a@b.c://d/e+0x1f", "AS61999.61998 as as as 5", "66:77:88:99:aa:bb-1.2.3.4", "::ffff:1.2.3.4:179",
		"Root/Protocols/x y", "1.2.3.4.5/33", "libfoo.so.1.2 x.ipv4", "- -- ... %", "\xff\xfe é顧٣",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := New()
		r.learn("zyx")
		out := r.Text(s)
		if again := r.Text(s); again != out {
			t.Fatalf("%q: %q, and then %q", s, out, again)
		}
		for _, m := range append(quad.FindAllStringSubmatch(out, -1), colons.FindAllStringSubmatch(out, -1)...) {
			if a, err := netip.ParseAddr(strings.TrimRight(m[1], ".")); err == nil && !isDocumentation(a) {
				t.Errorf("%q: %q has %v", s, out, a)
			}
		}
		for _, w := range lettery.FindAllString(out, -1) {
			if !madeUp.MatchString(w) && !given.MatchString(w) && !r.vocabulary(w) && !librariesHave(s, w) && !inSource(s, w) {
				t.Errorf("%q: %q has %q", s, out, w)
			}
		}
	})
}

// librariesHave says whether a word is in the name of a library that may stay,
// and inSource in that of a source file, a system's directory or a file's
// extension.
func librariesHave(s, word string) bool {
	for _, f := range strings.FieldsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(`/,;:@%+~$=()[]"'`, c) }) {
		if libraries.MatchString(strings.Trim(f, ".-")) && strings.Contains(f, word) {
			return true
		}
	}
	return false
}

func inSource(s, word string) bool {
	if system[word] || extensions["."+word] || channels.MatchString(word) || strings.Contains("x86_64-linux-gnu aarch64", word) {
		return true
	}
	return slices.ContainsFunc(strings.FieldsFunc(s, unicode.IsSpace), func(f string) bool {
		return strings.Contains(f, "/") && strings.Contains(f, word) && (strings.Contains(f, ".c") || strings.Contains(f, ".h") || strings.Contains(f, ".S") || strings.Contains(f, ".y") || strings.Contains(f, ".Y") || strings.Contains(f, ".l"))
	})
}
