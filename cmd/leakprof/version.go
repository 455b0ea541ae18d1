// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"leakprof/bpf"
)

// Both are set by the linker (see the Makefile).
var (
	version = "unknown"
	commit  = ""
)

// versionJSON is the document of leakprof version --json.
type versionJSON struct {
	Version    string          `json:"version"`
	Commit     string          `json:"commit"` // Git's full hash, or "unknown"
	Go         string          `json:"go"`
	Platform   string          `json:"platform"` // GOOS/GOARCH
	BPFObjects []bpfObjectJSON `json:"bpf_objects"`
}

type bpfObjectJSON struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

func versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Prints the version, the commit that it was built from, and the SHA-256 of each
BPF object that it loads into the kernel.`,
		Example: `  leakprof version
  leakprof version --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return writeVersion(c.OutOrStdout(), versionOf(debug.ReadBuildInfo()), asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// versionOf tells the commit by the linker's word, or by what go build noted.
func versionOf(info *debug.BuildInfo, ok bool) versionJSON {
	v := versionJSON{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if v.Commit == "" && ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	for _, o := range bpf.Objects() {
		v.BPFObjects = append(v.BPFObjects, bpfObjectJSON{o.Name, hex.EncodeToString(o.SHA256[:])})
	}
	return v
}

func writeVersion(out io.Writer, v versionJSON, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	text := fmt.Sprintf("leakprof %s\ncommit %s\n%s %s\n", v.Version, v.Commit, v.Go, v.Platform)
	for _, o := range v.BPFObjects {
		text += fmt.Sprintf("%s sha256:%s\n", o.Name, o.SHA256)
	}
	_, err := io.WriteString(out, text)
	return err
}
