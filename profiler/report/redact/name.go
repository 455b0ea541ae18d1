// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// given are names that BIRD (its protocols' templates and default tables) or
// leakprof's lab gives: they are nobody's own.
var given = regexp.MustCompile(`^(?:leakprof_)?(?:(?:aggregator|babel|bfd|bgp|bmp|bridge|device|direct|evpn|kernel|l3vpn|mrt|ospf|perf|pipe|radv|rip|rpki|static|stats|peer)[0-9]{1,3}|master[46]|device|lab_(?:igp6?|next_hops|peer[0-9]*))$`)

// channels are the names that BIRD gives to channels (net_label in lib/net.c),
// which follow a protocol's name.
var channels = regexp.MustCompile(`^(?:ipv4|ipv6|vpn4|vpn6|flow4|flow6|roa4|roa6)(?:-(?:mc|mpls|sadr|multicast))?$|^(?:mpls|aspa|eth|evpn)$`)

// extensions are of files that the project, BIRD and distributions make.
var extensions = map[string]bool{
	".bmp": true, ".c": true, ".conf": true, ".ctl": true, ".debug": true, ".dwo": true, ".dwp": true, ".gz": true, ".h": true,
	".html": true, ".json": true, ".log": true, ".mrt": true, ".pid": true, ".service": true, ".so": true, ".sock": true, ".txt": true,
}

// libraries are those that BIRD is linked with in distributions, and those
// that are put in the place of libc's allocator or check it.
var libraries = regexp.MustCompile(`^(?:lib(?:asan|atomic|c|cap|com_err|crypt|crypto|dl|gcc_s|gcrypt|gpg-error|gssapi_krb5|jemalloc|k5crypto|keyutils|krb5|krb5support|lsan|m|mimalloc|ncursesw?|nss_[a-z]+|pthread|readline|resolv|rt|selinux|ssh|ssh-gcrypt|ssl|stdc\+\+|systemd|tcmalloc(?:_minimal)?|tinfo|tsan|ubsan|util|z|zstd|pcre2-8)|ld-linux-x86-64|ld-linux-aarch64|ld-linux|ld|ld-musl-[a-z0-9_]+|libc\.musl-[a-z0-9_]+)(?:-[0-9.]+)?(?:\.so(?:\.[0-9]+)*|\.a)$`)

// system are directories of every Linux, of BIRD's own and of Debian's builds.
var system = words(`usr bin sbin lib lib64 lib32 libx32 libexec local etc run var opt srv mnt media home root tmp proc sys dev boot
	share src build debug debuginfo cache log bird bird2 bird3 frr x86_64-linux-gnu aarch64-linux-gnu self fd exe maps mem smaps map_files net
	containers overlay docker kubelet snap nix store`)

func words(s string) map[string]bool {
	m := make(map[string]bool)
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}

