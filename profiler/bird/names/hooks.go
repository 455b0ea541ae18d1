// SPDX-License-Identifier: Apache-2.0

package names

import "leakprof/profiler/bird/structure"

// protocolSource is how BIRD names a protocol's hooks, and where they are.
type protocolSource struct{ prefix, file string }

// protocolSources has the protocols of BIRD 2.13 to 3.3 by the name that they
// show. In all of these releases each hook is called prefix_member.
var protocolSources = map[string]protocolSource{
	"Aggregator": {"aggregator", "proto/aggregator/aggregator.c"},
	"BFD":        {"bfd", "proto/bfd/bfd.c"},
	"BGP":        {"bgp", "proto/bgp/bgp.c"},
	"BMP":        {"bmp", "proto/bmp/bmp.c"},
	"Babel":      {"babel", "proto/babel/babel.c"},
	"Bridge":     {"kbr", "proto/bridge/bridge.c"},
	"Device":     {"kif", "sysdep/unix/krt.c"},
	"Direct":     {"dev", "nest/rt-dev.c"},
	"EVPN":       {"evpn", "proto/evpn/evpn.c"},
	"Kernel":     {"krt", "sysdep/unix/krt.c"},
	"L3VPN":      {"l3vpn", "proto/l3vpn/l3vpn.c"},
	"MRT":        {"mrt", "proto/mrt/mrt.c"},
	"OSPF":       {"ospf", "proto/ospf/ospf.c"},
	"Perf":       {"perf", "proto/perf/perf.c"},
	"Pipe":       {"pipe", "proto/pipe/pipe.c"},
	"RAdv":       {"radv", "proto/radv/radv.c"},
	"RIP":        {"rip", "proto/rip/rip.c"},
	"RPKI":       {"rpki", "proto/rpki/rpki.c"},
	"Static":     {"static", "proto/static/static.c"},
}

// otherFiles are the hooks that are not in their protocol's main file.
var otherFiles = map[string]string{
	"bgp_get_attr":       "proto/bgp/attrs.c",
	"bgp_get_route_info": "proto/bgp/attrs.c",
}

// hook is a function that a protocol's table names.
type hook struct{ name, file string }

// hooks returns the protocols' hooks by address. A function that two tables or
// members have is left out: the linker may have folded two functions into one.
func hooks(protocols []structure.Protocol) map[uint64]hook {
	found := make(map[uint64]hook)
	shared := make(map[uint64]bool)
	for _, p := range protocols {
		source, ok := protocolSources[p.Name]
		if !ok {
			continue
		}
		for member, at := range p.Hooks {
			h := hook{name: source.prefix + "_" + member, file: source.file}
			if other := otherFiles[h.name]; other != "" {
				h.file = other
			}
			if _, ok := found[at]; ok {
				shared[at] = true
			}
			found[at] = h
		}
	}
	for at := range shared {
		delete(found, at)
	}
	return found
}
