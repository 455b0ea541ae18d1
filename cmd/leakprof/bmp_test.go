// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/bgp"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
)

// birdSession is what a BIRD once sent: four peers with six routes each, up and down.
func birdSession(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../collector/bmp/testdata/bird-2.20.0.bmp")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// startStation starts the program's station and returns its address.
func startStation(t *testing.T, args ...string) (*running, string) {
	t.Helper()
	r := start(t, append([]string{"bmp", "--listen", "127.0.0.1:0"}, args...)...)
	r.says(t, "\n")
	addr, ok := strings.CutPrefix(strings.TrimSpace(r.err.String()), "leakprof: listening for BMP at ")
	if !ok {
		t.Fatalf("it says %q", r.err.String())
	}
	return r, addr
}

// sendSession sends to the station and closes.
func sendSession(t *testing.T, addr string, b []byte) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// prints waits until the program has written text to its standard output.
func (r *running) prints(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(r.out.String(), text) {
		select {
		case <-r.done:
			t.Fatalf("it ended before it printed %q:\n%s\n%s", text, r.out.String(), r.err.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestBMP runs a station that records, ends it by ^C, and plays the recording as lines, as
// JSON and at its own speed.
func TestBMP(t *testing.T) {
	file := filepath.Join(t.TempDir(), "session.bmp")
	r, addr := startStation(t, "--record", file)
	session := birdSession(t)
	sendSession(t, addr, session)
	r.prints(t, "prefixes announced")
	r.Process.Signal(os.Interrupt)
	live := r.wait()
	if live.status != exitDone {
		t.Errorf("exit status %d: %s", live.status, live.stderr)
	}
	for _, want := range []string{
		"#1 Connected from 127.0.0.1:", `#1 Initiation by "Not defined"`, "#1 Peer Up 127.0.0.5 AS65004\n",
		"#1 End-of-RIB 127.0.0.2 AS65001, Adj-RIB-In pre-policy, IPv4 unicast\n", "#1 Peer Down 127.0.0.2 AS65001: ",
		fmt.Sprintf("#1 Disconnected after %d bytes, 0 peers up\n", len(session)), "24 prefixes announced",
	} {
		if !strings.Contains(live.stdout, want) {
			t.Errorf("no %q in:\n%s", want, live.stdout)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("recording %v, error %v", info, err)
	}

	// The events are the same, times too; the sum of the routes has the time of today.
	eventLines := regexp.MustCompile(`(?m)^.* #1 .*$`)
	for _, speed := range []string{"max", "real"} {
		played := start(t, "bmp", "--replay", file, "--speed", speed).wait()
		got, want := eventLines.FindAllString(played.stdout, -1), eventLines.FindAllString(live.stdout, -1)
		if played.status != exitDone || len(got) != 14+1 || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("--speed %s: status %d, %s\n%s\nlive:\n%s", speed, played.status, played.stderr, played.stdout, live.stdout)
		}
	}

	played := start(t, "bmp", "--replay", file, "--json").wait()
	types := make(map[string]int)
	for line := range strings.Lines(played.stdout) {
		var m struct {
			Type  string
			Error string
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Error != "" {
			t.Errorf("line %s: %v", line, err)
		}
		types[m.Type]++
	}
	if got, want := fmt.Sprint(types), "map[Connected:1 Disconnected:1 Initiation:1 Peer Down Notification:4 Peer Up Notification:4 Route Monitoring:28]"; got != want {
		t.Errorf("JSON has %s, want %s", got, want)
	}

	// A recording that was cut is played, and its end is an error.
	if err := os.Truncate(file, 1000); err != nil {
		t.Fatal(err)
	}
	if cut := start(t, "bmp", "--replay", file).wait(); cut.status != exitError || !strings.Contains(cut.stderr, "unexpected EOF") || !strings.Contains(cut.stdout, "Disconnected") {
		t.Errorf("of a cut recording: %+v", cut)
	}
}

func TestBMPUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "no.bmp")
	if err := os.WriteFile(file, []byte("not a recording"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"--listen nowhere", exitUsage, "want an address and port"},
		{"--listen 203.0.113.1:1", exitError, "cannot assign requested address"},
		{"--speed slow", exitUsage, "want real or max"},
		{"--speed real", exitUsage, "without --replay"},
		{"--replay x --record y", exitUsage, "--record means nothing with --replay"},
		{"--replay x --station stall", exitUsage, "--station means nothing"},
		{"--station fast", exitUsage, "want normal, slow=RATE"},
		{"--receive-buffer 2G", exitUsage, "more than 1G"},
		{"--max-connections 0", exitUsage, "at least 1"},
		{"--replay /no/such/file", exitError, "no such file"},
		{"--replay " + file, exitError, "too short to be one"},
		{"--record " + file, exitError, "file exists"},
		{"extra", exitUsage, "unexpected argument"},
	} {
		got := start(t, append([]string{"bmp"}, strings.Fields(c.args)...)...).wait()
		if got.status != c.status || !strings.Contains(got.stderr, c.says) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q, want %d and %q", c.args, got.status, got.stderr, c.status, c.says)
		}
	}
}

// TestBMPStalls has a BIRD at a station that stalls after its first messages, and is
// slow in the end.
func TestBMPStalls(t *testing.T) {
	r, addr := startStation(t, "--station", "stall=5", "--json")
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird2-sid"), Peers: 1, Station: netip.MustParseAddrPort(addr)})
	r.prints(t, `"type":"Initiation"`)
	speakers, err := lab.NewSpeakers(bird.BGPAddr(), 1, lab.Flood{Routes: 1000, Drop: bgp.DropReset})
	if err != nil {
		t.Fatal(err)
	}
	if err := speakers.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := speakers.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.prints(t, `"type":"Route Monitoring"`)
	r.Process.Signal(syscall.SIGTERM)
	got := r.wait()
	// Connected, five messages, Disconnected.
	if n := strings.Count(got.stdout, "\n"); got.status != exitDone || n != 7 || !strings.Contains(got.stdout, `"peers_up":1,"error":"closed by the station: `) {
		t.Errorf("%d lines: %+v", n, got)
	}
}

// TestBMPTable holds the table of a station.
func TestBMPTable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	peer := func(i int, typ bmp.PeerType) bmp.PeerCounts {
		return bmp.PeerCounts{Peer: bmp.Peer{Type: typ, Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), AS: 65000 + uint32(i), BGPID: netip.MustParseAddr("192.0.2.1")}}
	}
	up, down, local, lost, fresh := peer(1, bmp.PeerGlobal), peer(2, bmp.PeerRD), peer(3, bmp.PeerLocRIB), peer(4, bmp.PeerGlobal), peer(5, bmp.PeerGlobal)
	up.Up, up.Ups, up.Flags = true, 2, bmp.FlagPostPolicy|bmp.FlagAdjRIBOut
	up.RIBs[bmp.AdjRIBInPre] = bmp.RouteCounts{Messages: 3, Announced: 290000, Withdrawn: 5}
	up.RIBs[bmp.AdjRIBOutPost] = bmp.RouteCounts{Messages: 1, Announced: 1}
	up.Dumped = []bmp.Dump{{RIB: bmp.AdjRIBInPre, Family: bmp.IPv4Unicast}, {RIB: bmp.AdjRIBInPre, Family: bmp.IPv6Unicast}}
	down.Ups, down.Downs, down.LastReason, down.Peer.Distinguisher = 1, 1, bmp.RemoteNoData, 65000<<32|7
	local.Up, local.Ups, local.TableName, local.Flags = true, 1, "master4\x1b[2J", bmp.FlagFiltered
	local.RIBs[bmp.LocRIB] = bmp.RouteCounts{Messages: 1, Announced: 7}
	lost.Up, lost.Ups = true, 1
	c := bmp.Counts{
		Totals: bmp.Totals{ByType: [7]uint64{5, 0, 1, 3}, RouteCounts: bmp.RouteCounts{Announced: 290008, Withdrawn: 5}, Bytes: 12345678, UnknownTypes: 1},
		Connections: []bmp.ConnectionCounts{
			{Connection: 1, Remote: netip.MustParseAddrPort("192.0.2.9:1"), Since: now.Add(-time.Hour), Peers: []bmp.PeerCounts{lost}},
			{Connection: 2, Remote: netip.MustParseAddrPort("192.0.2.9:2"), Since: now.Add(-time.Minute), Open: true,
				Initiation: &bmp.Initiation{SysName: "r\x1b1"}, Peers: []bmp.PeerCounts{up, down, local, fresh}},
			{Connection: 3, Remote: netip.MustParseAddrPort("[2001:db8::1]:3"), Since: now, Open: true},
		},
		Refused: 2,
	}
	got := strings.Join(tableLines(c, now, true), "\n") + "\n"
	golden := filepath.Join("testdata", "bmp-table.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (rewrite it with -update):\n%s", golden, got)
	}
}

