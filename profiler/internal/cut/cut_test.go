// SPDX-License-Identifier: Apache-2.0

package cut

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"

	"leakprof/collector/lab"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

func TestCalls(t *testing.T) {
	const start = 0x1000
	for _, test := range []struct {
		name string
		code []byte
		want []Site
	}{
		{"call", []byte{0xe8, 0xfb, 0xf, 0, 0}, []Site{{Release: "rfree", Address: 0x1000}}},
		{"jump behind endbr64 and nop", []byte{0xf3, 0x0f, 0x1e, 0xfa, 0x90, 0xe9, 0xf6, 0xf, 0, 0}, []Site{
			{Release: "rfree", Address: 0x1005, Tail: true},
		}},
		{"backwards", []byte{0x90, 0xe8, 0xfa, 0xef, 0xff, 0xff}, []Site{
			{Release: "sl_free", Address: 0x1001},
		}},
		{"of another function", []byte{0xe8, 0, 0, 0, 0}, nil},
		{"in a constant", []byte{0x48, 0xb8, 0xe8, 0xf9, 0xf, 0, 0, 0, 0, 0}, nil},
		{"cut short", []byte{0xe8, 0xfb, 0xf}, nil},
	} {
		release := map[uint64]string{0x2000: "rfree", 0: "sl_free"}
		target := map[string]uint64{"rfree": 0x2000, "sl_free": 0}
		for i, s := range test.want {
			test.want[i].code = [callLength]byte(test.code[s.Address-start:])
		}
		got := calls(test.code, start, release)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		for _, s := range got {
			if !bytes.Equal(s.leadingTo(target[s.Release]), s.code[:]) {
				t.Errorf("%s: %x leads to %s, %x is there", test.name, s.leadingTo(target[s.Release]), s.Release, s.code)
			}
		}
	}
}

func TestEntries(t *testing.T) {
	code := []byte{0x90, 0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0xc3, 0x90}
	got := entries(code, 0x1000, map[uint64]string{0x1001: "mb_free", 0x1004: "rfree", 0xfff: "sl_free", 0x2000: "lp_flush"})
	want := []Site{{Release: "mb_free", Address: 0x1001, Entry: true, code: [callLength]byte(code[1:])}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v: the others are not all in the code", got, want)
	}
	if jump := got[0].leadingTo(0x2000); !bytes.Equal(jump, []byte{0xe9, 0xfa, 0xf, 0, 0}) {
		t.Errorf("%x is no jump from there to 0x2000", jump)
	}
}

// TestRecorder decodes the recorder, which must end in ret, and write to its
// count and ring.
func TestRecorder(t *testing.T) {
	const address, data, ring = 0x5000, 0x9000, 64
	code := recorder(address, data, ring)
	var ops []string
	var touched []uint64
	for at := 0; at < len(code); {
		inst, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			t.Fatalf("at %d: %v", at, err)
		}
		at += inst.Len
		ops = append(ops, inst.Op.String())
		for _, a := range inst.Args {
			if m, ok := a.(x86asm.Mem); ok && m.Base == x86asm.RIP {
				touched = append(touched, uint64(address+at)+uint64(m.Disp))
			}
		}
	}
	if got, want := strings.Join(ops, " "), "PUSH PUSH PUSH MOV XADD AND LEA NOT MOV POP POP POP RET"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if want := []uint64{data, data + 8}; !slices.Equal(touched, want) {
		t.Errorf("it touches %#x, want %#x", touched, want)
	}
	if i := slices.Index(code, 0x25); binary.LittleEndian.Uint32(code[i+1:]) != ring-1 {
		t.Errorf("no mask for a ring of %d in %x", ring, code)
	}
}

// TestApply cuts calls in a BIRD, and undoes one by a probe on it.
func TestApply(t *testing.T) {
	path, err := filepath.Abs("../../../.bird/bird3-trixie/usr/sbin/bird")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("BIRD bird3-trixie is missing: scripts/bird-root bird3-trixie")
	}
	binary, err := lab.Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := lab.Start(t.Context(), lab.Config{Binary: binary, PausedAtEntry: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.WithoutCancel(t.Context()))
	p, err := target.Open(b.PID())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	modules, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	exe := modules[0]
	sites, err := Find(exe)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Releases {
		for _, entry := range []bool{false, true} {
			if !slices.ContainsFunc(sites, func(s Site) bool { return s.Release == name && s.Entry == entry }) {
				t.Errorf("%s is not found (entry: %v)", name, entry)
			}
		}
	}

	site := sites[0]
	for _, near := range []uint64{site.Address - longest + 1, site.Address, site.Address + callLength - 1} {
		if _, err := Apply(p, exe, site, []plan.Site{{Module: exe, Function: "f", Address: near}}); err == nil || !strings.Contains(err.Error(), "the probe of f lies there") {
			t.Errorf("cut where a probe is: %v", err)
		}
	}
	c, err := Apply(p, exe, site, []plan.Site{{Module: exe, Address: site.Address + callLength}})
	if err != nil {
		t.Fatal(err)
	}
	if n, arguments, err := c.Withheld(); n != 0 || len(arguments) != 0 || err != nil {
		t.Errorf("a BIRD that does not run withholds %d: %x, %v", n, arguments, err)
	}
	if _, err := Apply(p, exe, sites[1], nil); err == nil {
		t.Error("a second cut has the first one's room")
	}
	if err := c.Holds(); err != nil {
		t.Error(err)
	}
	probe, err := Count(b.PID(), exe, []Site{site})
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	if err := c.Holds(); err == nil || !strings.Contains(err.Error(), "is undone") {
		t.Errorf("a probe on a cut: %v, want it undone", err)
	}
}
