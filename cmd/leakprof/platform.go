// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/spf13/cobra"
)

// anywhere are the commands that look into no process. All others read code,
// unwind tables, registers and thread pointers as those of x86-64.
var anywhere = []string{
	"bmp", "bundle", "completion", "diff", "help", "man", "mark", "meter", "report", "version",
	cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd, // what a shell asks for completions
}

// checkPlatform refuses a command that cannot do its job on this architecture
// (a GOARCH).
func checkPlatform(c *cobra.Command, arch string) error {
	for c.HasParent() && c.Parent().HasParent() {
		c = c.Parent()
	}
	if arch == "amd64" || !c.HasParent() || slices.Contains(anywhere, c.Name()) {
		return nil
	}
	return fmt.Errorf("leakprof %s works on x86-64 only, and this is %s/%s: it walks stacks by the rules (.eh_frame) and registers of x86-64, and plans probes by decoding its instructions; report, diff, bundle and bmp work here", c.Name(), runtime.GOOS, arch)
}
