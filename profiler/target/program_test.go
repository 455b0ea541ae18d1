// SPDX-License-Identifier: Apache-2.0

package target

import (
	"os"
	"slices"
	"testing"
)

func TestProgramFirst(t *testing.T) {
	module := func(name string, start uint64) *Module {
		m := &Module{Name: name, Areas: []Mapping{{Start: start, End: start + 0x1000, Exec: true}}}
		if name != "[vdso]" {
			m.file = os.Stdin
		}
		return m
	}
	for _, c := range []struct {
		name    string
		modules []string // at 0x10000, 0x20000, …
		entry   uint64
		want    []string
	}{
		{"lowest", []string{"bird", "libc.so.6", "ld-linux-x86-64.so.2", "[vdso]"}, 0x10010, []string{"bird", "libc.so.6", "ld-linux-x86-64.so.2", "[vdso]"}},
		{"static, above the vDSO", []string{"[vdso]", "bird"}, 0x20000, []string{"bird", "[vdso]"}},
		{"between its libraries", []string{"libc.so.6", "libssh.so.4", "bird", "[vdso]"}, 0x30fff, []string{"bird", "libc.so.6", "libssh.so.4", "[vdso]"}},
		{"loaded by an executed ld.so", []string{"[vdso]", "bird", "libc.so.6", "ld-linux-x86-64.so.2"}, 0x40000, []string{"bird", "[vdso]", "libc.so.6", "ld-linux-x86-64.so.2"}},
		{"no entry", []string{"[vdso]", "bird"}, 0, []string{"bird", "[vdso]"}},
		{"entry elsewhere", []string{"bird", "libc.so.6"}, 0x90000, []string{"bird", "libc.so.6"}},
		{"none", nil, 0x10000, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var modules []*Module
			for i, name := range c.modules {
				modules = append(modules, module(name, uint64(i+1)<<16))
			}
			programFirst(modules, c.entry)
			var got []string
			for _, m := range modules {
				got = append(got, m.Name)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestEntry compares with what our own start code says of us.
func TestEntry(t *testing.T) {
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	modules, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, m := range modules {
			m.Close()
		}
	}()
	if got, want := p.entry(), modules[0].Bias+modules[0].ELF.Entry; got != want {
		t.Errorf("entry is 0x%x, want 0x%x", got, want)
	}
}
