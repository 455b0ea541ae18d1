// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"leakprof/collector/birdc"
	"leakprof/profiler/target"
)

// usualSockets are where BIRD's control socket is by default: of Debian's
// packages, and of a build from source.
var usualSockets = []string{"/run/bird/bird.ctl", "/var/run/bird.ctl", "/run/bird.ctl", "/usr/local/var/run/bird.ctl"}

// greetingPatience bounds how long a busy BIRD may take to greet.
const greetingPatience = 30 * time.Second

// dialControl connects to the control socket that the user named, or to the
// one found. None is no error: then BMP alone tells what goes on.
func dialControl(ctx context.Context, p *target.Process, path string) (*birdc.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, greetingPatience, fmt.Errorf("no greeting in %v", greetingPatience))
	defer cancel()
	switch path {
	case "none":
		return nil, nil
	case "":
	default:
		return birdc.Dial(ctx, path)
	}
	c, err := findControl(ctx, p)
	if err != nil {
		say(os.Stderr, "no control socket (%v); name it with --birdc SOCKET for `show memory` and route counts", err)
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
	if s, local := birdArgument(args, 's'); s != "" {
		candidates = []string{s}
	} else if local {
		candidates = []string{"bird.ctl"}
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

// birdArgument returns the argument of one of BIRD's options that has one, ""
// where it is not given, and whether BIRD was started with -l: relative to its
// working directory.
func birdArgument(args []string, option byte) (value string, local bool) {
	// All that have one, since BIRD 2.0 (opt_list, sysdep/unix/main.c).
	const withArgument = "cDsPug"
	for i := 1; i < len(args); i++ {
		a := args[i]
		if a == "--" || a == "" || a[0] != '-' {
			break // getopt(3)
		}
		for j := 1; j < len(a); j++ {
			local = local || a[j] == 'l'
			if strings.IndexByte(withArgument, a[j]) < 0 {
				continue
			}
			argument := a[j+1:]
			if argument == "" && i+1 < len(args) {
				i++
				argument = args[i]
			}
			if a[j] == option {
				value = argument
			}
			break
		}
	}
	return value, local
}
