// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand writes the man pages of all commands. It is for whoever packs
// leakprof, so that no list shows it.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages",
		Hidden:  true,
		Example: "  leakprof man /usr/local/share/man/man1",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("one DIR is needed: leakprof man DIR")}
			}
			date, err := manDate()
			if err != nil {
				return err
			}
			return writeManPages(args[0], c.Root(), date)
		},
	}
}

// manDate is the date of the pages: SOURCE_DATE_EPOCH where that is set
// (reproducible-builds.org/specs/source-date-epoch), so that two builds of one
// commit give the same bytes, and else today.
func manDate() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Now().UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read SOURCE_DATE_EPOCH: %q is no number of seconds", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// writeManPages writes one page for each command that help lists into dir,
// which must exist.
func writeManPages(dir string, root *cobra.Command, date time.Time) error {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var write func(c *cobra.Command) error
	write = func(c *cobra.Command) error {
		path := filepath.Join(dir, manName(c)+".1")
		if err := os.WriteFile(path, []byte(manPage(c, date)), 0o644); err != nil {
			return fmt.Errorf("write man page: %w", err)
		}
		for _, sub := range c.Commands() {
			// The shells' scripts explain themselves where they are asked for.
			if sub.IsAvailableCommand() && c.Name() != "completion" {
				if err := write(sub); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return write(root)
}

// manName is a command's name as that of a man page: leakprof-attach.
func manName(c *cobra.Command) string {
	return strings.ReplaceAll(c.CommandPath(), " ", "-")
}

// manPage writes the page of a command in the macros of man(7), as groff and
// mandoc take them.
func manPage(c *cobra.Command, date time.Time) string {
	c.InitDefaultHelpFlag()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 %s %s\n", roff(strings.ToUpper(manName(c))), date.Format(time.DateOnly), manQuote("leakprof "+version))
	// A flag that is parted at its hyphen cannot be pasted.
	b.WriteString(".nh\n.ad l\n")
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n")
	if c.Runnable() {
		fmt.Fprintf(&b, "%s\n", roff(c.UseLine()))
	} else {
		fmt.Fprintf(&b, "%s COMMAND [flags]\n", roff(c.CommandPath()))
	}
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n")
	manText(&b, long)
	manCommands(&b, c)
	manFlags(&b, "OPTIONS", c.NonInheritedFlags())
	manFlags(&b, "OPTIONS OF ALL COMMANDS", c.InheritedFlags())
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		manVerbatim(&b, strings.Split(strings.Trim(c.Example, "\n"), "\n"))
	}
	if !c.HasParent() {
		b.WriteString(".SH EXIT STATUS\n")
		for _, s := range []struct {
			status int
			means  string
		}{
			{exitDone, "Done."},
			{exitError, "Error."},
			{exitUsage, "Wrong usage."},
			{exitRetained, "More was retained than --fail-on-retained allows, or it cannot be told."},
		} {
			fmt.Fprintf(&b, ".TP\n%d\n%s\n", s.status, roff(s.means))
		}
	}
	manSeeAlso(&b, c)
	return b.String()
}

// manCommands lists the commands below c.
func manCommands(b *strings.Builder, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	b.WriteString(".SH COMMANDS\n")
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(sub.Name()), roff(sub.Short+"."))
		}
	}
}

// manFlags lists flags under a heading of their own.
func manFlags(b *strings.Builder, heading string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", heading)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(b, "\\fB\\-%s\\fR, ", roff(f.Shorthand))
		}
		fmt.Fprintf(b, "\\fB\\-\\-%s\\fR", roff(f.Name))
		switch {
		case value != "" && f.NoOptDefVal != "":
			fmt.Fprintf(b, "[=\\fI%s\\fR]", roff(value))
		case value != "":
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		switch f.DefValue {
		case "", "0", "0s", "false", "[]":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "\n%s\n", roff(usage))
	})
}

// manSeeAlso names the pages above and below c.
func manSeeAlso(b *strings.Builder, c *cobra.Command) {
	var pages []*cobra.Command
	if c.HasParent() {
		pages = append(pages, c.Parent())
	}
	if c.Name() != "completion" {
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				pages = append(pages, sub)
			}
		}
	}
	var names []string
	for _, p := range pages {
		names = append(names, fmt.Sprintf("\\fB%s\\fR(1)", roff(manName(p))))
	}
	if len(names) > 0 {
		fmt.Fprintf(b, ".SH SEE ALSO\n%s\n", strings.Join(names, ",\n"))
	}
}

// manText writes paragraphs, which blank lines part. Those with a table in
// them, whose columns two blanks part, stay as they are.
func manText(b *strings.Builder, text string) {
	for i, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		lines := strings.Split(paragraph, "\n")
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.Contains(paragraph, "  ") {
			manVerbatim(b, lines)
			continue
		}
		for _, line := range lines {
			b.WriteString(roff(line) + "\n")
		}
	}
}

// manVerbatim writes lines that are not to be filled.
func manVerbatim(b *strings.Builder, lines []string) {
	b.WriteString(".nf\n")
	for _, line := range lines {
		b.WriteString(roff(line) + "\n")
	}
	b.WriteString(".fi\n")
}

// manQuote is roff for an argument of a macro.
func manQuote(s string) string {
	return `"` + strings.ReplaceAll(roff(s), `"`, `\(dq`) + `"`
}

// roff escapes text for roff: characters that it would take for its own
// requests, or would print as typographic ones, which nobody can paste into a
// shell (groff_char(7), "Keyboard"), and all that is not ASCII.
func roff(s string) string {
	var b strings.Builder
	// A control character is one only at the start of a line.
	if strings.HasPrefix(s, ".") {
		b.WriteString(`\&`)
	}
	for _, r := range s {
		switch r {
		case '\\':
			b.WriteString(`\e`)
		case '-':
			b.WriteString(`\-`)
		case '\'':
			b.WriteString(`\(aq`)
		case '`':
			b.WriteString(`\(ga`)
		case '^':
			b.WriteString(`\(ha`)
		case '~':
			b.WriteString(`\(ti`)
		case '\n':
			b.WriteByte(' ')
		default:
			if r > 0x7e {
				fmt.Fprintf(&b, `\[u%04X]`, r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}
