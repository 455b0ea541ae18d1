// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"leakprof/collector/bmp"
	"leakprof/profiler/report"
	"leakprof/profiler/terminal"
)

// bmpView shows what a station does. event and counts are called by a goroutine each.
type bmpView interface {
	event(bmp.Event)
	counts(c bmp.Counts, now time.Time) // every interval, and at the end
	interval() time.Duration
}

// bmpNothing shows nothing: the messages are printed as they come.
type bmpNothing struct{}

func (bmpNothing) event(bmp.Event)              {}
func (bmpNothing) counts(bmp.Counts, time.Time) {}
func (bmpNothing) interval() time.Duration      { return 200 * time.Millisecond }

// bmpLines prints a line per event, and the sum of the routes when it has changed.
type bmpLines struct {
	out  *lineWriter
	last bmp.RouteCounts
}

func (l *bmpLines) interval() time.Duration { return 500 * time.Millisecond }

func (l *bmpLines) event(e bmp.Event) {
	l.out.line(fmt.Appendf(nil, "%s #%d %s", e.At.Format("15:04:05.000"), e.Connection, eventText(e.Body)))
}

func (l *bmpLines) counts(c bmp.Counts, now time.Time) {
	if c.RouteCounts == l.last {
		return
	}
	l.last = c.RouteCounts
	l.out.line(fmt.Appendf(nil, "%s %s", now.Format("15:04:05.000"), summary(c)))
}

// eventText is an event in the RFC's words. What the router can choose is quoted, since
// it may hold anything.
func eventText(body bmp.EventBody) string {
	switch b := body.(type) {
	case bmp.Connected:
		return fmt.Sprintf("Connected from %v", b.Remote)
	case bmp.Initiation:
		return fmt.Sprintf("Initiation by %.60q, %.60q", b.SysName, b.SysDescr)
	case bmp.PeerUp:
		s := fmt.Sprintf("Peer Up %v", b.Peer)
		if b.TableName != "" {
			s += fmt.Sprintf(", table %.60q", b.TableName)
		}
		if b.Err != nil {
			s += fmt.Sprintf(" (%v)", b.Err)
		}
		return s
	case bmp.PeerDown:
		s := fmt.Sprintf("Peer Down %v: %v", b.Peer, b.Reason)
		switch {
		case b.Err != nil:
			s += fmt.Sprintf(" (%v)", b.Err)
		case b.Notification != nil:
			s += fmt.Sprintf(": %q", b.Notification.String())
		case b.Reason == bmp.LocalNoNotification:
			s += fmt.Sprintf(": event %d", b.FSMEvent)
		case b.TableName != "":
			s += fmt.Sprintf(": table %.60q", b.TableName)
		}
		return s
	case bmp.EndOfRIB:
		return fmt.Sprintf("End-of-RIB %v, %v, %v", b.Peer, b.RIB(), b.Family)
	case bmp.StatisticsReport:
		return fmt.Sprintf("Statistics Report %v: %d statistics", b.Peer, len(b.Statistics))
	case bmp.Termination:
		return fmt.Sprintf("Termination: %v", b.Reason)
	case bmp.Disconnected:
		s := fmt.Sprintf("Disconnected after %d bytes, %d peers up", b.Offset, b.PeersUp)
		if b.Err != nil {
			s += fmt.Sprintf(": %s", terminal.Line(b.Err.Error())) // in a replay it is the file's
		}
		return s
	}
	return fmt.Sprintf("%T", body)
}

// summary is the station's state in one line.
func summary(c bmp.Counts) string {
	open := 0
	for _, conn := range c.Connections {
		if conn.Open {
			open++
		}
	}
	var messages uint64
	for _, n := range c.ByType {
		messages += n
	}
	s := fmt.Sprintf("%d routers, %d peers up, %d messages, %s; %d prefixes announced, %d withdrawn",
		open, c.UpPeers(), messages+c.UnknownTypes, report.Size(int64(c.Bytes)), c.Announced, c.Withdrawn)
	for _, t := range []struct {
		n    uint64
		what string
	}{
		{c.MalformedMessages, "connections ended by a malformed message"},
		{c.MalformedUpdates, "UPDATEs that cannot be read"},
		{c.MalformedUpDowns, "Peer Ups and Downs with content that cannot be read"},
		{c.UnknownTypes, "messages of unknown types"},
		{c.UnknownTLVs, "unknown TLVs"},
		{c.UntrackedPeers, "messages of peers beyond the limit"},
		{c.MirroringLosses, "losses of mirrored messages"},
		{c.Refused, "routers refused"},
		{c.AcceptErrors, "errors of accept"},
		{c.EventsDropped, "events dropped"},
	} {
		if t.n > 0 {
			s += fmt.Sprintf("; %d %s", t.n, t.what)
		}
	}
	return s
}

