// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"leakprof/collector/birdc"
	"leakprof/profiler/target"
)

// usualSockets are where BIRD's control socket is by default: of Debian's
// packages, and of a build from source.
var usualSockets = []string{"/run/bird/bird.ctl", "/var/run/bird.ctl", "/run/bird.ctl", "/usr/local/var/run/bird.ctl"}

// dialControl connects to the control socket that the user named, or to the
// one found. None is no error: then BMP alone tells what goes on.
func dialControl(ctx context.Context, p *target.Process, path string) (*birdc.Conn, error) {
	switch path {
	case "none":
		return nil, nil
	case "":
	default:
		return birdc.Dial(ctx, path)
	}
	c, err := findControl(ctx, p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "leakprof: no control socket (%v); name it with --birdc SOCKET for `show memory` and route counts\n", err)
	}
	return c, nil
}

// findControl connects to the control socket on BIRD's command line, or else to
// its own at a usual place.
func findControl(ctx context.Context, p *target.Process) (*birdc.Conn, error) {
	args, err := p.CommandLine()
	if err != nil {
		return nil, err
	}
	candidates := usualSockets
	if s := socketArgument(args); s != "" {
		candidates = []string{s}
	}
	var last error
	for _, s := range candidates {
		// Several BIRDs may run here; the usual place may be another one's.
		if has, err := p.HasSocket(s); err != nil || !has {
			last = errors.Join(err, fmt.Errorf("pid %d has none at %s", p.PID, s))
			continue
		}
		var c *birdc.Conn
		if c, last = dialIn(ctx, p, s); last == nil {
			return c, nil
		}
	}
	return nil, last
}

// dialIn connects to a socket by the name that the process knows it by, in its
// root.
func dialIn(ctx context.Context, p *target.Process, name string) (*birdc.Conn, error) {
	s, err := p.OpenSocket(name)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return birdc.DialAs(ctx, s.Path(), s.Name)
}

// socketArgument returns the argument of BIRD's option -s, or "".
func socketArgument(args []string) string {
	for i, a := range args {
		if a == "-s" && i+1 < len(args) {
			return args[i+1]
		}
		if len(a) > 2 && a[:2] == "-s" {
			return a[2:]
		}
	}
	return ""
}
