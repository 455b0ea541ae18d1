// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"leakprof/profiler/bird"
	"leakprof/profiler/plan"
	"leakprof/profiler/symbol"
)

func (t *Target) checks(m *Machine) []Check {
	name := fmt.Sprintf("pid %d", t.PID)
	for _, err := range []error{t.Read, t.Files} {
		if err != nil {
			return []Check{fails(name, "", "%s", err)}
		}
	}
	if t.BIRD != nil {
		remedy := ""
		if errors.Is(t.BIRD, bird.ErrNotBIRD) {
			remedy = "give the pid of BIRD, as in --pid bird"
		}
		return []Check{fails(name, remedy, "%s: %s", t.Exe, t.BIRD)}
	}
	if t.Stopped {
		return []Check{fails(name, fmt.Sprintf("kill -CONT %d", t.PID), "%s is stopped", t.Exe)}
	}
	checks := []Check{works(name, "%s can be read", t.Exe), t.bird()}
	if len(t.Replaced) > 0 {
		checks = append(checks, t.files())
	}
	checks = append(checks, t.plan(m))
	if !m.Walk {
		checks = append(checks, t.sources(), t.room(m))
	}
	checks = append(checks, t.sessions()...)
	return append(checks, t.namespaces())
}

func (t *Target) bird() Check {
	version := t.Sessions.Version
	if version == "" {
		version = fmt.Sprint(int(t.Generation))
	}
	if t.BuildID == "" {
		return limited("BIRD", "link BIRD with -Wl,--build-id", "BIRD %s without a build ID: its file is told by its path alone", version)
	}
	return works("BIRD", "BIRD %s, build ID %s", version, t.BuildID)
}

// files are those that an upgrade has replaced.
func (t *Target) files() Check {
	const most = 8
	names := strings.Join(t.Replaced[:min(len(t.Replaced), most)], ", ")
	if n := len(t.Replaced) - most; n > 0 {
		names += fmt.Sprintf(" and %d more", n)
	}
	if len(t.Replaced) == 1 {
		return limited("file", "", "%s was replaced or deleted while BIRD runs; leakprof reads the one that runs", names)
	}
	return limited("files", "", "%s were replaced or deleted while BIRD runs; leakprof reads those that run", names)
}

func (t *Target) plan(m *Machine) Check {
	if errors.Is(t.Plan, plan.ErrForeignAllocator) {
		return fails("plan", "run BIRD without LD_PRELOAD, linked to glibc dynamically", "%s", t.Plan)
	} else if t.Plan != nil {
		return fails("plan", "", "%s; or follow what can be followed with --partial", t.Plan)
	}
	if m.Walk {
		return works("plan", "nothing is probed: what BIRD holds is read from its memory at the end of each phase")
	}
	return works("plan", "%d places to probe; all that the mode asks for is followed", t.Sites)
}

func (t *Target) sources() Check {
	const name = "names"
	remedy := "install BIRD's package of debug symbols, or build it with -g"
	if t.Fetch != "" {
		remedy = t.Fetch
	}
	var from, unusable string
	if t.DebugFile != "" {
		from = " of " + t.DebugFile
	}
	if t.Debug != nil {
		unusable = fmt.Sprintf(" (%s)", t.Debug)
	}
	switch {
	case t.DWARF == nil:
		return works(name, "functions, files, lines and inlined calls, by DWARF%s", from)
	case !errors.Is(t.DWARF, symbol.ErrNoDWARF):
		return limited(name, "", "not all functions and lines: %s%s", t.DWARF, unusable)
	case t.Symbols:
		return limited(name, remedy, "functions by symbols%s; no lines and no inlined calls%s", from, unusable)
	}
	return limited(name, remedy, "BIRD is stripped, and no debug file for it is here%s: functions by structure, and source files where BIRD was built without link-time optimisation; else offsets", unusable)
}

func (t *Target) room(m *Machine) Check {
	const name, more = "live set", "give it more with --max-memory SIZE"
	budget := m.Memory.Budget
	switch {
	case t.Need == 0:
		return limited(name, "", "what BIRD holds now cannot be told; up to %s may be used", size(budget))
	case t.Need > budget:
		return fails(name, more, "what BIRD holds now takes about %s, and %s may be used", size(t.Need), size(budget))
	case t.Need > budget/4:
		return limited(name, more, "what BIRD holds now takes about %s of %s: there is room for %.1f times that", size(t.Need), size(budget), float64(budget)/float64(t.Need))
	}
	return works(name, "what BIRD holds now takes about %s of %s", size(t.Need), size(budget))
}

// sessions are the control socket and BMP: either tells of sessions, and without
// both there is nobody who does.
func (t *Target) sessions() []Check {
	s := t.Sessions
	station := s.station()
	if station.State != Fails && t.Elsewhere["net"] && s.loopback() {
		station = limited("BMP", fmt.Sprintf("nsenter --net=/proc/%d/ns/net leakprof attach --pid %d", t.PID, t.PID),
			"BIRD has a network namespace of its own, and does not reach a station at our %s", s.Station)
	}
	const name = "control socket"
	control := works(name, "%s", s.Socket)
	if s.Socket == "" {
		remedy := "name it with --birdc SOCKET"
		if errors.Is(s.Control, fs.ErrPermission) {
			remedy = "run as a member of its group, as with sg bird, or with CAP_DAC_OVERRIDE"
		}
		control = limited(name, remedy, "none%s: no `show memory` to compare with, and no route counts", because(s.Control))
		if station.State != Works {
			control = fails(name, remedy+", or configure a BMP station", "none%s: nobody tells of BGP sessions but leakprof mark", because(s.Control))
		}
	}
	return []Check{control, station}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(" (%s)", err)
}

func (s *Sessions) station() Check {
	const name = "BMP"
	if s.Station == "" {
		return limited(name, "", "no station: phases are told by the control socket alone")
	}
	if s.Listen != nil {
		return fails(name, "choose another address with --bmp ADDR, or none with --bmp \"\"", "%s", s.Listen)
	}
	configure := "configure its station at " + s.Station
	if a, err := netip.ParseAddrPort(s.Station); err == nil {
		configure = fmt.Sprintf("protocol bmp { station address ip %s port %d; monitoring rib in pre_policy; }", a.Addr(), a.Port())
	}
	switch {
	case s.Socket == "":
		return limited(name, configure, "without the control socket it cannot be told whether BIRD has a station at %s", s.Station)
	case len(s.Stations) == 0:
		return limited(name, configure, "BIRD has no protocol bmp: phases are told by the control socket, and no BMP messages are counted")
	case slices.Contains(s.Stations, s.Station):
		return works(name, "BIRD has a station at %s", s.Station)
	case slices.Contains(s.Stations, ""):
		return limited(name, configure, "BIRD has a protocol bmp, and does not say to which station; it should be %s", s.Station)
	}
	return limited(name, "leakprof attach --bmp "+s.Stations[0], "BIRD's station is at %s, and not at %s", strings.Join(s.Stations, ", "), s.Station)
}

// loopback says whether our station is where only our network namespace is.
func (s *Sessions) loopback() bool {
	a, err := netip.ParseAddrPort(s.Station)
	return err == nil && a.Addr().IsLoopback()
}

// namespaces are seen through, but for the network: see sessions.
func (t *Target) namespaces() Check {
	var theirs []string
	for _, n := range namespaces {
		if t.Elsewhere[n.file] {
			theirs = append(theirs, n.name)
		}
	}
	if len(theirs) == 0 {
		return works("namespaces", "all are ours")
	}
	return works("namespaces", "BIRD has its own: %s; leakprof sees through", strings.Join(theirs, ", "))
}