// name returns the pseudonym of somebody's own name; what BIRD or leakprof
// gave stays.
func (r *Redactor) name(s string) string {
	if s == "" || given.MatchString(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD") // as the mapping, JSON, has it
	return r.replace(kindName, s, func(i int) string { return fmt.Sprintf("name%d", i) })
}

// host returns the pseudonym of a host's name.
func (r *Redactor) host(s string) string {
	return r.replace(kindHost, s, func(i int) string { return fmt.Sprintf("host%d.example", i) })
}

// learn takes in a name that stands where only somebody's own can: where else it
// stands it is replaced as a whole. One that is a word of leakprof's own stays in
// sentences: it tells nothing there, and they would tell nothing without it.
func (r *Redactor) learn(s string) {
	r.name(s)
	r.own[s] = !given.MatchString(s) && !r.vocabulary(s)
}

// pool replaces the names in the path of one of BIRD's pools. What is not known
// of BIRD's sources (2.0 to 3.3) is somebody's own name.
func (r *Redactor) pool(s string) string {
	parts := strings.Split(s, "/")
	for i, p := range parts {
		parts[i] = r.poolName(p)
	}
	return strings.Join(parts, "/")
}

// pools are the names that BIRD gives to pools, and loops with pools, whole.
var pools = func() map[string]bool {
	m := make(map[string]bool)
	for _, s := range []string{
		"Root", "Stonehenge", "BGP Listen Sockets", "BGP Listeners", "CLI", "Configurations", "Config", "BFD Global", "Interfaces", "Kernel Syncer",
		"Log files", "Test pool", "BMP Buffer", "BMP Map", "BMP Tx", "BMP Update", "BFD thread root", "Common persistent protocol data", "FIB pool",
		"Proto state table", "proto journal loop", "Birdloop root", "Network index", "Dump socket TCP-AO", "MRT Table Dump", "OSPF Interface", "OSPF Vlink",
		"OSPF Neighbor", "Protocols", "Main Thread Meta", "Thread Meta", "Routing tables", "Attributes", "Thread dropper", "MPLS domain", "MPLS FEC map",
		"Keywords pool", "Loop", "Channel",
	} {
		m[s] = true
	}
	return m
}()

// poolTemplates have a name between them.
var poolTemplates = []struct{ before, after string }{
	{"Protocol ", " early cleanup objects"}, {"Protocol ", " stop-free objects"}, {"Protocol ", " (persistent)"}, {"Protocol ", ""},
	{"Channel ", " export"}, {"Routing table service ", ""}, {"Routing table data ", ""}, {"Routing table ", ""},
	{"BFD Express ", ""}, {"MPLS domain ", ""}, {"", " TX"},
}

func (r *Redactor) poolName(s string) string {
	if pools[s] {
		return s
	}
	for _, t := range poolTemplates {
		if inner, ok := strings.CutPrefix(s, t.before); ok {
			if inner, ok := strings.CutSuffix(inner, t.after); ok && inner != "" {
				return t.before + r.channelName(inner) + t.after
			}
		}
	}
	return r.channelName(s)
}

// channelName replaces the name of a protocol, or of one's channel.
func (r *Redactor) channelName(s string) string {
	if i := strings.LastIndexByte(s, '.'); i > 0 && channels.MatchString(s[i+1:]) {
		r.learn(s[:i])
		return r.name(s[:i]) + s[i:]
	}
	r.learn(s)
	return r.name(s)
}

// Path replaces what of a path is somebody's own; directories that every system
// has, distributions' libraries and leakprof's own words stay. A number in it may
// be a user's, a customer's or an AS, unless it is that of a process or has but
// two digits.
func (r *Redactor) Path(s string) string {
	parts := strings.Split(s, "/")
	words := 0 // those before; of "1000/s" there is none
	for i, p := range parts {
		before := ""
		if i > 0 {
			before = parts[i-1]
		}
		ext := path.Ext(p)
		if !extensions[ext] {
			ext = ""
		}
		base := strings.TrimSuffix(p, ext)
		isNumber := digits.FindString(base) == base
		switch {
		case p != "" && before == "home": // a user may be called like anything
			parts[i] = r.name(p)
		case isNumber && len(base) > 2 && words > 0 && !numbered[before]:
			parts[i] = r.name(base) + ext
		default:
			parts[i] = r.pathPart(p)
		}
		if !isNumber {
			words++
		}
	}
	return strings.Join(parts, "/")
}

// numbered are directories in which the kernel numbers processes, threads and
// open files (proc(5)).
var numbered = words("proc task fd")

var plainPart = regexp.MustCompile(`^(?:\.{0,2}|[0-9]{1,10})$`)

func (r *Redactor) pathPart(s string) string {
	switch {
	case r.own[s]:
		return r.name(s)
	case plainPart.MatchString(s) || system[s] || libraries.MatchString(s) || r.keep[s]:
		return s
	case s == "[vdso]" || s == "[vsyscall]":
		return s
	}
	if out, ok := r.address(s); ok {
		return out
	}
	ext := path.Ext(s)
	base := strings.TrimSuffix(s, ext)
	if !extensions[ext] {
		base, ext = s, ""
	}
	if base == "" || !r.own[base] && r.vocabulary(base) {
		return s
	}
	return r.name(base) + ext
}

// birdSource is a file in one of the directories of BIRD's sources or its build,
// and libcSource one of glibc's as its debug information has it: they are code
// that everybody can read.
var (
	birdSource = regexp.MustCompile(`^(.*?/|)((?:obj/)?(?:proto/[a-z0-9]+|nest|lib|filter|conf|client|test|sysdep/[a-z]+(?:/[a-z]+)?)/[A-Za-z0-9_-]+(?:\.tab)?\.(?:[chlyYS]))$`)
	libcSource = regexp.MustCompile(`^(?:\.{1,2}/)*(?:argp|csu|debug|dlfcn|elf|inet|io|libio|malloc|misc|nptl|posix|resolv|setjmp|signal|socket|stdio-common|stdlib|string|sunrpc|sysdeps|termios|time|wcsmbs)/[a-z0-9_/-]+\.[chS]$`)
)

// source replaces what of a source file's path lies above BIRD's own
// directories; one that is neither BIRD's nor glibc's is a path like others.
func (r *Redactor) source(s string) string {
	if m := birdSource.FindStringSubmatch(s); m != nil {
		return r.Path(m[1]) + m[2]
	}
	if libcSource.MatchString(s) {
		return s
	}
	return r.Path(s)
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$.@]*$`)
	atOffset   = regexp.MustCompile(`^(.+)(\+0x[0-9a-f]+)$`)
)

// function keeps a function's name: it is code. In "module+0xaddress" the
// module may be somebody's own.
func (r *Redactor) function(s string) string {
	if identifier.MatchString(s) {
		return s
	}
	if m := atOffset.FindStringSubmatch(s); m != nil {
		return r.pathPart(m[1]) + m[2]
	}
	return r.Text(s)
}

var variable = regexp.MustCompile(`^([A-Za-z_.][A-Za-z0-9_$.@]*(?:\+0x[0-9a-f]+)?) of ([^ ]+)$`)

// root replaces the module that a variable is of.
func (r *Redactor) root(s string) string {
	if m := variable.FindStringSubmatch(s); m != nil {
		return m[1] + " of " + r.pathPart(m[2])
	}
	return r.Text(s)
}

var version = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~:_-]{0,63}$`)

func (r *Redactor) version(s string) string {
	if version.MatchString(s) {
		return s
	}
	return r.Text(s)
}

var buildID = regexp.MustCompile(`^[0-9a-f]{0,128}$`)

// buildIDOf keeps a build ID, and remembers it: texts quote it.
func (r *Redactor) buildIDOf(s string) string {
	if !buildID.MatchString(s) {
		return ""
	}
	r.keep[s] = s != ""
	return s
}
