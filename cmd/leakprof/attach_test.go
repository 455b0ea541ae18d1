// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// freeAddr returns an address on loopback at which nobody listens.
func freeAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

const attachPeers, attachRoutes = 3, 3000

func startSpeakers(t *testing.T, bird *lab.Bird, routes int) *lab.Speakers {
	t.Helper()
	s, err := lab.NewSpeakers(bird.BGPAddr(), attachPeers, lab.Flood{Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// established counts BIRD's established BGP sessions.
func established(t *testing.T, bird *lab.Bird) int {
	t.Helper()
	c, err := birdc.Dial(t.Context(), bird.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all, err := c.ShowProtocols(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range all {
		if p.Proto == "BGP" && p.Info == "Established" {
			n++
		}
	}
	return n
}

// TestAttach follows a BIRD that was running before: by what it says over BMP,
// and by its control socket where it says nothing.
func TestAttach(t *testing.T) {
	for _, c := range []struct {
		name, bird string
		bmp        bool
	}{
		{"BMP", birds[0], true},
		{"control socket", birds[1], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			config := lab.Config{Binary: findBird(t, c.bird), Peers: attachPeers}
			// The station listens in any case, as it does by default; a BIRD
			// without BMP never comes, and then its control socket tells, which
			// is found by itself.
			station := freeAddr(t)
			if c.bmp {
				config.Station = station
			}
			bird := startBird(t, config)
			run := start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", station.String(), "--settle", "500ms", "--cycles", "2", "--out", out)
			run.says(t, "attached to pid")
			if c.bmp {
				waitForStation(t, bird)
			}
			run.says(t, "baseline, quiet")
			for cycle := 1; cycle <= 2; cycle++ {
				speakers := startSpeakers(t, bird, attachRoutes)
				if err := speakers.Up(t.Context()); err != nil {
					t.Fatal(err)
				}
				run.says(t, fmt.Sprintf("cycle %d: flooded", cycle))
				if err := speakers.Down(t.Context()); err != nil {
					t.Fatal(err)
				}
				run.says(t, fmt.Sprintf("cycle %d: settled", cycle))
			}
			got := run.wait()
			if got.status != exitDone {
				t.Fatalf("exit status %d\n%s", got.status, got.stderr)
			}
			d := readReport(t, out)
			if d.Verdict != report.Clean {
				t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
			}
			if d.Target.PID != bird.PID() || d.Target.Version != bird.Version() {
				t.Errorf("target %+v, want pid %d and version %s", d.Target, bird.PID(), bird.Version())
			}
			for _, p := range d.Phases {
				if p.Name == "flooded" && (p.Routes == nil || *p.Routes != attachPeers*attachRoutes) {
					t.Errorf("flooded with %v routes, want %d", p.Routes, attachPeers*attachRoutes)
				}
			}
		})
	}
}

// TestAttachWithPeersUp: sessions that are up when we come are the baseline's,
// not a flood.
func TestAttachWithPeersUp(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: attachPeers})
	speakers := startSpeakers(t, bird, attachRoutes)
	if err := speakers.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", freeAddr(t).String(), "--settle", "300ms", "--duration", "4s", "--out", out)
	if got := run.wait(); got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	if len(d.Phases) != 1 || d.Phases[0].Name != "baseline" || d.Phases[0].Incomplete != "" {
		t.Errorf("phases %+v, want a quiet baseline alone", d.Phases)
	}
	if r := d.Phases[0].Routes; r == nil || *r != attachPeers*attachRoutes {
		t.Errorf("%v routes at the baseline, want %d", r, attachPeers*attachRoutes)
	}
}

// waitForStation waits until BIRD's BMP session is up: after a refused
// connection it tries again in 10 s.
func waitForStation(t *testing.T, bird *lab.Bird) {
	t.Helper()
	c, err := birdc.Dial(t.Context(), bird.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		all, err := c.ShowProtocols(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if p.Name == lab.BMPName && p.Info == "Established" {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestDurationAndInterrupt: an attach that nothing happens in ends by itself,
// or at ^C, with a report.
func TestDurationAndInterrupt(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: 1})
	for _, interrupt := range []bool{false, true} {
		out := filepath.Join(t.TempDir(), "out")
		args := []string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--out", out}
		if !interrupt {
			args = append(args, "--duration", "1s")
		}
		run := start(t, args...)
		run.says(t, "baseline")
		if interrupt {
			run.Process.Signal(os.Interrupt)
		}
		if got := run.wait(); got.status != exitDone {
			t.Errorf("interrupt %v: exit status %d\n%s", interrupt, got.status, got.stderr)
		}
		if d := readReport(t, out); d.Verdict != report.Incomplete || len(d.Phases) == 0 {
			t.Errorf("interrupt %v: verdict %s, %d phases", interrupt, d.Verdict, len(d.Phases))
		}
	}
}

// TestKilledInFlood: leakprof killed with SIGKILL in the middle of a flood
// leaves no probe, and BIRD with all its sessions.
func TestKilledInFlood(t *testing.T) {
	for _, name := range birds[:2] {
		t.Run(name, func(t *testing.T) {
			bird := startBird(t, lab.Config{Binary: findBird(t, name), Peers: attachPeers})
			run := start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control())
			run.says(t, "baseline")
			if n := patched(t, bird.PID()); n == 0 {
				t.Fatal("no probe is seen while leakprof is attached: the check below means nothing")
			}
			speakers := startSpeakers(t, bird, 100_000)
			flooded := make(chan error, 1)
			go func() { flooded <- speakers.Up(t.Context()) }()
			run.says(t, "flooding")
			run.Process.Kill()
			<-run.done
			if err := <-flooded; err != nil {
				t.Fatalf("flood after the kill: %v", err)
			}
			// The kernel removes probes when the last file descriptor of the
			// killed process is gone, a moment after its end.
			deadline := time.Now().Add(20 * time.Second)
			for patched(t, bird.PID()) > 0 {
				if time.Now().After(deadline) {
					t.Fatal("probes are left")
				}
				time.Sleep(50 * time.Millisecond)
			}
			if n := established(t, bird); n != attachPeers {
				t.Errorf("%d sessions are up, want %d", n, attachPeers)
			}
			if n, why := speakers.Dropped(); n > 0 {
				t.Errorf("%d sessions were dropped: %v", n, why)
			}
			if err := speakers.Down(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// patched counts the bytes of the process's code that are not its files': a
// probe is a breakpoint.
func patched(t *testing.T, pid int) (n int) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for line := range strings.Lines(string(maps)) {
		var start, end, offset uint64
		var mode, device, path string
		var inode uint64
		if c, _ := fmt.Sscanf(line, "%x-%x %s %x %s %d %s", &start, &end, &mode, &offset, &device, &inode, &path); c < 7 || !strings.Contains(mode, "x") || inode == 0 {
			continue
		}
		file, err := os.Open(fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, start, end))
		if err != nil {
			t.Fatal(err)
		}
		inFile, inMemory := make([]byte, end-start), make([]byte, end-start)
		got, _ := file.ReadAt(inFile, int64(offset))
		file.Close()
		if _, err := memory.ReadAt(inMemory, int64(start)); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if inFile[i] != inMemory[i] {
				n++
			}
		}
	}
	return n
}

// TestBirdDies: BIRD dying in the middle leaves leakprof with a report of what
// it had.
func TestBirdDies(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: attachPeers})
	out := filepath.Join(t.TempDir(), "out")
	run := start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "300ms", "--out", out)
	run.says(t, "baseline")
	speakers := startSpeakers(t, bird, attachRoutes)
	if err := speakers.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	run.says(t, "flooding")
	if err := unix.Kill(bird.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	got := run.wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	if d.Verdict != report.Incomplete {
		t.Errorf("verdict %s", d.Verdict)
	}
	if !strings.Contains(d.VerdictSentence, "the process ended in cycle 1") {
		t.Errorf("the report does not say that the process ended: %s", d.VerdictSentence)
	}
	if !strings.Contains(pprof(t, "-top", filepath.Join(out, "flooded.pb.gz")), "malloc") {
		t.Error("the last snapshot is empty")
	}
}
