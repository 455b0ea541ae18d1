// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/profiler/doctor"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

type doctorFlags struct {
	pid     string
	bmp     string
	control string
	json    bool
	cost    bool
	plan    plan.Options
}

func doctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor [--pid PID]",
		Short: "Say what attach needs and has here",
		Long: `Checks one by one what attach needs of the machine, and with --pid of that BIRD.
Each line says whether it works, works at a cost or within a limit, or does not,
and then the command that mends it. Programs are loaded and a probe is placed
for a moment, in leakprof itself; BIRD is only read, and asked on its control
socket. The exit status is 0 only if attach would do its whole job.

With --probe-cost it measures instead, in some seconds and a process of its own,
what a hit of a probe costs here on each kind of instruction. That is kept in
the user's cache directory ($XDG_CACHE_HOME/leakprof/probe-cost.json) for this
kernel and CPU: attach and plan then choose by it where a probe is put, and
reckon with it what probes cost.`,
		Example: `  leakprof doctor
  leakprof doctor --pid bird
  leakprof doctor --pid bird --json
  leakprof doctor --probe-cost`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runDoctor(c.Context(), c.OutOrStdout(), &f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.pid, "pid", "", pidHelp)
	flags.StringVar(&f.bmp, "bmp", bmp.DefaultAddr.String(), "attach would run the BMP station at `ADDR`; \"\" for none")
	flags.StringVar(&f.control, "birdc", "", "BIRD's control `SOCKET` (default: as on BIRD's command line, else the usual places); \"none\" for none")
	flags.Var(&f.plan.Mode, "mode", "how closely attach would follow BIRD: exact, pages, walk (no probe, so that it takes no BPF) or auto")
	flags.BoolVar(&f.plan.LinpoolObjects, "linpool-objects", false, "attach would follow each object in linpools")
	flags.BoolVar(&f.cost, "probe-cost", false, "measure what probes cost on this machine, for attach and plan")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("probe-cost", "pid")
	return c
}

func runDoctor(ctx context.Context, stdout io.Writer, f *doctorFlags) error {
	if f.cost {
		return measureProbeCost(ctx, stdout, f.json)
	}
	var station netip.AddrPort
	if f.bmp != "" {
		var err error
		if station, err = netip.ParseAddrPort(f.bmp); err != nil {
			return usageError{fmt.Errorf("--bmp %q: want an address and port such as 127.0.0.1:11019", f.bmp)}
		}
	}
	pid := 0
	if f.pid != "" {
		var err error
		if pid, err = findPID(f.pid); err != nil {
			return err
		}
	}
	facts := doctor.Facts{Machine: doctor.ReadMachine(f.plan.Mode)}
	if pid > 0 {
		f.plan.Costs = measuredCosts()
		facts.Target = doctor.ReadTarget(pid, f.plan)
		if facts.Target.Known() {
			facts.Target.Sessions = whoTells(ctx, pid, f.control, station)
		}
	}
	checks := doctor.Examine(facts)
	write := doctor.WriteText
	if f.json {
		write = doctor.WriteJSON
	}
	if err := write(stdout, checks); err != nil {
		return err
	}
	return doctor.Verdict(checks)
}

// answerPatience is how long a BIRD may take to answer on its control socket.
const answerPatience = 10 * time.Second

// whoTells finds out who would tell attach of BIRD's sessions.
func whoTells(ctx context.Context, pid int, control string, station netip.AddrPort) (s doctor.Sessions) {
	if station.IsValid() {
		s.Station, s.Listen = station.String(), canBind(station)
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	c, err := askedControl(ctx, pid, control)
	if err != nil {
		s.Control = err
		return s
	}
	defer c.Close()
	protocols, err := c.ShowProtocols(ctx)
	if err != nil {
		s.Control = err
		return s
	}
	s.Socket, s.Version = c.Path(), c.Version()
	for _, p := range protocols {
		if p.Proto == "BMP" {
			// One that does not say where its station is, as before 2.19, is one
			// all the same.
			lines, _ := c.ProtocolDetails(ctx, p.Name)
			s.Stations = append(s.Stations, stationIn(lines))
		}
	}
	return s
}

// askedControl connects to the control socket that attach would use.
func askedControl(ctx context.Context, pid int, path string) (*birdc.Conn, error) {
	switch path {
	case "none":
		return nil, errors.New("as asked for by --birdc none")
	case "":
	default:
		return birdc.Dial(ctx, path)
	}
	p, err := target.Open(pid)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return findControl(ctx, p)
}

// stationIn is the address in the lines of "show protocols all" for a BMP
// protocol (2.19 and later), "" if they do not say it.
func stationIn(lines []string) string {
	var address, port string
	for _, line := range lines {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "Station address":
			address = strings.TrimSpace(value)
		case "Station port":
			port = strings.TrimSpace(value)
		}
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	var number uint16
	if _, err := fmt.Sscan(port, &number); err != nil {
		return ""
	}
	return netip.AddrPortFrom(a, number).String()
}

// canBind says why nobody can listen at an address. It binds only: a BIRD that
// looks for its station would take a connection for the station's.
func canBind(a netip.AddrPort) error {
	family, address := unix.AF_INET, unix.Sockaddr(nil)
	if ip := a.Addr().Unmap(); ip.Is4() {
		address = &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	} else {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", a, err)
	}
	defer unix.Close(fd)
	// As net.Listen does; a socket that listens is in the way all the same.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("listen at %s: %w", a, err)
	}
	if err := unix.Bind(fd, address); err != nil {
		return fmt.Errorf("listen at %s: %w", a, err)
	}
	return nil
}
