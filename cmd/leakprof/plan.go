// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/structure"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

func planCommand() *cobra.Command {
	var pid int
	var exe string
	var asJSON bool
	c := &cobra.Command{
		Use:   "plan --pid PID | --exe FILE",
		Short: "Show which probes attach would place, and where",
		Long: `Shows for each event of the allocators where attach would probe it, how the place
was found, and about what a hit costs. It changes nothing, and a process is not
stopped. Of a FILE only what lies in the program itself can be shown: the C
library is that of the process.`,
		Example: `  leakprof plan --pid $(pidof bird)
  leakprof plan --exe /usr/sbin/bird --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			p, closePlan, err := makePlan(pid, exe)
			if err != nil {
				return err
			}
			defer closePlan()
			if asJSON {
				return writePlanJSON(c.OutOrStdout(), p)
			}
			return writePlan(c.OutOrStdout(), p)
		},
	}
	c.Flags().IntVar(&pid, "pid", 0, "the BIRD to plan for, `PID`")
	c.Flags().StringVar(&exe, "exe", "", "the BIRD binary to plan for, `FILE`")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func makePlan(pid int, exe string) (_ *plan.Plan, closeAll func(), err error) {
	if (pid > 0) == (exe != "") {
		return nil, nil, usageError{errors.New("give either --pid PID or --exe FILE")}
	}
	if exe != "" {
		m, err := target.OpenModule(exe)
		if err != nil {
			return nil, nil, err
		}
		if _, err := structure.Find(m.Reader); errors.Is(err, structure.ErrNotBIRD) {
			m.Close()
			return nil, nil, fmt.Errorf("plan for %s: %w; give the file of a BIRD, as in --exe /usr/sbin/bird", exe, err)
		}
		return plan.NewForFile(m), func() { m.Close() }, nil
	}
	process, err := target.Open(pid)
	if err != nil {
		return nil, nil, err
	}
	modules, err := process.Modules()
	if err != nil {
		process.Close()
		return nil, nil, err
	}
	closeAll = func() {
		for _, m := range modules {
			m.Close()
		}
		process.Close()
	}
	if len(modules) > 0 {
		_, err = bird.Find(process, modules[0])
	}
	var p *plan.Plan
	if err == nil {
		p, err = plan.New(process, modules)
	}
	if err != nil {
		closeAll()
		return nil, nil, withPIDHint(err)
	}
	return p, closeAll, nil
}

// withPIDHint says what to do about a pid that is no BIRD.
func withPIDHint(err error) error {
	if errors.Is(err, bird.ErrNotBIRD) {
		return fmt.Errorf("%w; give the pid of BIRD, as in --pid $(pidof bird)", err)
	}
	return err
}

func writePlan(w io.Writer, p *plan.Plan) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "EVENT\tFUNCTION\tPROBE AT\tRETURN\tFOUND BY\tABOUT PER HIT")
	for _, s := range p.Sites {
		name := s.Function
		if s.Into != "" {
			name += " in " + s.Into
		}
		at := fmt.Sprintf("%s+0x%x", s.Module.Name, s.Address)
		if s.Offset > 0 {
			at += fmt.Sprintf("+%d", s.Offset)
		}
		ret := ""
		if s.Return {
			ret = "yes"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%.1f us\n", s.Event, name, at, ret, s.FoundBy, s.Cost().Seconds()*1e6)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print plan: %w", err)
	}
	fmt.Fprintln(w)
	for _, part := range []struct {
		label string
		texts []string
	}{{"Covered", p.Covered}, {"Unseen", p.NotCovered}, {"Note", p.Notes}} {
		for _, text := range part.texts {
			fmt.Fprintf(w, "%-9s%s\n", part.label, text)
		}
	}
	return nil
}

// planJSON is the plan for programs; addresses are ELF vaddrs.
type planJSON struct {
	Sites      []siteJSON `json:"sites"`
	Covered    []string   `json:"covered"`
	NotCovered []string   `json:"not_covered"`
	Notes      []string   `json:"notes"`
}

type siteJSON struct {
	Event    plan.Event   `json:"event"`
	Function string       `json:"function"`
	Into     string       `json:"into,omitempty"`
	Module   string       `json:"module"`
	Address  string       `json:"address"`
	Offset   uint64       `json:"offset"`
	Return   bool         `json:"return"`
	FoundBy  plan.FoundBy `json:"found_by"`
	HitNS    int64        `json:"hit_ns"`
}

func writePlanJSON(w io.Writer, p *plan.Plan) error {
	out := planJSON{Sites: []siteJSON{}, Covered: p.Covered, NotCovered: p.NotCovered, Notes: p.Notes}
	for _, s := range p.Sites {
		out.Sites = append(out.Sites, siteJSON{
			Event: s.Event, Function: s.Function, Into: s.Into, Module: s.Module.Path, Address: fmt.Sprintf("0x%x", s.Address),
			Offset: s.Offset, Return: s.Return, FoundBy: s.FoundBy, HitNS: s.Cost().Nanoseconds(),
		})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("print plan: %w", err)
	}
	return nil
}
