// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/bird"
	"leakprof/profiler/plan"
	"leakprof/profiler/privilege"
	"leakprof/profiler/symbol"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var errDenied = fmt.Errorf("map create: %w", fs.ErrPermission)

// good are the facts of a machine and a BIRD with nothing amiss.
func good() Facts {
	return Facts{
		Machine: Machine{
			Release: "6.12.48+deb13-amd64", BTF: true,
			Features:     []bpf.Feature{{Name: "task storage for probes", Since: "5.12"}, {Name: "bpf_get_attach_cookie", Since: "5.15"}},
			Restrictions: privilege.Restrictions{Lockdown: "none", UnprivilegedBPF: "2", PerfParanoid: "2", Capabilities: 1<<41 - 1},
			Multi:        true,
			Memory:       profiler.Room{Available: 16 << 30, Budget: 2 << 30},
		},
		Target: &Target{
			PID: 4711, Exe: "/usr/sbin/bird", Generation: bird.BIRD3, BuildID: "1f27345d", Fetch: "debuginfod-find debuginfo 1f27345d", Sites: 12, Need: 100 << 20,
			Sessions: Sessions{Socket: "/run/bird/bird.ctl", Version: "3.1.7", Station: "127.0.0.1:11019", Stations: []string{"127.0.0.1:11019"}},
		},
	}
}

// unprivileged are those of a common user.
func unprivileged(f *Facts) {
	f.Machine.Capabilities, f.Machine.Load, f.Machine.Runtime, f.Machine.Multi = 0, errDenied, errDenied, false
	for i := range f.Machine.Features {
		f.Machine.Features[i].Err = errDenied
	}
	f.Target = &Target{PID: 4711, Read: fmt.Errorf("read executable of process 4711: %w", fs.ErrPermission)}
}

// walking are those of a machine without BPF and of a user without its rights, where
// nothing is to be probed.
func walking(f *Facts) {
	f.Machine = Machine{Walk: true, Release: "4.18.0-553.el8_10.x86_64", Restrictions: f.Machine.Restrictions}
	f.Machine.Capabilities = 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH
	f.Target.Sites = 0
}