// bmpTable redraws a table on a terminal.
type bmpTable struct {
	file    *os.File
	station *bmp.Station
	drawn   int // lines
}

func newBMPTable(f *os.File, s *bmp.Station) *bmpTable { return &bmpTable{file: f, station: s} }

func (t *bmpTable) interval() time.Duration { return 500 * time.Millisecond }

func (t *bmpTable) event(bmp.Event) {}

func (t *bmpTable) counts(c bmp.Counts, now time.Time) {
	width, height, err := term.GetSize(int(t.file.Fd()))
	if err != nil || width < 2 || height < 2 {
		width, height = 80, 24
	}
	lines := tableLines(c, now, t.station.Stalled())
	if over := len(lines) - (height - 1); over > 0 {
		lines = append(lines[:height-2], fmt.Sprintf("... and %d lines more", over+1))
	}
	var b bytes.Buffer
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", t.drawn)
	}
	for _, l := range lines {
		if r := []rune(l); len(r) >= width {
			l = string(r[:width-1])
		}
		fmt.Fprintf(&b, "%s\x1b[K\n", l)
	}
	b.WriteString("\x1b[J")
	t.drawn = len(lines)
	t.file.Write(b.Bytes())
}

// tableLines is the table: the sum, and then each connection with a line for each RIB of
// each peer.
func tableLines(c bmp.Counts, now time.Time, stalled bool) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, conn := range c.Connections {
		state := "closed"
		if conn.Open {
			state = "for " + now.Sub(conn.Since).Round(time.Second).String()
		}
		name := "no Initiation yet"
		if conn.Initiation != nil {
			name = fmt.Sprintf("%.40q", conn.Initiation.SysName)
		}
		fmt.Fprintf(&b, "\n#%d %v %s, %s, %s\n", conn.Connection, conn.Remote, name, state, report.Size(int64(conn.Bytes)))
		if len(conn.Peers) == 0 {
			continue
		}
		fmt.Fprintln(w, "PEER\tSTATE\tUPS\tDOWNS\tRIB\tANNOUNCED\tWITHDRAWN\tEND-OF-RIB\tFLAGS\tTYPE")
		for _, p := range conn.Peers {
			peerRows(w, p, conn.Open)
		}
		w.Flush()
	}
	head := summary(c)
	if stalled {
		head = "STALLED; " + head
	}
	lines := []string{head}
	for line := range strings.Lines(b.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

// ribNames are short ones, by bmp.RIB.
var ribNames = [...]string{"in pre", "in post", "out pre", "out post", "local"}

// peerRows writes the lines of a peer: one, and more if it has routes in more RIBs.
func peerRows(w *tabwriter.Writer, p bmp.PeerCounts, open bool) {
	name := p.Peer.String()
	if p.TableName != "" {
		name += fmt.Sprintf(" %.40q", p.TableName)
	}
	state := "no Peer Up"
	switch {
	case p.Up && !open:
		state = "lost"
	case p.Up && !p.Peer.IsBGP():
		state = "monitored"
	case p.Up:
		state = "up"
	case p.Downs > 0 && !p.Peer.IsBGP():
		state = "not monitored"
	case p.Downs > 0:
		state = fmt.Sprintf("down (%d)", p.LastReason)
	}
	flags := strings.Join(bmp.PeerHeader{Peer: p.Peer, Flags: p.Flags}.FlagNames(), "")
	lead := fmt.Sprintf("%s\t%s\t%d\t%d", name, state, p.Ups, p.Downs)
	tail := fmt.Sprintf("%s\t%v", flags, p.Peer.Type)
	routes := false
	for i, r := range p.RIBs {
		if r.Messages == 0 {
			continue
		}
		var ends []string
		for _, d := range p.Dumped {
			if d.RIB == bmp.RIB(i) {
				ends = append(ends, d.Family.String())
			}
		}
		fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%s\t%s\n", lead, ribNames[i], r.Announced, r.Withdrawn, strings.Join(ends, ", "), tail)
		lead, tail, routes = "\t\t\t", "\t", true
	}
	if !routes {
		fmt.Fprintf(w, "%s\t\t\t\t\t%s\n", lead, tail)
	}
}
