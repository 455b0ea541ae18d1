// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// userConfig writes a configuration of a user's and returns its path.
func userConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bird.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestInclude runs configurations of a user's with the lab's peers beside them.
func TestInclude(t *testing.T) {
	for _, tt := range []struct {
		name, text, routerID string
		names                []string
	}{
		{"router with a kernel", `
router id 10.1.2.3;
protocol device { scan time 10; }
protocol kernel { ipv4 { export all; }; learn; }
protocol static { ipv4; route 203.0.113.0/24 blackhole; }
ipv4 table lab_igp;
protocol bgp peer1 { local 10.0.0.1 as 64500; neighbor 10.0.0.2 as 64501; ipv4 { import all; export all; }; }
protocol bmp bmp1 { station address ip 10.0.0.3 port 1790; monitoring rib in pre_policy; }
`, "10.1.2.3", []string{"peer1", "bmp1", "device1", "kernel1", "static1"}},
		{"nearly nothing", `protocol static { ipv4; route 203.0.113.0/24 blackhole; }`, "192.0.2.1", []string{"static1", OwnPrefix + "device"}},
	} {
		for _, name := range birdRoots {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				const peers, routes = 2, 50
				l := startLab(t, Config{Binary: findRoot(t, name), Peers: peers, Include: userConfig(t, tt.text)}, Flood{Routes: routes})
				if got := l.says(t, "show status"); !strings.Contains(got, "Router ID is "+tt.routerID+"\n") {
					t.Errorf("want router ID %s:\n%s", tt.routerID, got)
				}
				l.up(t)
				l.awaitRoutes(t, "master4", 1+peers*routes)
				eventually(t, func() string {
					if l.station.Counts().UpPeers() != peers {
						return "the station does not hear of the peers"
					}
					return ""
				})
				protocols := l.says(t, "show protocols")
				for _, want := range append(tt.names, OwnPrefix+PeerName(0), OwnPrefix+PeerName(1), OwnPrefix+BMPName) {
					if !strings.Contains(protocols, "\n"+want+" ") {
						t.Errorf("no protocol %s:\n%s", want, protocols)
					}
				}
				l.down(t)
				l.awaitRoutes(t, "master4", 1)
			})
		}
	}
}

// TestIncludeKernel: what a user's configuration has in the kernel's table is not waited
// for.
func TestIncludeKernel(t *testing.T) {
	text := "protocol static { ipv4; route 203.0.113.0/24 blackhole; }\nprotocol static { ipv6; route 2a00:ffff::/48 blackhole; }\n"
	l := startLab(t, Config{Binary: findRoot(t, "bird2-sid"), Peers: 1, Kernel: true, Include: userConfig(t, text)}, Flood{Routes: 40, IPv6: 20})
	// Its routes are in the table before the first flood.
	eventually(t, func() string {
		if have, err := l.speakers.kernel.counts(); err != nil || have != (routeCounts{1, 1}) {
			return "the user's routes are not in the kernel"
		}
		return ""
	})
	for range 2 {
		l.up(t)
		if before := l.speakers.before; before == nil || *before != (routeCounts{1, 1}) {
			t.Errorf("%+v routes in the kernel before, want 1 and 1", before)
		}
		if have, err := l.speakers.kernel.counts(); err != nil || have != (routeCounts{21, 21}) {
			t.Errorf("up: %+v routes in the kernel, error %v, want 21 and 21", have, err)
		}
		l.down(t)
		if have, err := l.speakers.kernel.counts(); err != nil || have != (routeCounts{1, 1}) {
			t.Errorf("down: %+v routes in the kernel, error %v, want 1 and 1", have, err)
		}
	}
}

// TestIncludeKernelShared: a route of the user's that is preferred to one of ours keeps
// that from the kernel, and nobody waits for it for ever.
func TestIncludeKernelShared(t *testing.T) {
	text := "protocol static { ipv4; route 1.0.1.0/24 blackhole; }\n"
	l := startLab(t, Config{Binary: findRoot(t, "bird2-sid"), Peers: 1, Kernel: true, Include: userConfig(t, text)}, Flood{Routes: 20})
	l.up(t)
	if have, err := l.speakers.kernel.counts(); err != nil || have != (routeCounts{20, 0}) {
		t.Errorf("up: %+v routes in the kernel, error %v, want 20", have, err)
	}
	l.down(t)
	if have, err := l.speakers.kernel.counts(); err != nil || have != (routeCounts{1, 0}) {
		t.Errorf("down: %+v routes in the kernel, error %v, want 1", have, err)
	}
}

func TestComplaint(t *testing.T) {
	for _, tt := range []struct{ out, want string }{
		{"bird: /run/x/bird.conf:7:1 syntax error\n", "/run/x/bird.conf:7:1 syntax error"},
		{"bird: 2026-11-22 14:40:34.359 [0001] <FATAL> /run/x/user conf:3:12 Unable to open\n", "/run/x/user conf:3:12 Unable to open"},
		{"bird: 14:40:34 [0001] <WARN> Deprecated\nbird: 14:40:34 [0001] <FATAL> /a:1:2 no\nmore", "/a:1:2 no"},
		{"bird: out of cheese\nmore", "bird: out of cheese"},
	} {
		if got := complaint(tt.out); got != tt.want {
			t.Errorf("complaint of %q is %q, want %q", tt.out, got, tt.want)
		}
	}
}

func TestIncludeErrors(t *testing.T) {
	namespace, err := NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	for _, tt := range []struct {
		name, file string
		kernel     bool
		want       []string
	}{
		{"missing", "/nonexistent/bird.conf", false, []string{"include configuration: stat /nonexistent/bird.conf: no such file"}},
		{"directory", t.TempDir(), false, []string{"is not a file"}},
		{"syntax", userConfig(t, "router id 10.1.2.3;\nprotocol nonsense { }\n"), false, []string{"refuses the configuration: ", "user/bird.conf:2:", "syntax error"}},
		{"includes", userConfig(t, "# include \"x\"\n\n  include \"peers/*.conf\";\n"), false, []string{"bird.conf:3: what it includes cannot be seen"}},
		{"two kernels", userConfig(t, "protocol kernel { ipv4 { export all; }; }\n"), true, []string{"together with the lab's peers", "Kernel syncer", "leave out --kernel"}},
		{"names", userConfig(t, "template bgp leakprof_lab_peer { }\n"), false, []string{"together with the lab's peers", "names that begin with leakprof_"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Start(t.Context(), Config{Binary: findRoot(t, "bird2-sid"), Peers: 1, Kernel: tt.kernel, Include: tt.file, Namespace: namespace})
			if err == nil {
				b.Stop(t.Context())
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
}

// TestPlaceInclude: a BIRD on the host reads the file where it is, so that relative
// includes lead from there.
func TestPlaceInclude(t *testing.T) {
	host := &Binary{Path: "/usr/sbin/bird"}
	file := userConfig(t, "include \"peers/*.conf\";\n")
	t.Chdir(filepath.Dir(file))
	if got, err := host.placeInclude(t.TempDir(), "bird.conf"); err != nil || got != file {
		t.Errorf("included as %s, error %v, want %s", got, err, file)
	}
	odd := filepath.Join(t.TempDir(), "what?.conf")
	if err := os.WriteFile(odd, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := host.placeInclude(t.TempDir(), odd); err == nil || !strings.Contains(err.Error(), "copy or link") {
		t.Errorf("error %v", err)
	}
}
