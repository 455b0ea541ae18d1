// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"bufio"
	"fmt"
	"io"
)

// WriteText writes the account as a table for people.
func (a *Account) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	if !a.Quiet {
		fmt.Fprintf(out, "not of one moment: %s\n", a.Why)
	}
	width := len("  of it our control connection")
	if len(a.Lines) > 0 {
		fmt.Fprintf(out, "%-*s  %21s  %21s\n", width, "", "effective", "overhead")
		fmt.Fprintf(out, "%-*s  %10s %10s  %10s %10s\n", width, "show memory", "BIRD", "ours", "BIRD", "ours")
	}
	for _, l := range a.Lines {
		fmt.Fprintf(out, "%-*s  %10s %10s", width, l.Name, amount(&l.BirdEffective), amount(l.OursEffective))
		if l.BirdOverhead != nil {
			fmt.Fprintf(out, "  %10s %10s", amount(l.BirdOverhead), amount(l.OursOverhead))
		} else {
			fmt.Fprintf(out, "  %10s %10s", "", "")
		}
		switch {
		case l.WithinRounding == nil:
			fmt.Fprint(out, "  not known")
		case *l.WithinRounding:
			fmt.Fprint(out, "  equal")
		default:
			fmt.Fprintf(out, "  differs by %+d B", l.Difference)
		}
		fmt.Fprintln(out)
		if l.Name == totalLine {
			fmt.Fprintf(out, "%-*s  %10s %10s  %10s %10s\n", width, "  of it our control connection", "", amount(&a.Control.Effective), "", amount(&a.Control.Overhead))
		}
	}
	if a.FreePages != "" {
		fmt.Fprintf(out, "free pages are not known: %s\n", a.FreePages)
	}
	if a.MissedReturns > 0 {
		fmt.Fprintf(out, "%d pages were live that BIRD has as free: their returns were missed\n", a.MissedReturns)
	}
	equal := "differ"
	if a.Tree.Equal {
		equal = "are equal to the byte"
	}
	fmt.Fprintf(out, "live set and resource tree %s: %d blocks and pages, %s in both\n", equal, a.Tree.Both.Objects, amount(&a.Tree.Both.Bytes))
	for _, r := range a.Tree.Reasons {
		mark := ""
		if !r.Known {
			mark = "  not explained"
		}
		fmt.Fprintf(out, "  %-*s  %10s in %d: %s%s\n", len(OnlyTree), r.Where, amount(&r.Bytes), r.Objects, r.Reason, mark)
	}
	return out.Flush()
}

// amount prints a number of bytes as BIRD does, divided by 1024 as long as there
// are five digits before the decimal; without one where there can be none.
func amount(bytes *uint64) string {
	if bytes == nil {
		return "-"
	}
	const units = " kMGT"
	v, unit := *bytes*10, 0
	for v >= 100_000 && unit < len(units)-1 {
		v, unit = (v+512)/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d  B", *bytes)
	}
	return fmt.Sprintf("%d.%d %cB", v/10, v%10, units[unit])
}
