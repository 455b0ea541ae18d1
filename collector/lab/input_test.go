// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/bgp"
	"leakprof/collector/bgp/mrt/mrttest"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
)

// testLab is a BIRD with its station, control connection and peers.
type testLab struct {
	*Bird
	station  *bmp.Station
	control  *birdc.Conn
	speakers *Speakers
}

// startLab starts a BIRD for a flood, in a network namespace of its own if that is needed.
func startLab(t *testing.T, c Config, f Flood) *testLab {
	t.Helper()
	l := &testLab{}
	if c.Kernel || c.Include != "" {
		n, err := NewNamespace()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		c.Namespace = n
	}
	if err := c.Namespace.Do(func() (err error) {
		l.station, err = bmp.Listen(context.Background(), bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.station.Close() })
	go func() {
		for range l.station.Events() {
		}
	}()
	c.Station, c.IPv6 = l.station.Addr(), f.HasIPv6()
	l.Bird = start(t, c)
	// BIRD 3.1 says nothing of sessions that were up before BMP was.
	eventually(t, func() string {
		if l.station.Counts().ByType[bmp.TypeInitiation] == 0 {
			return "BIRD has not come to its station"
		}
		return ""
	})
	var err error
	if l.control, err = birdc.Dial(t.Context(), l.Control()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.control.Close() })
	if l.speakers, err = l.Speakers(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.speakers.Close)
	return l
}

// eventually waits until check has nothing to complain about.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		why := check()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(why)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (l *testLab) up(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := l.speakers.Up(ctx); err != nil {
		t.Fatal(err)
	}
}

func (l *testLab) down(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := l.speakers.Down(ctx); err != nil {
		t.Fatal(err)
	}
}

