// SPDX-License-Identifier: Apache-2.0

package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed assets
var assets embed.FS

var page = template.Must(template.ParseFS(assets, "assets/report.html.tmpl"))

// WriteHTML writes the report as one page that needs nothing but a browser. It
// holds report.json, and says the same.
//
// Names of the target are data in it and never markup: the template escapes
// them, the script sets text only, and a Content-Security-Policy that names the
// page's own scripts by their hashes leaves nothing else to run or to load.
func (d *Document) WriteHTML(w io.Writer) error {
	if err := d.writeHTML(w); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (d *Document) writeHTML(w io.Writer) error {
	data, err := json.Marshal(d) // with <, > and & escaped
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := d.WriteText(&text, TextOptions{Width: 100, Books: true}); err != nil {
		return err
	}
	p := struct {
		Policy     string
		Styles     []template.CSS
		Scripts    []template.JS
		Data       template.JS
		Allocators []string // functions that are no one's to blame
		Root       string   // of the program's source files
		Verdict    VerdictKind
		Reason     string
		About      []string
		Incomplete []string
		Looks      []string
		Memory     []htmlRow
		Facts      []fact
		Text       string
	}{
		Data: template.JS(data), Allocators: slices.Sorted(maps.Keys(allocators)), Root: sourceRoot(d.Stacks, filepath.Base(d.Target.Exe)), Verdict: d.Verdict, Reason: printable(d.reason()),
		About: d.about(), Facts: sayOnce(d.facts(false)), Text: text.String(),
	}
	for i := range d.Phases {
		if phase := &d.Phases[i]; phase.Incomplete != "" {
			p.Incomplete = append(p.Incomplete, printable(phase.title()+": "+phase.Incomplete))
		}
	}
	p.Looks, p.Memory = d.memoryRows()
	for _, name := range []string{"uPlot.min.css", "report.css"} {
		text, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return err
		}
		p.Styles = append(p.Styles, template.CSS(text))
	}
	// d3-flame-graph adds its own style element: styles are allowed, and can load
	// nothing.
	policy := "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; script-src"
	for _, name := range []string{"d3.min.js", "d3-flamegraph.umd.min.js", "uPlot.iife.min.js",
		"report.page.js", "report.stacks.js", "report.flame.js", "report.course.js", "report.js"} {
		text, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return err
		}
		hash := sha256.Sum256(text)
		policy += " 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
		p.Scripts = append(p.Scripts, template.JS(text))
	}
	p.Policy = policy
	return page.Execute(w, p)
}

// about says in short what was followed, and when.
func (d *Document) about() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, printable(fmt.Sprintf(format, args...))) }
	if d.Target.Version != "" {
		add("BIRD %s", d.Target.Version)
	}
	add("pid %d", d.Target.PID)
	add("%s", d.Target.Exe)
	if d.Target.BuildID != "" {
		add("build ID %s", shorten(d.Target.BuildID, 13))
	}
	const clock = "2006-01-02 15:04:05"
	add("%s to %s UTC", d.Started.UTC().Format(clock), d.Ended.UTC().Format(clock))
	return all
}

// htmlRow is a line of the memory table.
type htmlRow struct {
	Name  string
	Kind  string // "live" where it is not a line of BIRD's, "live part" of the row before
	Cells []htmlCell
}

// htmlCell is a number, "" if it is not known, with the overhead of BIRD's
// allocators, "" if there is none.
type htmlCell struct{ Value, Overhead string }

// shownCycles is how many of the first and of the last cycles have a column of
// their own.
const shownCycles = 3

// memoryRows is BIRD's own account with ours below: before the first flood, at
// its height, and what each drop left. Rows of which nothing is known are left
// out.
func (d *Document) memoryRows() (titles []string, rows []htmlRow) {
	columns := d.looks()
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	row := func(name, kind string, cell func(*DocumentPhase) htmlCell) {
		r := htmlRow{Name: printable(name), Kind: kind}
		known := false
		for _, c := range columns {
			shown := htmlCell{Value: c.title} // "…"
			if c.phase != nil {
				shown = cell(c.phase)
				known = known || shown.Value != ""
			}
			r.Cells = append(r.Cells, shown)
		}
		if known {
			rows = append(rows, r)
		}
	}
	for _, name := range lineNames(columns) {
		row(name, "", func(p *DocumentPhase) (c htmlCell) {
			if l := p.memoryLine(name); l != nil {
				c.Value, c.Overhead = l.numbers()
			}
			return c
		})
	}
	for _, r := range liveRows(columns) {
		kind := "live"
		if r.isPart {
			kind = "live part"
		}
		row(r.name, kind, func(p *DocumentPhase) htmlCell { return htmlCell{Value: r.cell(p)} })
	}
	return titles, rows
}

// looks are the columns of the memory table; between the first and the last
// cycles, if there are more, one without a phase.
func (d *Document) looks() []column {
	var columns, left []column
	isFlooded := false
	cycles := 0
	for i := range d.Phases {
		switch p := &d.Phases[i]; p.Name {
		case phaseBaseline:
			columns = append(columns, column{"before", p})
		case phaseFlooded:
			if !isFlooded {
				columns = append(columns, column{"flooded", p})
			}
			isFlooded = true
		case phaseSettled:
			cycles++
			left = append(left, column{fmt.Sprintf("dropped %d", p.Cycle), p})
		case phaseResumed:
			left = append(left, column{"read again", p})
		case phaseInterval:
			left = append(left, column{fmt.Sprintf("interval %d", p.Cycle), p})
		}
	}
	if cycles == 1 {
		for i := range left {
			left[i].title = strings.TrimSuffix(left[i].title, " 1")
		}
	}
	if len(left) > 2*shownCycles {
		columns = append(columns, left[:shownCycles]...)
		columns = append(columns, column{title: "…"})
		left = left[len(left)-shownCycles:]
	}
	return append(columns, left...)
}
