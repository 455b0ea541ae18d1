// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"leakprof/profiler/terminal"
)

// say writes one line for people, beside what a command prints. What it quotes
// may be of the process that is looked at.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "leakprof: %s\n", terminal.Line(fmt.Sprintf(format, args...)))
}