// TestExamine judges machines and BIRDs that nobody has at hand. fails are the
// checks that are to fail; each text is in its golden file.
func TestExamine(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Facts)
		fails  []string
	}{
		{"good", func(*Facts) {}, nil},
		{"walk", walking, nil},
		{"machine-only", func(f *Facts) { f.Target = nil }, nil},
		{"user", unprivileged, []string{"CAP_BPF", "CAP_PERFMON", "programs", "probes", "pid 4711"}},
		{"user-without-multi", func(f *Facts) {
			unprivileged(f)
			f.Machine.Release = "6.1.0-35-amd64"
		}, []string{"CAP_BPF", "CAP_PERFMON", "programs", "probes", "pid 4711"}},
		{"user-old-kernel", func(f *Facts) {
			unprivileged(f)
			f.Machine.Release = "5.10.0-35-amd64"
		}, []string{"kernel", "CAP_BPF", "CAP_PERFMON", "programs", "probes", "pid 4711"}},
		{"old-kernel", func(f *Facts) {
			f.Machine.Release, f.Machine.Multi = "5.10.0-35-amd64", false
			f.Machine.Features[0].Err, f.Machine.Features[1].Err = ebpf.ErrNotSupported, ebpf.ErrNotSupported
			f.Machine.Load = errors.New("load BPF programs: invalid argument")
		}, []string{"kernel", "programs", "probes"}},
		{"backports", func(f *Facts) { f.Machine.Release, f.Machine.Multi = "5.14.0-503.el9.x86_64", false }, nil},
		{"no-btf", func(f *Facts) {
			f.Machine.BTF, f.Machine.Load = false, errors.New("load BPF programs: no BTF")
		}, []string{"BTF", "programs", "probes"}},
		{"lockdown", func(f *Facts) {
			f.Machine.Lockdown, f.Machine.Load = "confidentiality", errors.New("load BPF programs: unknown func")
		}, []string{"lockdown", "programs", "probes"}},
		{"container", func(f *Facts) {
			f.Machine.Seccomp, f.Machine.Load, f.Machine.Runtime = 2, errDenied, errDenied
			f.Target.Elsewhere = map[string]bool{"mnt": true, "pid": true, "net": true}
			f.Machine.Memory = profiler.Room{Available: 512 << 20, Group: true, Budget: 64 << 20}
			f.Target.Need = 40 << 20
		}, []string{"seccomp", "programs", "probes"}},
		{"harmless-filter", func(f *Facts) { f.Machine.Seccomp = 2 }, nil},
		{"rootless", func(f *Facts) {
			f.Machine.UserNamespace, f.Machine.Seccomp, f.Machine.Load = true, 2, errDenied
		}, []string{"programs", "probes"}},
		{"paranoid", func(f *Facts) {
			f.Machine.Multi, f.Machine.PerfParanoid, f.Machine.Probe = false, "4", errDenied
		}, []string{"probes"}},
		{"least-rights", func(f *Facts) {
			f.Machine.Capabilities = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_CHECKPOINT_RESTORE
			f.Machine.Runtime = errDenied
		}, nil},
		{"least-rights-old-kernel", func(f *Facts) {
			f.Machine.Release, f.Machine.Multi, f.Machine.Probe = "6.1.0-40-amd64", false, errDenied
			f.Machine.Capabilities &^= 1 << unix.CAP_SYS_ADMIN
		}, []string{"probes"}},
		{"short-of-memory", func(f *Facts) {
			f.Machine.Memory = profiler.Room{Available: 90 << 20, Budget: 64 << 20, Short: true}
			f.Target.Need = 100 << 20
		}, []string{"memory", "live set"}},
		{"no-bird", func(f *Facts) {
			f.Target = &Target{PID: 1, Exe: "/sbin/init", BIRD: fmt.Errorf("find resource class \"Pool\" in init: 0 matches: %w", bird.ErrNotBIRD)}
		}, []string{"pid 1"}},
		{"stopped", func(f *Facts) { f.Target.Stopped = true }, []string{"pid 4711"}},
		{"replaced", func(f *Facts) {
			f.Target.Files = errors.New("open /usr/sbin/bird of process 4711: replaced on disk since it was mapped; run with CAP_CHECKPOINT_RESTORE to read the mapped one")
		}, []string{"pid 4711"}},
		{"stripped-late-upgrade", func(f *Facts) {
			f.Target.Exe, f.Target.Replaced, f.Target.DWARF = "/usr/sbin/bird (deleted)", []string{"/usr/sbin/bird"}, symbol.ErrNoDWARF
		}, nil},
		{"libraries-replaced", func(f *Facts) {
			f.Target.Replaced = []string{"/usr/sbin/bird", "/usr/lib/x86_64-linux-gnu/libc.so.6"}
		}, nil},
		{"all-replaced", func(f *Facts) { f.Target.Replaced = strings.Fields(strings.Repeat("/usr/lib/libx.so ", 10)) }, nil},
		{"symbols", func(f *Facts) {
			f.Target.DWARF, f.Target.Symbols, f.Target.BuildID, f.Target.Fetch = symbol.ErrNoDWARF, true, "", ""
		}, nil},
		{"debug-file", func(f *Facts) { f.Target.DebugFile = "/usr/lib/debug/.build-id/1f/27345d.debug" }, nil},
		{"wrong-debug-file", func(f *Facts) {
			f.Target.DWARF, f.Target.Debug = symbol.ErrNoDWARF, errors.New("use /usr/lib/debug/bird.debug: its build ID is another")
		}, nil},
		{"split-dwarf", func(f *Facts) { f.Target.DWARF = symbol.ErrSplitDWARF }, nil},
		{"plan-in-part", func(f *Facts) {
			f.Target.Plan = errors.New("follow slab objects: sl_alloc is not found; run --mode pages")
		}, []string{"plan"}},
		{"jemalloc", func(f *Facts) {
			f.Target.Plan = fmt.Errorf("find malloc: libjemalloc.so.2 has one: %w", plan.ErrForeignAllocator)
		}, []string{"plan"}},
		{"no-socket", func(f *Facts) {
			f.Target.Sessions = Sessions{Control: errors.New("pid 4711 has none at /run/bird.ctl"), Station: "127.0.0.1:11019"}
		}, []string{"control socket"}},
		{"socket-of-others", func(f *Facts) {
			f.Target.Sessions = Sessions{Control: fmt.Errorf("connect to BIRD's control socket: %w", fs.ErrPermission), Station: "127.0.0.1:11019"}
		}, []string{"control socket"}},
		{"station-elsewhere", func(f *Facts) { f.Target.Sessions.Stations = []string{"192.0.2.1:1790"} }, nil},
		{"station-unknown", func(f *Facts) { f.Target.Sessions.Stations = []string{""} }, nil},
		{"no-bmp", func(f *Facts) { f.Target.Sessions.Stations, f.Target.Need = nil, 0 }, nil},
		{"no-station", func(f *Facts) { f.Target.Sessions.Station = "" }, nil},
		{"address-in-use", func(f *Facts) {
			f.Target.Sessions.Listen = errors.New("listen at 127.0.0.1:11019: address already in use")
		}, []string{"BMP"}},
		{"hostile", func(f *Facts) { f.Target.Exe = "/tmp/\x1b[2J\nworks" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := good()
			c.change(&f)
			checks := Examine(f)
			var failed []string
			for _, c := range checks {
				if c.State == Fails {
					failed = append(failed, c.Name)
				}
			}
			if !slices.Equal(failed, c.fails) {
				t.Errorf("%q fail, want %q", failed, c.fails)
			}
			err := Verdict(checks)
			if (err != nil) != (len(c.fails) > 0) || err != nil && !errors.Is(err, ErrUnfit) {
				t.Errorf("verdict %v", err)
			}
			var b bytes.Buffer
			if err := WriteText(&b, checks); err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(b.String(), "\n"); lines != len(checks) {
				t.Errorf("%d lines for %d checks", lines, len(checks))
			}
			golden := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; make it with go test ./profiler/doctor -update", err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", b.Bytes(), want)
			}
		})
	}
}

// TestJSON: what is printed reads back, and says whether all is fit.
func TestJSON(t *testing.T) {
	for _, fit := range []bool{true, false} {
		f := good()
		f.Machine.BTF = fit
		checks := Examine(f)
		var b bytes.Buffer
		if err := WriteJSON(&b, checks); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Fit    *bool
			Checks []Check
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Fit == nil || *got.Fit != fit || !slices.Equal(got.Checks, checks) {
			t.Errorf("got %+v, want %v and %+v", got, fit, checks)
		}
	}
}
