// SPDX-License-Identifier: Apache-2.0

package redact

import (
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text replaces in a sentence everything that leakprof does not say by itself:
// addresses, AS numbers, communities, paths, host names, and every word that is
// none of its own (words.txt). Numbers and units stay.
func (r *Redactor) Text(s string) string {
	s = communities.ReplaceAllStringFunc(s, r.community)
	var out strings.Builder
	var last [2]string // the tokens before
	for len(s) > 0 {
		n := tokenLength(s)
		if n == 0 {
			c, size := utf8.DecodeRuneInString(s)
			if c == utf8.RuneError || unicode.IsControl(c) {
				c = ' '
			}
			out.WriteRune(c)
			s = s[size:]
			continue
		}
		token := s[:n]
		s = s[n:]
		out.WriteString(r.token(token, last))
		last = [2]string{last[1], token}
	}
	return out.String()
}

// tokenLength returns how many bytes at the begin belong together: letters and
// digits of any script, and what stands between them in addresses and paths.
func tokenLength(s string) int {
	for i, c := range s {
		if unicode.In(c, unicode.L, unicode.N, unicode.M) || strings.ContainsRune("_.:/@%+-~$", c) {
			continue
		}
		return i
	}
	return len(s)
}

// communities are as BIRD prints them: (65000,1), (65000, 1, 2).
var communities = regexp.MustCompile(`\(([0-9]{1,10}), ?([0-9]{1,10})(?:, ?([0-9]{1,10}))?\)`)

var digits = regexp.MustCompile(`[0-9]+`)

// community replaces the numbers of a community: any can be an AS number, and
// the others say what they mean to one.
func (r *Redactor) community(s string) string {
	if strings.HasPrefix(strings.TrimPrefix(s, "("), "65535") { // well-known: RFC 1997
		return s
	}
	return digits.ReplaceAllStringFunc(s, func(n string) string {
		v, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			return "0"
		}
		return strconv.FormatUint(uint64(r.asNumber(uint32(v))), 10)
	})
}

var (
	number    = regexp.MustCompile(`^[+-]?[0-9]+(?:\.[0-9]{1,9})?(?:e[+-]?[0-9]{1,3}|%|x|[kMG]B|[kMG]|B|[mnu]?s|h|m)?$`)
	hex       = regexp.MustCompile(`^\+?0x[0-9a-f]{1,16}$`)
	duration  = regexp.MustCompile(`^(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+(?:\.[0-9]+)?(?:s|ms|us|ns))?$`)
	release   = regexp.MustCompile(`^v?[0-9]\.[0-9]{1,2}\.[0-9]{1,3}$`)
	date      = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z?)?$`)
	clock     = regexp.MustCompile(`^[0-2][0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?$`)
	asNumber  = regexp.MustCompile(`^((?i)ASN?)([0-9]{1,10})(?:\.([0-9]{1,5}))?$`)
	asDot     = regexp.MustCompile(`^([1-9][0-9]{0,4})\.([1-9][0-9]{2,4})$`)
	asPlain   = regexp.MustCompile(`^([0-9]{1,10})(?:\.([0-9]{1,5}))?$`)
	numbers   = regexp.MustCompile(`^[0-9]{1,10}(?::[0-9]{1,10}){1,3}$`)
	ethernet  = regexp.MustCompile(`^(?i)[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}$`)
	dottedMAC = regexp.MustCompile(`^(?i)[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}$`)
	hostName  = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)+$`)
)

// punctuation can end a token without belonging to it.
const punctuation = ".:,-/+%~@"

// token replaces one token; last are the two before.
func (r *Redactor) token(s string, last [2]string) string {
	if r.own[s] {
		return r.name(s)
	}
	// The longest that is an address: "2001:db8::" ends in one, "192.0.2.1:" does
	// not.
	for body := s; body != ""; body = body[:len(body)-1] {
		if out, ok := r.address(body); ok {
			return out + s[len(body):]
		}
		if !strings.ContainsRune(punctuation, rune(body[len(body)-1])) {
			break
		}
	}
	if strings.Contains(s, "::") {
		return r.name(s) // an address with something at it
	}
	body := strings.TrimRight(s, punctuation)
	tail := s[len(body):]
	head := body[:len(body)-len(strings.TrimLeft(body, "-+.:@%~"))]
	body = body[len(head):]
	if body == "" {
		return s
	}
	return head + r.atom(body, head, last) + tail
}

func (r *Redactor) atom(s, head string, last [2]string) string {
	switch {
	case r.own[s]:
		return r.name(s)
	case last[1] == "AS" || last[1] == "ASN" || last[1] == "as" && isAS(last[0]):
		if m := asPlain.FindStringSubmatch(s); m != nil {
			return r.asText("", m[1], m[2])
		}
	}
	if m := asNumber.FindStringSubmatch(s); m != nil {
		return r.asText(m[1], m[2], m[3])
	}
	if m := asDot.FindStringSubmatch(s); m != nil {
		return r.asText("", m[1], m[2])
	}
	switch {
	case number.MatchString(s), hex.MatchString(s), duration.MatchString(s), release.MatchString(s), date.MatchString(s), clock.MatchString(s):
		return s
	case numbers.MatchString(s):
		return r.community(s)
	case r.keep[s] || given.MatchString(s) || r.vocabulary(s):
		return s
	case strings.Contains(s, "://"):
		scheme, rest, _ := strings.Cut(s, "://")
		return r.word(scheme) + "://" + r.parts(rest, "/")
	case strings.HasPrefix(s, "Root/"):
		// A pool's path whose names have spaces goes on behind.
		return r.parts(s, "/")
	case strings.Contains(s, "/"):
		return r.source(s)
	}
	if m := atOffset.FindStringSubmatch(s); m != nil {
		return r.pathPart(m[1]) + m[2]
	}
	for _, separator := range []string{"@", ":", "%", "+", "~", "$"} {
		if strings.Contains(s, separator) {
			return r.parts(s, separator)
		}
	}
	return r.word(s)
}

