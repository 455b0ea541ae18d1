// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
	"leakprof/profiler/experiment"
	"leakprof/profiler/report"
)

// TestMark drives two cycles by hand, of a BIRD that tells nothing.
func TestMark(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: attachPeers})
	pid := strconv.Itoa(bird.PID())
	if got := start(t, "mark", "flooding", "--pid", pid).wait(); got.status != exitError || !strings.Contains(got.stderr, "no attach to pid "+pid+" is running") {
		t.Errorf("without an attach: status %d, %s", got.status, got.stderr)
	}
	out := filepath.Join(t.TempDir(), "out")
	run := start(t, "attach", "--pid", pid, "--bmp", "", "--birdc", "none", "--settle", "300ms", "--cycles", "2", "--out", out)
	run.says(t, "baseline, quiet")
	run.says(t, "waiting for: leakprof mark flooding")
	if got := start(t, "mark", "dropping", "--pid", pid).wait(); got.status != exitError || !strings.Contains(got.stderr, "set mark dropping: makes no sense in phase baseline") {
		t.Errorf("dropping before a flood: status %d, %s", got.status, got.stderr)
	}
	for cycle := 1; cycle <= 2; cycle++ {
		mark := func(name string) {
			t.Helper()
			if got := start(t, "mark", name, "--pid", pid).wait(); got.status != exitDone || !strings.Contains(got.stdout, "mark "+name+" set: cycle ") {
				t.Fatalf("mark %s: status %d, %s%s", name, got.status, got.stdout, got.stderr)
			}
		}
		mark("flooding")
		speakers := startSpeakers(t, bird, attachRoutes)
		if err := speakers.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		run.says(t, fmt.Sprintf("cycle %d: flooded", cycle))
		mark("dropping")
		if err := speakers.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
		if cycle == 1 {
			mark("router 3 rebooted")
		}
		run.says(t, fmt.Sprintf("cycle %d: settled", cycle))
	}
	if got := run.wait(); got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	if d.Verdict != report.Clean || len(d.Cycles) != 2 {
		t.Errorf("%d cycles: %s", len(d.Cycles), d.VerdictSentence)
	}
	var notes []string
	for _, n := range d.Notes {
		notes = append(notes, n.Text)
	}
	if got, want := strings.Join(notes, ", "), "mark flooding, mark dropping, mark router 3 rebooted, mark flooding, mark dropping"; got != want {
		t.Errorf("notes %q, want %q", got, want)
	}
}

