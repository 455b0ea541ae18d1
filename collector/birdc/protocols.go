// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Protocol is one row of "show protocols".
type Protocol struct {
	Name  string
	Proto string // BGP, BMP, Device, ...
	Table string // "---" if it has none or several
	State string // up, start, stop, down, flush
	Since string // of the state, in BIRD's configured time format
	Info  string // such as Established; "" if there is none
}

// ShowProtocols runs "show protocols".
func (c *Conn) ShowProtocols(ctx context.Context) ([]Protocol, error) {
	r, err := c.Command(ctx, "show protocols")
	if err != nil {
		return nil, err
	}
	return parseProtocols(r)
}

func parseProtocols(r *Reply) ([]Protocol, error) {
	var ps []Protocol
	for _, l := range r.Lines {
		if l.Code != codeProtocol {
			continue
		}
		p, err := parseProtocol(l.Text)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// date and clock tell whether a time takes two words, as with "timeformat protocol iso long".
var (
	date  = regexp.MustCompile(`^\d+[-./]\d+[-./]\d+$`)
	clock = regexp.MustCompile(`^\d+:\d+(:\d+)?(\.\d+)?$`)
)

// parseProtocol splits a row. The columns are padded but not of fixed width, and only the
// last may be empty.
func parseProtocol(row string) (Protocol, error) {
	f := strings.Fields(row)
	if len(f) < 5 {
		return Protocol{}, fmt.Errorf("parse show protocols: row %q has %d columns", cut(row), len(f))
	}
	p := Protocol{Name: f[0], Proto: f[1], Table: f[2], State: f[3]}
	var rest []string
	p.Since, rest = since(f[4:])
	p.Info = strings.Join(rest, " ")
	return p, nil
}

// since takes a time, which may be two words, from the fields that begin with it.
func since(fields []string) (text string, rest []string) {
	if len(fields) > 1 && date.MatchString(fields[0]) && clock.MatchString(fields[1]) {
		return fields[0] + " " + fields[1], fields[2:]
	}
	return fields[0], fields[1:]
}

// ProtocolDetails runs "show protocols all" for one protocol and returns the lines below
// its row, indented as BIRD writes them. There may be none.
func (c *Conn) ProtocolDetails(ctx context.Context, name string) ([]string, error) {
	if strings.ContainsAny(name, "\"\r\n") {
		return nil, fmt.Errorf("show protocol %q: not a name", name)
	}
	r, err := c.Command(ctx, `show protocols all "`+name+`"`)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, l := range r.Lines {
		if l.Code == codeProtocolDetail {
			lines = append(lines, l.Text)
		}
	}
	return lines, nil
}

// RouteCount is what "show route count" says of one table.
type RouteCount struct {
	Table    string
	Routes   uint64 // that match the selection
	Total    uint64 // routes in the table
	Networks uint64 // with such routes
}

// noTables is how BIRD 3 refuses to count routes where nothing uses a table
// (rt_show_prepare_tables in nest/rt-show.c; BIRD 3.0 to 3.4). BIRD 2 always has
// master4 and master6.
const noTables = "No valid tables"

// ShowRouteCount counts routes per table. The selection stands between "show route" and
// "count": "" means the default tables, "table all" all, "protocol NAME" the routes of a
// protocol. Of a BIRD without tables, which refuses to count, there is nothing.
func (c *Conn) ShowRouteCount(ctx context.Context, selection string) ([]RouteCount, error) {
	command := strings.Join(strings.Fields("show route "+selection+" count"), " ")
	r, err := c.Command(ctx, command)
	if bad := new(CommandError); errors.As(err, &bad) && bad.Code == codeParseError && bad.Text == noTables {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseRouteCount(r)
}

// routeCount is "10 of 20 routes for 10 networks in table master4".
var routeCount = regexp.MustCompile(`^(\d+) of (\d+) routes for (\d+) networks in table (\S+)$`)

func parseRouteCount(r *Reply) ([]RouteCount, error) {
	var counts []RouteCount
	for _, l := range r.Lines {
		f := routeCount.FindStringSubmatch(l.Text)
		if f == nil {
			continue // a sum over tables, or another row
		}
		c := RouteCount{Table: f[4]}
		for i, to := range []*uint64{&c.Routes, &c.Total, &c.Networks} {
			n, err := strconv.ParseUint(f[i+1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("parse show route count: %w", err)
			}
			*to = n
		}
		counts = append(counts, c)
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("parse show route count: no table in %q", cut(r.Text()))
	}
	return counts, nil
}