// isAS says whether "as" behind such a word stands before an AS number: as in
// BIRD's "neighbor 192.0.2.1 as 64500" and "local as 64500".
func isAS(before string) bool {
	if before == "local" || before == "peer" || before == "neighbor" {
		return true
	}
	_, err := netip.ParseAddr(before)
	return err == nil
}

// parts replaces what stands between separators.
func (r *Redactor) parts(s, separator string) string {
	all := strings.Split(s, separator)
	for i, p := range all {
		if p != "" {
			all[i] = r.token(p, [2]string{})
		}
	}
	return strings.Join(all, separator)
}

// word replaces what is none of leakprof's own words.
func (r *Redactor) word(s string) string {
	if r.own[s] {
		return r.name(s)
	}
	if given.MatchString(s) || r.vocabulary(s) || libraries.MatchString(s) {
		return s
	}
	if i := strings.LastIndexByte(s, '.'); i > 0 {
		if extensions[s[i:]] || channels.MatchString(s[i+1:]) {
			return r.word(s[:i]) + s[i:]
		}
		if hostName.MatchString(s) {
			return r.host(s)
		}
	}
	if strings.Contains(s, "-") {
		return r.parts(s, "-")
	}
	return r.name(s)
}

// vocabulary says whether a word, or all the words that it is made of and at most
// one number (of several an address could be made), are leakprof's own.
func (r *Redactor) vocabulary(s string) bool {
	counted := false
	for part := range strings.SplitSeq(s, "-") {
		if number.MatchString(part) {
			if counted {
				return false
			}
			counted = true
			continue
		}
		for word := range strings.FieldsFuncSeq(part, func(c rune) bool { return c == '.' }) {
			if r.own[word] || !ownWords[word] && !ownWords[lowerFirst(word)] {
				return false
			}
		}
	}
	return true
}

func lowerFirst(s string) string {
	if s != "" && s[0] >= 'A' && s[0] <= 'Z' {
		return string(s[0]+'a'-'A') + s[1:]
	}
	return s
}

// wordList has all words of the sentences that leakprof writes and of the
// kernel's errors (TestWords -update makes it).
//
//go:embed words.txt
var wordList string

var ownWords = words(wordList)

// address replaces an address in any of its forms, with a zone, a length or a
// port.
func (r *Redactor) address(s string) (string, bool) {
	if len(s) < 2 || len(s) > 128 {
		return "", false
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == strings.TrimRight(addr.Zone(), punctuation) {
		return r.addr(addr), true
	}
	if i := strings.LastIndexByte(s, '/'); i > 0 {
		bits, err := strconv.ParseUint(s[i+1:], 10, 8)
		addr, err2 := netip.ParseAddr(s[:i])
		if err == nil && err2 == nil {
			if int(bits) > addr.BitLen() {
				return r.addr(addr) + s[i:], true
			}
			p := r.addresses.prefix(netip.PrefixFrom(addr.WithZone(""), int(bits)))
			r.rememberAddress(addr, s, p.String())
			return p.String(), true
		}
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 && strings.Count(s, ":") == 1 {
		if addr, err := netip.ParseAddr(s[:i]); err == nil && asPlain.MatchString(s[i+1:]) {
			return r.addr(addr) + s[i:], true // a port, or a route distinguisher
		}
	}
	if ethernet.MatchString(s) || dottedMAC.MatchString(s) {
		var m [6]byte
		plain := strings.Map(func(c rune) rune {
			if strings.ContainsRune(":-.", c) {
				return -1
			}
			return c
		}, s)
		for i := range m {
			v, _ := strconv.ParseUint(plain[2*i:2*i+2], 16, 8)
			m[i] = byte(v)
		}
		out := r.addresses.mac(m)
		r.remember(kindAddress, strings.ToLower(s), out)
		return out, true
	}
	return "", false
}

func (r *Redactor) addr(a netip.Addr) string {
	zone := a.Zone()
	a = a.WithZone("")
	p := r.addresses.prefix(netip.PrefixFrom(a, a.BitLen())).Addr()
	out := p.String()
	r.rememberAddress(a, a.String(), out)
	if zone != "" {
		out += "%" + r.word(zone)
	}
	return out
}

// asText replaces an AS number behind what is written before it, in the
// notation that it has (RFC 5396).
func (r *Redactor) asText(before, high, low string) string {
	v, err := strconv.ParseUint(high, 10, 32)
	if err != nil {
		return before + "0"
	}
	if low != "" {
		l, err := strconv.ParseUint(low, 10, 16)
		if err != nil || v > 65535 {
			return before + "0.0"
		}
		v = v<<16 | l
	}
	p := r.asNumber(uint32(v))
	if low != "" {
		return fmt.Sprintf("%s%d.%d", before, p>>16, p&0xffff)
	}
	return before + strconv.FormatUint(uint64(p), 10)
}

// asNumber replaces an AS number.
func (r *Redactor) asNumber(n uint32) uint32 {
	p := r.as.of(n)
	if !keptAS(n) {
		r.remember(kindAS, strconv.FormatUint(uint64(n), 10), strconv.FormatUint(uint64(p), 10))
	}
	return p
}

// rememberAddress keeps the replacement of an address that does not stay.
func (r *Redactor) rememberAddress(a netip.Addr, original, p string) {
	if !isKept(a) {
		r.remember(kindAddress, original, p)
	}
}
