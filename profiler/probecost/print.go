// SPDX-License-Identifier: Apache-2.0

package probecost

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteText prints the table: a line for each form of instruction.
func (t *Table) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "What a hit of a probe costs the probed thread here, ns, with a program that does nothing.\nLinux %s, %s\n\n", t.Kernel, t.CPU)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "INSTRUCTION\t")
	for _, k := range Kinds {
		fmt.Fprintf(tw, "%s\t", k)
	}
	fmt.Fprintln(tw, "THE KERNEL\t")
	for _, s := range samples {
		fmt.Fprintf(tw, "%s\t", s.form)
		for _, k := range Kinds {
			if ns, ok := t.Costs[k][s.form]; ok {
				fmt.Fprintf(tw, "%.0f\t", ns)
			} else {
				fmt.Fprint(tw, "-\t")
			}
		}
		how := "steps it"
		if t.emulates(s) {
			how = "emulates it"
		}
		fmt.Fprintf(tw, "%s\t\n", how)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print probe costs: %w", err)
	}
	return nil
}

func (t *Table) emulates(s sample) bool {
	c := t.Plan(true)
	if c == nil {
		c = t.Plan(false)
	}
	return c.Emulates(s.form)
}

// WriteJSON prints the table as it is kept.
func (t *Table) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(t); err != nil {
		return fmt.Errorf("print probe costs: %w", err)
	}
	return nil
}