// TestListeningAttaches: which attaches run is told by the sockets that listen.
func TestListeningAttaches(t *testing.T) {
	const sockets = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 18651 /run/dbus/socket
0000000000000000: 00000002 00000000 00010000 0001 01 90210 @leakprof/4711
0000000000000000: 00000003 00000000 00000000 0001 03 90211 @leakprof/4711
0000000000000000: 00000003 00000000 00000000 0001 03 90212
0000000000000000: 00000002 00000000 00010000 0001 01 90213 @leakprof/x
0000000000000000: 00000002 00000000 00010000 0001 01 90214 @leakprof/815
`
	if got := listeningAttaches(sockets); !slices.Equal(got, []int{815, 4711}) {
		t.Errorf("found %v", got)
	}
}

// TestMayMark: our own user and root may mark, and nobody else.
func TestMayMark(t *testing.T) {
	pid := 1<<22 + rand.IntN(1<<20) // no process has such a number
	_, stop, err := listenControl(t.Context(), pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := listenControl(t.Context(), pid); err == nil || !strings.Contains(err.Error(), "another leakprof") {
		t.Errorf("a second one listens: %v", err)
	}
	if got := startAsNobody(t, nil, "mark", "flooding", "--pid", strconv.Itoa(pid)).wait(); got.status != exitError || !strings.Contains(got.stderr, "user 65534 may not set marks") {
		t.Errorf("nobody: status %d, %s", got.status, got.stderr)
	}
	if pids := onlyOf(t); !slices.Contains(pids, pid) {
		t.Errorf("found %v, want %d among them", pids, pid)
	}
	stop()
	if pids := onlyOf(t); slices.Contains(pids, pid) {
		t.Errorf("found %v after the end of %d", pids, pid)
	}
}

func onlyOf(t *testing.T) []int {
	t.Helper()
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	return listeningAttaches(string(sockets))
}

func TestMarkNames(t *testing.T) {
	for name, ok := range map[string]bool{"flooding": true, "router 3": true, "": false, " x": false, "a\nb": false, "\x1b[1m": false, strings.Repeat("x", 101): false, "ruhig – überall": true} {
		if err := checkMark(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestControlLine: what is not a line of ours is refused.
func TestControlLine(t *testing.T) {
	for _, c := range []struct{ sent, answer string }{
		{"mark \n", "error mark"},
		{"drop all\n", "error read line"},
		{"mark x", "error read line: EOF"},
		{strings.Repeat("x", 10*maxControlLine) + "\n", "error read line"},
	} {
		ours, theirs := net.Pipe()
		go serveMark(t.Context(), theirs, nil)
		go func() {
			io.WriteString(ours, c.sent)
			if !strings.HasSuffix(c.sent, "\n") {
				ours.Close()
			}
		}()
		b, _ := io.ReadAll(ours)
		if len(b) > 0 && !strings.HasPrefix(string(b), c.answer) {
			t.Errorf("%.20q is answered %q, want %q", c.sent, b, c.answer)
		}
		ours.Close()
	}
}

// scripted is a listener whose connections and errors come as they are sent.
type scripted struct{ next chan any }

func (s scripted) Accept() (net.Conn, error) {
	switch n := (<-s.next).(type) {
	case net.Conn:
		return n, nil
	case error:
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", n)}
	}
	return nil, net.ErrClosed
}

func (scripted) Close() error   { return nil }
func (scripted) Addr() net.Addr { return nil }

// unixPair is a connection, of which the first end is that of who connected.
func unixPair(t *testing.T) (theirs, ours net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var both [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		if both[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { both[i].Close() })
	}
	return both[0], both[1]
}

// TestAcceptMarks: after an error that passes the next mark is taken, and one
// that stays is the end.
func TestAcceptMarks(t *testing.T) {
	l, marks, ended := scripted{make(chan any)}, make(chan experiment.Mark), make(chan error, 1)
	go func() { ended <- acceptMarks(t.Context(), l, marks) }()
	for _, err := range []error{unix.EMFILE, unix.ECONNABORTED} {
		l.next <- err
		theirs, ours := unixPair(t)
		l.next <- ours
		fmt.Fprintln(theirs, "mark x")
		m := <-marks
		m.Answer <- experiment.MarkAnswer{Text: m.Name}
		if got, _ := io.ReadAll(theirs); string(got) != "ok x\n" {
			t.Errorf("after %v: %q", err, got)
		}
	}
	l.next <- unix.EINVAL
	if err := <-ended; !errors.Is(err, unix.EINVAL) {
		t.Errorf("ended with %v", err)
	}
}

// TestTooManyMarks: those that are too many are refused at once.
func TestTooManyMarks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, ended := scripted{make(chan any)}, make(chan error, 1)
	go func() { ended <- acceptMarks(ctx, l, nil) }()
	const more = 5
	var all []net.Conn
	for range maxMarks + more {
		theirs, ours := unixPair(t)
		fmt.Fprintln(theirs, "mark x")
		l.next <- ours
		all = append(all, theirs)
	}
	l.next <- unix.EMFILE // by now the last was answered
	cancel()
	close(l.next)
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	answers := make(map[string]int)
	for _, c := range all {
		line, _ := bufio.NewReader(c).ReadString('\n')
		answers[line]++
	}
	if want := map[string]int{"error the run is ending\n": maxMarks, "error 16 others are being set; try again\n": more}; !maps.Equal(answers, want) {
		t.Errorf("answers are %v, want %v", answers, want)
	}
}

// TestRefusedMark: why is read also where the other end is closed by the time
// that the mark is sent.
func TestRefusedMark(t *testing.T) {
	pid := 1<<22 + rand.IntN(1<<20)
	l, err := net.Listen("unix", controlName(pid))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			refuseMark(c, errors.New("not now"))
		}
	}()
	for range 50 {
		if err := runMark(t.Context(), io.Discard, "x", pid); err == nil || err.Error() != "not now" {
			t.Fatalf("got %v", err)
		}
	}
}