// says is BIRD's answer.
func (l *testLab) says(t *testing.T, command string) string {
	t.Helper()
	r, err := l.control.Command(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	return r.Text()
}

// awaitRoutes waits until BIRD has so many routes in a table.
func (l *testLab) awaitRoutes(t *testing.T, table string, want int) {
	t.Helper()
	eventually(t, func() string {
		counts, err := l.control.ShowRouteCount(t.Context(), "table "+table)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(counts[0].Routes); got != want {
			return fmt.Sprintf("%s has %d routes, want %d", table, got, want)
		}
		return ""
	})
}

// TestDrop ends sessions in each way: what BIRD says of it, and what its station hears.
func TestDrop(t *testing.T) {
	const peers, routes = 2, 100
	// BIRD 3 gives "Remote system closed, no data" for all ends.
	for _, tt := range []struct {
		drop   bgp.Drop
		says   string
		reason []bmp.PeerDownReason
	}{
		{bgp.DropNotification, "Received: Administrative shutdown", []bmp.PeerDownReason{bmp.RemoteNotification, bmp.RemoteNoData}},
		{bgp.DropReset, "Socket: Connection reset by peer", []bmp.PeerDownReason{bmp.RemoteNoData}},
		{bgp.DropSilence, "Error: Hold timer expired", []bmp.PeerDownReason{bmp.LocalNotification, bmp.RemoteNoData}},
	} {
		for _, name := range birdRoots {
			t.Run(tt.drop.String()+"/"+name, func(t *testing.T) {
				t.Parallel() // silence takes seconds in which nothing happens
				l := startLab(t, Config{Binary: findRoot(t, name), Peers: peers}, Flood{Routes: routes, Drop: tt.drop})
				cycles := 2
				if tt.drop == bgp.DropSilence {
					cycles = 1
				}
				for range cycles {
					l.up(t)
					l.awaitRoutes(t, "master4", peers*routes)
					eventually(t, func() string {
						if n := l.station.Counts().UpPeers(); n != peers {
							return fmt.Sprintf("%d peers up at the station", n)
						}
						return ""
					})
					l.down(t)
					l.awaitRoutes(t, "master4", 0)
					if got := l.says(t, "show protocols all "+PeerName(0)); !strings.Contains(got, tt.says) {
						t.Errorf("BIRD does not say %q:\n%s", tt.says, got)
					}
					eventually(t, func() string {
						if n := l.station.Counts().UpPeers(); n != 0 {
							return fmt.Sprintf("%d peers still up at the station", n)
						}
						return ""
					})
				}
				for _, p := range l.station.Counts().Connections[0].Peers {
					if p.Downs != uint64(cycles) || !slices.Contains(tt.reason, p.LastReason) {
						t.Errorf("peer %v: %d downs, reason %v, want %v", p.Peer.Addr, p.Downs, p.LastReason, tt.reason)
					}
				}
			})
		}
	}
}

// TestIPv6: routes of both families come, churn, and go, and the station sees both.
func TestIPv6(t *testing.T) {
	const peers, routes, ipv6 = 2, 500, 200
	for _, name := range birdRoots {
		t.Run(name, func(t *testing.T) {
			l := startLab(t, Config{Binary: findRoot(t, name), Peers: peers}, Flood{
				Routes: routes, IPv6: ipv6, AttributeSets: 20, Churn: 4000, ChurnFor: 300 * time.Millisecond,
			})
			for range 2 {
				l.up(t)
				l.awaitRoutes(t, "master4", peers*(routes-ipv6))
				l.awaitRoutes(t, "master6", peers*ipv6)
				if got := l.says(t, "show route all for "+bgp.Prefix6(ipv6).Addr().String()); !strings.Contains(got, bgp.Prefix6(ipv6).String()) || !strings.Contains(got, PeerName(1)) || !strings.Contains(got, "2001:db8::3") {
					t.Errorf("the first IPv6 route of peer 2 is\n%s", got)
				}
				l.down(t)
				l.awaitRoutes(t, "master4", 0)
				l.awaitRoutes(t, "master6", 0)
			}
			// All routes twice, and of the churn at least something: what is withdrawn and
			// announced again quickly need not be told.
			eventually(t, func() string {
				c := l.station.Counts()
				if c.PeerDowns != 2*peers || c.Announced < 2*peers*routes || c.Announced == 2*peers*routes || c.Withdrawn == 0 {
					return fmt.Sprintf("station: %d downs, %d announced, %d withdrawn", c.PeerDowns, c.Announced, c.Withdrawn)
				}
				return ""
			})
		})
	}
	t.Run("lab without IPv6", func(t *testing.T) {
		b := start(t, Config{Binary: findRoot(t, birdRoots[0]), Peers: 1})
		if _, err := b.Speakers(Flood{Routes: 10, IPv6: 5}); err == nil || !strings.Contains(err.Error(), "the lab has no IPv6") {
			t.Errorf("error %v", err)
		}
	})
}

// TestDump: BIRD takes every route that is taken from a dump; those at the border of what
// it takes are here.
func TestDump(t *testing.T) {
	var ribs []mrttest.RIB
	for _, prefix := range []string{
		"0.0.0.0/0", "0.0.0.0/8", "1.0.0.0/24", "10.0.0.0/8", "100.64.0.0/10", "126.0.0.0/8", "128.0.0.0/1", "169.254.0.0/16", "192.0.2.0/24",
		"223.255.255.255/32", "240.0.0.0/4", "255.0.0.0/8", "::/0", "::/8", "0:0:0:1::/64", "64:ff9b::/96", "2000::/3", "2a00::/48", "fc00::/7", "fec0::/10",
		"127.0.0.0/8", "0.1.0.0/16", "224.0.0.0/4", "::1/128", "::ffff:0:0/96", "fe80::/10", "ff02::/16",
	} {
		ribs = append(ribs, mrttest.RIB{Prefix: prefix, Paths: [][]uint32{{3356, 1}, {LocalASN, 2}, {23456, 4_294_967_295}}})
	}
	ribs = append(ribs, mrttest.RIB{Prefix: "203.0.113.0/24", Paths: [][]uint32{{3356}, {174}}, Set: []uint32{1, 2}})
	const left, peers = 7, 2
	dump, err := ReadDump(t.Context(), mrttest.Write(t, ribs), peers, 0, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if dump.Stats.Martians != left || dump.Stats.Routes != peers*(len(ribs)-left) {
		t.Errorf("%+v", dump.Stats)
	}
	for _, name := range birdRoots {
		t.Run(name, func(t *testing.T) {
			l := startLab(t, Config{Binary: findRoot(t, name), Peers: peers}, Flood{Dump: dump})
			l.up(t)
			l.awaitRoutes(t, "master4", peers*(dump.Stats.Prefixes-dump.Stats.IPv6))
			l.awaitRoutes(t, "master6", peers*dump.Stats.IPv6)
			l.down(t)
			l.awaitRoutes(t, "master4", 0)
			l.awaitRoutes(t, "master6", 0)
		})
	}
	if _, err := start(t, Config{Binary: findRoot(t, birdRoots[0]), Peers: 1, IPv6: true}).Speakers(Flood{Dump: dump}); err == nil || !strings.Contains(err.Error(), "read for 2 peers, there are 1") {
		t.Errorf("error %v", err)
	}
}

// TestKernel: the routes are in the kernel's table when Up returns, and gone when Down
// does, in a namespace that is gone with the lab.
func TestKernel(t *testing.T) {
	const peers, routes, ipv6 = 2, 500, 100
	for _, name := range birdRoots {
		t.Run(name, func(t *testing.T) {
			l := startLab(t, Config{Binary: findRoot(t, name), Peers: peers, Kernel: true}, Flood{Routes: routes, IPv6: ipv6, Overlap: true})
			id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", l.PID()))
			if err != nil {
				t.Fatal(err)
			}
			if own, err := os.Readlink("/proc/self/ns/net"); err != nil || own == id {
				t.Fatalf("BIRD is in our namespace %s (%v)", own, err)
			}
			for range 2 {
				l.up(t)
				// /proc/net/route has IPv4 alone, and not those that are unreachable.
				table := readFile(t, fmt.Sprintf("/proc/%d/net/route", l.PID()))
				if n := strings.Count(table, "FE0200C0"); n != routes-ipv6 { // the gateway, 192.0.2.254
					t.Errorf("%d of %d IPv4 routes in the kernel:\n%.500s", n, routes-ipv6, table)
				}
				l.down(t)
				if table := readFile(t, fmt.Sprintf("/proc/%d/net/route", l.PID())); strings.Contains(table, "FE0200C0") {
					t.Errorf("left in the kernel:\n%.500s", table)
				}
			}
			if ours := readFile(t, "/proc/self/net/route"); strings.Contains(ours, "FE0200C0") {
				t.Errorf("routes in this machine's table:\n%.500s", ours)
			}

			l.speakers.Close()
			l.station.Close()
			if err := l.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := l.config.Namespace.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() string {
				all, err := filepath.Glob("/proc/[0-9]*/task/*/ns/net")
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range all {
					if link, _ := os.Readlink(file); link == id {
						return file + " is still in " + id
					}
				}
				return ""
			})
		})
	}
}

// TestKernelWaits: who waits for the kernel's table is told what for, and can be called
// off.
func TestKernelWaits(t *testing.T) {
	l := startLab(t, Config{Binary: findRoot(t, birdRoots[0]), Peers: 1, Kernel: true}, Flood{Routes: 50})
	l.says(t, "disable kernel4")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.speakers.Up(ctx) }()
	eventually(t, func() string {
		if doing := l.speakers.Doing(); doing != "0 routes in the kernel, to be 50" {
			return fmt.Sprintf("Doing says %q", doing)
		}
		return ""
	})
	cancel()
	if err := await(t, "Up to end", done); err == nil || !strings.Contains(err.Error(), "wait for the kernel's routes: context canceled: there are 0") {
		t.Errorf("error %v", err)
	}
	if doing := l.speakers.Doing(); doing != "" {
		t.Errorf("at rest, Doing says %q", doing)
	}
}

