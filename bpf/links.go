// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// group is what one uprobe_multi link can hold: one program, one file; and of
// one function, so that its probes can be taken off alone.
type group struct {
	path     string
	function string
	program  *ebpf.Program
	ret      bool
	offsets  []uint64
	cookies  []uint64
}

// addTo adds a place to the group that it belongs to.
func addTo(groups *[]*group, to group, offset, cookie uint64) {
	for _, g := range *groups {
		if g.path == to.path && g.program == to.program && g.function == to.function {
			g.offsets, g.cookies = append(g.offsets, offset), append(g.cookies, cookie)
			return
		}
	}
	to.offsets, to.cookies = []uint64{offset}, []uint64{cookie}
	*groups = append(*groups, &to)
}

// placeGroup places the probes of a group: in one link, or in one perf event
// each. With an error there may be links too.
func placeGroup(pid int, g *group, multi bool) ([]link.Link, error) {
	ex, err := link.OpenExecutable(g.path)
	if err != nil {
		return nil, err
	}
	if multi {
		attach := ex.UprobeMulti
		if g.ret {
			attach = ex.UretprobeMulti
		}
		l, err := attach(nil, g.program, &link.UprobeMultiOptions{Addresses: g.offsets, Cookies: g.cookies, PID: uint32(pid)})
		if err != nil {
			return nil, err
		}
		return []link.Link{l}, nil
	}
	var links []link.Link
	for i, off := range g.offsets {
		attach := ex.Uprobe
		if g.ret {
			attach = ex.Uretprobe
		}
		l, err := attach("", g.program, &link.UprobeOptions{Address: off, Cookie: g.cookies[i], PID: pid})
		if err != nil {
			return links, err
		}
		links = append(links, l)
	}
	return links, nil
}

// closeAll closes links at once: for each the kernel waits until nobody runs its
// program any more.
func closeAll(links []link.Link) error {
	errs := make([]error, len(links))
	var all sync.WaitGroup
	for i, l := range links {
		all.Go(func() { errs[i] = l.Close() })
	}
	all.Wait()
	return errors.Join(errs...)
}
