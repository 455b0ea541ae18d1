// SPDX-License-Identifier: Apache-2.0

package structure

import "strings"

// Protocol is a routing protocol's table of hooks: struct protocol of BIRD's
// nest/protocol.h.
type Protocol struct {
	Name    string // as BIRD shows it: "BGP", "BMP", ...
	Address uint64 // ELF virtual address
	// Hooks are the functions by the name of their member ("start", ...), ELF
	// virtual addresses; those that are absent are left out.
	Hooks map[string]uint64
}

// Offsets in struct protocol, bytes. BIRD 2.13 to 3.3 agree on them: a list
// node, two names, six numbers of 32 bits, hooks.
const (
	protocolName     = 16
	protocolTemplate = 24
	protocolNumbers  = 32
	protocolHooks    = 56
)

// protocolSlots are the hooks in the order of the struct.
var protocolSlots = []string{
	"preconfig", "postconfig", "init", "reconfigure", "dump", "start", "shutdown", "cleanup", "get_status",
}

// The slots behind protocolSlots: BIRD 3 took two out.
var (
	protocolSlots2 = []string{"get_route_info", "get_attr", "show_proto_info", "copy_config"}
	protocolSlots3 = []string{"show_proto_info", "copy_config"}
)

// largestProtocol bounds the size of a protocol's instance and of its
// configuration, bytes: BMP's, the largest, has a buffer of 65 kB in it.
const largestProtocol = 1 << 20

// findProtocols looks for what has the shape of a struct protocol: a name; the
// template of instances' names, which ends in "%d"; numbers, the last two of
// which are sizes; and functions, among them init, which every protocol has.
// third says that it is a BIRD 3.
func (p *program) findProtocols(third bool) (found []Protocol) {
	slots := append(protocolSlots[:len(protocolSlots):len(protocolSlots)], protocolSlots2...)
	if third {
		slots = append(slots[:len(protocolSlots)], protocolSlots3...)
	}
	for _, word := range p.pointerWords() {
		if proto, ok := p.protocolAt(word-protocolName, slots); ok {
			found = append(found, proto)
		}
	}
	return found
}

func (p *program) protocolAt(at uint64, slots []string) (Protocol, bool) {
	name, ok := p.textBehind(at + protocolName)
	template, ok2 := p.textBehind(at + protocolTemplate)
	if !ok || !ok2 || !strings.HasSuffix(template, "%d") || strings.ContainsAny(name, " %") {
		return Protocol{}, false
	}
	for off := uint64(protocolNumbers); off < protocolHooks; off += 8 {
		if _, ok := p.plain(at + off); !ok {
			return Protocol{}, false
		}
	}
	sizes, _ := p.plain(at + protocolHooks - 8)
	if size, config := uint32(sizes), sizes>>32; size == 0 || size > largestProtocol || config == 0 || config > largestProtocol {
		return Protocol{}, false
	}
	proto := Protocol{Name: name, Address: at, Hooks: make(map[string]uint64)}
	for i, slot := range slots {
		word := at + protocolHooks + 8*uint64(i)
		if to, ok := p.pointer(word); ok && to != 0 {
			if !p.starts[to] {
				return Protocol{}, false
			}
			proto.Hooks[slot] = to
		} else if w, ok := p.plain(word); !ok || w != 0 {
			return Protocol{}, false
		}
	}
	return proto, proto.Hooks["init"] != 0
}

// textBehind returns the string that the pointer at an address points to.
func (p *program) textBehind(word uint64) (string, bool) {
	to, ok := p.pointer(word)
	if !ok {
		return "", false
	}
	return p.text(to)
}