// TestOwnThread: the main thread stays out of it, whichever threads are free.
func TestOwnThread(t *testing.T) {
	const times = 500
	ids := make(chan int, times)
	for range times {
		goOnOwnThread(func() { ids <- unix.Gettid() })
	}
	for range times {
		if id := await(t, "a thread", ids); id == os.Getpid() {
			t.Fatal("it was the main thread")
		}
	}
}

// TestNamespaceDo: what is made in there is in there, and nothing else.
func TestNamespaceDo(t *testing.T) {
	n, err := NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var there net.Listener
	if err := n.Do(func() (err error) {
		there, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if c, err := net.Dial("tcp4", there.Addr().String()); err == nil {
		c.Close()
		t.Error("its sockets are reached from outside")
	}
	if err := n.Do(func() error {
		c, err := net.Dial("tcp4", there.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if own, _ := os.Readlink("/proc/self/ns/net"); own == readLinkOf(n) {
		t.Error("this process is in the namespace")
	}
}

// readLinkOf names a namespace as /proc does.
func readLinkOf(n *Namespace) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n.file.Fd()))
	return link
}

func TestNamespaceNeeded(t *testing.T) {
	for _, c := range []Config{{Kernel: true}, {Include: "/etc/bird/bird.conf"}} {
		c.Binary = findRoot(t, birdRoots[0])
		if b, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "need a network namespace") {
			b.Stop(t.Context())
			t.Errorf("error %v", err)
		}
	}
}
