// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestPlatform: what looks into a process is refused elsewhere than on x86-64,
// with the reason in one line; reports can be read anywhere.
func TestPlatform(t *testing.T) {
	root := &cobra.Command{Use: "leakprof"}
	root.AddCommand(attachCommand(), doctorCommand(), labCommand(), planCommand(), treeCommand())
	refused := len(root.Commands())
	root.AddCommand(bmpCommand(), bundleCommand(), diffCommand(), manCommand(), markCommand(), meterCommand(), reportCommand(), versionCommand())
	for _, c := range root.Commands() {
		if err := checkPlatform(c, "amd64"); err != nil {
			t.Errorf("%s: %v on amd64", c.Name(), err)
		}
	}
	n := 0
	for _, c := range root.Commands() {
		err := checkPlatform(c, "arm64")
		if err == nil {
			continue
		}
		n++
		for _, want := range []string{c.Name(), "x86-64", "arm64", ".eh_frame"} {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %q does not say %q in one line", c.Name(), err, want)
			}
		}
	}
	if n != refused {
		t.Errorf("%d commands are refused on arm64, want %d", n, refused)
	}
	if err := checkPlatform(root, "arm64"); err != nil {
		t.Errorf("leakprof itself: %v", err)
	}
	sub := &cobra.Command{Use: "bash"}
	completion := &cobra.Command{Use: "completion"}
	completion.AddCommand(sub)
	root.AddCommand(completion)
	if err := checkPlatform(sub, "arm64"); err != nil {
		t.Errorf("completion bash: %v", err)
	}
	asked := &cobra.Command{Use: "__complete [command-line]"}
	root.AddCommand(asked)
	if err := checkPlatform(asked, "arm64"); err != nil {
		t.Errorf("completing: %v", err)
	}
}
