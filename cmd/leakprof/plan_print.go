// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"leakprof/profiler/plan"
	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/terminal"
)

// writePlan prints the plan for people: the events first, then the functions,
// then what is not covered.
func writePlan(w io.Writer, p *plan.Plan) error {
	if p.Options.Mode.Walks() {
		fmt.Fprint(w, nothingProbed[p.Options.Mode]+"\n\n")
	} else {
		if err := writeEvents(w, p); err != nil {
			return err
		}
		fmt.Fprintln(w)
		if err := writeFunctions(w, p); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	for _, part := range []struct {
		label string
		texts []string
	}{{"Covered", p.Covered}, {"Unseen", p.NotCovered}, {"Note", p.Notes}} {
		for _, text := range part.texts {
			fmt.Fprintf(w, "%-9s%s\n", part.label, terminal.Line(text))
		}
	}
	if err := p.Refusal(); err != nil {
		fmt.Fprintf(w, "%-9s%s\n", "Refused", terminal.Line(err.Error()))
	}
	return nil
}

// nothingProbed says of modes that walk what is probed.
var nothingProbed = map[plan.Mode]string{
	plan.Walk: "Nothing is probed.",
	plan.Auto: "Nothing is probed before a cycle has retained something, and then only that.",
}

func writeEvents(w io.Writer, p *plan.Plan) error {
	// The sites of all events share their columns; what is told otherwise is
	// a sentence, and in none.
	var columns strings.Builder
	tw := tabwriter.NewWriter(&columns, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FUNCTION\tPROBE AT\tRETURN\tFOUND BY\tPER HIT")
	for _, s := range p.Sites {
		name := s.Function
		if s.Into != "" {
			name += " in " + s.Into
		}
		at := fmt.Sprintf("%s+0x%x", s.Module.Name, s.Address)
		if s.Offset > 0 {
			at += fmt.Sprintf("+%d", s.Offset)
		}
		if moved := movedArguments(s); moved != "" {
			at += " (" + moved + ")"
		}
		row(tw, name, at, returns(s), string(s.FoundBy), fmt.Sprintf("%.1f us", s.Cost().Seconds()*1e6))
	}
	tw.Flush() // into memory
	lines := strings.Split(columns.String(), "\n")

	width := len("EVENT")
	for _, e := range p.Events {
		width = max(width, len(e.Event))
	}
	var err error
	line := func(event, text string) {
		if err == nil {
			_, err = fmt.Fprintf(w, "%-*s  %s\n", width, event, terminal.Line(text))
		}
	}
	line("EVENT", lines[0])
	lines = lines[1:]
	for _, e := range p.Events {
		for range e.Sites {
			line(string(e.Event), lines[0])
			lines = lines[1:]
		}
		if e.CoveredBy != "" {
			line(string(e.Event), "covered by "+e.CoveredBy)
		}
		if e.Missing != "" {
			line(string(e.Event), "not covered: "+e.Missing)
		}
	}
	if err != nil {
		return fmt.Errorf("print plan: %w", err)
	}
	return nil
}

// row writes a table's row, in whose cells are names of the program's.
func row(tw *tabwriter.Writer, cells ...string) {
	for i, c := range cells {
		cells[i] = terminal.Line(c)
	}
	fmt.Fprintln(tw, strings.Join(cells, "\t"))
}

// returns says whether a program runs on a function's return, too or only.
func returns(s plan.Site) string {
	switch {
	case !s.Return:
		return ""
	case !s.Entry:
		return "only"
	}
	return "yes"
}

func writeFunctions(w io.Writer, p *plan.Plan) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "BIRD'S FUNCTION\tAT\tSYMBOL\tCOPIES\tFOUND BY")
	for _, f := range p.Functions {
		name := f.Name
		if f.Part {
			name += " (part)"
		}
		by := string(f.FoundBy)
		if f.Confidence != "" {
			by += fmt.Sprintf(", %s by %d signals", f.Confidence, len(f.Signals))
		}
		row(tw, name, fmt.Sprintf("0x%x", f.Address), cmp.Or(f.Symbol, "-"), copies(f.Copies), by)
	}
	for _, f := range p.NotFound {
		row(tw, f.Name, "-", "-", copies(f.Copies), f.Why)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print plan: %w", err)
	}
	return nil
}

func copies(n int) string {
	if n < 0 {
		return "?"
	}
	return fmt.Sprint(n)
}

