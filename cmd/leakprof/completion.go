// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

// flagValues are what flags take that take one of a few words, for the shells'
// completion. A word that ends with = or @ goes on.
var flagValues = map[string][]string{
	"drop":    {"notification", "reset", "silence"},
	"mode":    {"exact", "pages", "walk", "auto"},
	"preset":  {"report"},
	"speed":   {"max", "real"},
	"station": {"normal", "slow=", "stall", "stall="},
}

// labStation are what --station of lab takes besides: it knows phases.
var labStation = []string{"stall@", "close@"}

// phases are the names that mark knows.
var phases = []string{"baseline", "flooding", "flooded", "dropping", "settled", "running"}

// completeWords has shells complete words where words are wanted, and
// directories where those are. Elsewhere they offer files.
func completeWords(root *cobra.Command) error {
	for _, c := range root.Commands() {
		for name, words := range flagValues {
			if c.Flags().Lookup(name) == nil {
				continue
			}
			directive := cobra.ShellCompDirectiveNoFileComp
			if name == "station" {
				directive |= cobra.ShellCompDirectiveNoSpace
				if c.Name() == "lab" {
					words = append(labStation, words...)
				}
			}
			if err := c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, directive)); err != nil {
				return err
			}
		}
		switch c.Name() {
		case "report", "diff", "bundle", "man":
			c.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		case "mark":
			c.ValidArgsFunction = cobra.FixedCompletions(phases, cobra.ShellCompDirectiveNoFileComp)
		}
		if c.Name() != "bundle" && c.Flags().Lookup("out") != nil {
			if err := c.MarkFlagDirname("out"); err != nil {
				return err
			}
		}
	}
	return nil
}
