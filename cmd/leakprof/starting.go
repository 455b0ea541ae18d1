// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"leakprof/collector/birdc"
	"leakprof/profiler/target"
)

// starting is for how long after its start a BIRD may have no control socket: it
// opens one when it has read its configuration.
const starting = 10 * time.Second

// awaitControl is dialControl for a BIRD that may have just started.
func awaitControl(ctx context.Context, p *target.Process, path string) (*birdc.Conn, error) {
	for ; path != "none" && ctx.Err() == nil && p.Alive(); sleep(ctx, lookout) {
		if age, err := p.Age(); err != nil || age > starting {
			break
		}
		c, err := tryControl(ctx, p, path)
		if err == nil {
			return c, nil
		} else if errors.Is(err, fs.ErrPermission) {
			break
		}
	}
	return dialControl(ctx, p, path)
}

func tryControl(ctx context.Context, p *target.Process, path string) (*birdc.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, greetingPatience)
	defer cancel()
	if path != "" {
		return birdc.Dial(ctx, path)
	}
	return findControl(ctx, p)
}