// planJSON is the plan for programs; addresses are ELF vaddrs.
type planJSON struct {
	Mode           string           `json:"mode"`
	LinpoolObjects bool             `json:"linpool_objects"`
	Events         []coverageJSON   `json:"events"`
	Sites          []siteJSON       `json:"sites"`
	Functions      []functionJSON   `json:"functions"`
	NotFound       []absentJSON     `json:"not_found"`
	Covered        []string         `json:"covered"`
	NotCovered     []string         `json:"not_covered"`
	Incomplete     []incompleteJSON `json:"incomplete"`
	Notes          []string         `json:"notes"`
}

type coverageJSON struct {
	Event     plan.Event `json:"event"`
	Sites     []siteJSON `json:"sites"`
	CoveredBy string     `json:"covered_by,omitempty"`
	Missing   string     `json:"missing,omitempty"`
}

type siteJSON struct {
	Event    plan.Event   `json:"event"`
	Function string       `json:"function"`
	Into     string       `json:"into,omitempty"`
	Module   string       `json:"module"`
	Address  string       `json:"address"`
	Offset   uint64       `json:"offset"`
	Entry    bool         `json:"entry"`
	Return   bool         `json:"return"`
	FoundBy  plan.FoundBy `json:"found_by"`
	HitNS    int64        `json:"hit_ns"`
	// Of the probed instruction: what it is, whether the kernel emulates it, how
	// far rsp is below its value at the entry, and where the arguments are.
	Instruction prologue.Form `json:"instruction"`
	Emulated    bool          `json:"emulated"`
	Depth       int32         `json:"depth"`
	Arguments   string        `json:"arguments,omitempty"` // as text, those that have moved
}

type functionJSON struct {
	Function   string       `json:"function"`
	Symbol     string       `json:"symbol,omitempty"`
	Address    string       `json:"address"`
	Part       bool         `json:"part"`
	Copies     *int         `json:"copies"` // null if that cannot be told
	FoundBy    plan.FoundBy `json:"found_by"`
	Confidence string       `json:"confidence,omitempty"`
	Signals    []string     `json:"signals,omitempty"`
}

type absentJSON struct {
	Function string `json:"function"`
	Copies   *int   `json:"copies"`
	Why      string `json:"why"`
}

type incompleteJSON struct {
	Layer  string `json:"layer"`
	Why    string `json:"why"`
	Remedy string `json:"remedy"`
}

func writePlanJSON(w io.Writer, p *plan.Plan) error {
	out := planJSON{
		Mode: p.Options.Mode.String(), LinpoolObjects: p.Options.LinpoolObjects,
		Events: []coverageJSON{}, Sites: sitesJSON(p.Sites), Functions: []functionJSON{}, NotFound: []absentJSON{},
		Covered: append([]string{}, p.Covered...), NotCovered: append([]string{}, p.NotCovered...),
		Incomplete: []incompleteJSON{}, Notes: append([]string{}, p.Notes...),
	}
	for _, e := range p.Events {
		out.Events = append(out.Events, coverageJSON{e.Event, sitesJSON(e.Sites), e.CoveredBy, e.Missing})
	}
	for _, f := range p.Functions {
		out.Functions = append(out.Functions, functionJSON{
			Function: f.Name, Symbol: f.Symbol, Address: fmt.Sprintf("0x%x", f.Address), Part: f.Part, Copies: known(f.Copies),
			FoundBy: f.FoundBy, Confidence: string(f.Confidence), Signals: f.Signals,
		})
	}
	for _, f := range p.NotFound {
		out.NotFound = append(out.NotFound, absentJSON{f.Name, known(f.Copies), f.Why})
	}
	for _, i := range p.Incomplete {
		out.Incomplete = append(out.Incomplete, incompleteJSON(i))
	}
	enc := json.NewEncoder(terminal.JSON(w))
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("print plan: %w", err)
	}
	return nil
}

func sitesJSON(sites []plan.Site) []siteJSON {
	out := []siteJSON{}
	for _, s := range sites {
		out = append(out, siteJSON{
			Event: s.Event, Function: s.Function, Into: s.Into, Module: s.Module.Path, Address: fmt.Sprintf("0x%x", s.Address),
			Offset: s.Offset, Entry: s.Entry, Return: s.Return, FoundBy: s.FoundBy, HitNS: s.Cost().Nanoseconds(),
			Instruction: s.Instruction, Emulated: s.Emulated, Depth: s.Depth, Arguments: movedArguments(s),
		})
	}
	return out
}

// movedArguments says where the arguments are that are not where the calling
// convention has them, e.g. "argument 1 is rbp+16".
func movedArguments(s plan.Site) string {
	var all []string
	for _, a := range s.Arguments {
		if a.Moved() {
			all = append(all, a.String())
		}
	}
	return strings.Join(all, ", ")
}

// known is nil for a number that cannot be told.
func known(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}