// pseudoTerminal opens one of a size: what a program writes to tty is read from
// master.
func pseudoTerminal(t *testing.T, width, height uint16) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
		t.Fatal(err)
	}
	return master, tty
}

// TestBMPTerminal wants a table on a terminal that never is larger than that.
func TestBMPTerminal(t *testing.T) {
	const width, height = 60, 6
	file := filepath.Join(t.TempDir(), "session.bmp")
	var b bytes.Buffer
	recordSession(t, &b, birdSession(t))
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	master, tty := pseudoTerminal(t, width, height)
	c := exec.CommandContext(t.Context(), program, "bmp", "--replay", file)
	c.Stdout = tty
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	shown, _ := io.ReadAll(master) // EIO at the end
	lines := strings.Split(strings.TrimSuffix(string(shown), "\x1b[J"), "\r\n")
	if len(lines) != height || !strings.HasPrefix(lines[height-2], "... and ") || !strings.Contains(string(shown), "PEER  ") {
		t.Errorf("%d lines:\n%q", len(lines), shown)
	}
	for _, l := range lines {
		if l = strings.TrimSuffix(l, "\x1b[K"); len(l) >= width {
			t.Errorf("line of %d columns: %q", len(l), l)
		}
	}
}

// recordSession records what a router sends.
func recordSession(t *testing.T, w io.Writer, session []byte) {
	t.Helper()
	recorder, err := bmp.NewRecorder(w)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bmp.Listen(t.Context(), bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Record: recorder})
	if err != nil {
		t.Fatal(err)
	}
	sendSession(t, s.Addr().String(), session)
	for e := range s.Events() {
		if _, ok := e.Body.(bmp.Disconnected); ok {
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
