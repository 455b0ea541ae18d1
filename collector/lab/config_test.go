// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestConfigText(t *testing.T) {
	station := netip.MustParseAddrPort("127.0.0.1:11019")
	for _, test := range []struct {
		golden  string
		peers   int
		station netip.AddrPort
	}{
		{"with-bmp.conf", 4, station},
		{"without-bmp.conf", 4, netip.AddrPort{}},
		{"no-peers.conf", 0, station},
	} {
		t.Run(test.golden, func(t *testing.T) {
			got := layout{peers: test.peers, port: 20179, station: test.station, device: true}.text()
			golden := filepath.Join("testdata", test.golden)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := readFile(t, golden); got != want {
				t.Errorf("configuration is\n%s\nwant (or run with -update)\n%s", got, want)
			}
			// The text is the same for every version, so each has to take it.
			for _, name := range birdRoots {
				b := findRoot(t, name)
				dir, err := b.makeDir()
				if err != nil {
					t.Fatal(err)
				}
				defer os.RemoveAll(dir)
				if err := b.check(t.Context(), dir, got); err != nil {
					t.Errorf("%s refuses it: %v", name, err)
				}
			}
		})
	}
}

func TestConfigMostPeers(t *testing.T) {
	b := findRoot(t, "bird3-trixie")
	dir, err := b.makeDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := b.check(t.Context(), dir, layout{peers: MaxPeers, port: 20179, device: true}.text()); err != nil {
		t.Error(err)
	}
}
