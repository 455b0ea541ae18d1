// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memleakRoot is where scripts/bench/memleak-root unpacks libbpf-tools of Debian 13.
const memleakRoot = ".bird/libbpf-tools-trixie"

// others are the profilers that leakprof is compared with.
var others = []other{
	{
		name:    "memleak",
		needs:   []string{"memleak-libbpf", absolute(memleakRoot + "/usr/sbin/memleak-libbpf")},
		install: "Debian 13 or later: apt-get install -y libbpf-tools; else: scripts/bench/memleak-root",
		attach: func(ctx context.Context, found string, v victim) (attached, error) {
			// It has room for 31 bytes of the library's path.
			dir, err := os.MkdirTemp("/tmp", "l")
			if err != nil {
				return nil, err
			}
			defer os.RemoveAll(dir)
			libc := filepath.Join(dir, "libc")
			if err := os.Symlink(v.libc, libc); err != nil {
				return nil, err
			}
			// It prints when its interval is over, or at ^C.
			args := []string{"-oL", found, "-p", strconv.Itoa(v.pid), "-O", libc, "-T", "10000", "86400"}
			if root := absolute(memleakRoot); strings.HasPrefix(found, root) {
				lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
				args = slices.Insert(args, 1, filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", lib)
			}
			return startFollower(ctx, "Tracing outstanding memory allocs", "stdbuf", args...)
		},
		report: interrupted(regexp.MustCompile(`^\s*(\d+) bytes in \d+ allocations from stack`)),
	},
	{
		name: "bpftrace", needs: []string{"bpftrace"}, install: "apt-get install -y bpftrace",
		attach: func(ctx context.Context, found string, v victim) (attached, error) {
			// A line each second says that all probes are there: "Attaching" comes before.
			// -p alone does not keep uprobes to the process.
			program := fmt.Sprintf(`
				uprobe:%[1]s:malloc /pid == %[2]d/ { @size[tid] = arg0 }
				uretprobe:%[1]s:malloc /pid == %[2]d && @size[tid]/ { @live[retval] = @size[tid]; delete(@size[tid]) }
				uprobe:%[1]s:free /pid == %[2]d/ { delete(@live[arg0]) }
				interval:s:1 { printf("probes are there\n") }`, v.libc, v.pid)
			return startFollower(ctx, "probes are there", "env", "BPFTRACE_MAP_KEYS_MAX=1000000",
				found, "-B", "line", "-p", strconv.Itoa(v.pid), "-e", program)
		},
		report: interrupted(regexp.MustCompile(`^@live\[\d+\]: (\d+)$`)),
	},
	{
		name: "heaptrack", needs: []string{"/usr/lib/heaptrack/libheaptrack_preload.so"}, install: "apt-get install -y heaptrack",
		begin: func(ctx context.Context, found string, p place) ([]string, attached, error) {
			fifo, out := filepath.Join(p.here, "heaptrack.fifo"), filepath.Join(p.here, "heaptrack.out")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				return nil, nil, fmt.Errorf("make fifo: %w", err)
			}
			interpret := filepath.Join(filepath.Dir(found), "libexec/heaptrack_interpret")
			c, err := startCommand(ctx, "sh", "-c", `exec "$0" <"$1" >"$2"`, interpret, fifo, out)
			if err != nil {
				return nil, nil, err
			}
			env, err := preload(found, p, "DUMP_HEAPTRACK_OUTPUT="+filepath.Join(p.inside, "heaptrack.fifo"))
			return env, &follower{c}, err
		},
		atEnd: true,
		report: func(ctx context.Context, p place, a attached) (int64, error) {
			if err := a.(*follower).wait(ctx); err != nil {
				return 0, err
			}
			out, err := exec.CommandContext(ctx, "heaptrack_print", "-f", filepath.Join(p.here, "heaptrack.out")).Output()
			if err != nil {
				return 0, fmt.Errorf("heaptrack_print: %w", err)
			}
			return parseHeaptrack(out)
		},
	},
	{
		name: "gperftools", needs: []string{"/usr/lib/x86_64-linux-gnu/libtcmalloc.so.4"}, install: "apt-get install -y libgoogle-perftools4",
		begin: func(_ context.Context, found string, p place) ([]string, attached, error) {
			env, err := preload(found, p, "HEAPPROFILE="+filepath.Join(p.inside, "tcmalloc"))
			return env, inside{}, err
		},
		atEnd:  true,
		report: lastFile("tcmalloc.*.heap", parseGperftools),
	},
	jemalloc("jemalloc", ""),
	jemalloc("jemalloc unsampled", ",lg_prof_sample:0"),
}

// jemalloc samples every 512 kB by default.
func jemalloc(name, more string) other {
	return other{
		name: name, needs: []string{"/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"}, install: "apt-get install -y libjemalloc2",
		begin: func(_ context.Context, found string, p place) ([]string, attached, error) {
			env, err := preload(found, p, "MALLOC_CONF=prof:true,prof_final:true,prof_prefix:"+filepath.Join(p.inside, "jemalloc")+more)
			return env, inside{}, err
		},
		atEnd:  true,
		report: lastFile("jemalloc.*.heap", parseJemalloc),
	}
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// startFollower returns when the program has said that it is ready.
func startFollower(ctx context.Context, ready, name string, args ...string) (attached, error) {
	c, err := startCommand(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	if err := c.await(ctx, ready); err != nil {
		c.Close()
		return nil, err
	}
	return &follower{c}, nil
}

// interrupted is the report of a program that prints it at ^C: the sum of what the
// pattern finds in its lines.
func interrupted(pattern *regexp.Regexp) func(context.Context, place, attached) (int64, error) {
	return func(ctx context.Context, _ place, a attached) (sum int64, err error) {
		f := a.(*follower)
		if err := unix.Kill(-f.cmd.Process.Pid, unix.SIGINT); err != nil {
			return 0, err
		}
		for {
			select {
			case line, ok := <-f.lines:
				if !ok {
					return sum, nil
				}
				if match := pattern.FindStringSubmatch(line); match != nil {
					n, err := strconv.ParseInt(match[1], 10, 64)
					if err != nil {
						return 0, err
					}
					sum += n
				}
			case <-ctx.Done():
				return 0, errors.New("it does not end")
			}
		}
	}
}

// lastFile is the report of a profiler that writes files, the last of which counts.
func lastFile(pattern string, parse func([]byte) (int64, error)) func(context.Context, place, attached) (int64, error) {
	return func(_ context.Context, p place, _ attached) (int64, error) {
		files, err := filepath.Glob(filepath.Join(p.here, pattern))
		if err != nil || len(files) == 0 {
			return 0, fmt.Errorf("it has written no %s", pattern)
		}
		data, err := os.ReadFile(slices.Max(files))
		if err != nil {
			return 0, err
		}
		return parse(data)
	}
}

var heaptrackLeaked = regexp.MustCompile(`(?m)^total memory leaked: ([0-9.]+)([BKMGT])`)

// parseHeaptrack reads what heaptrack_print says, which has three digits.
func parseHeaptrack(out []byte) (int64, error) {
	match := heaptrackLeaked.FindSubmatch(out)
	if match == nil {
		return 0, errors.New("heaptrack_print does not say what leaked")
	}
	v, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		return 0, err
	}
	// Its units are powers of 1000 (KDE's formatBytes in heaptrack's print).
	return int64(v * math.Pow(1000, float64(strings.IndexByte("BKMGT", match[2][0])))), nil
}

var gperftoolsTotal = regexp.MustCompile(`^heap profile:\s*\d+:\s*(\d+) \[`)

// parseGperftools reads the first line, with what is in use.
func parseGperftools(data []byte) (int64, error) {
	match := gperftoolsTotal.FindSubmatch(data)
	if match == nil {
		return 0, errors.New("read heap profile: it does not begin with its total")
	}
	return strconv.ParseInt(string(match[1]), 10, 64)
}

// parseJemalloc adds up a profile as jeprof does: a stack of n objects of together b bytes
// in use stands for 1/(1-exp(-b/n/rate)) times as much, since an object is sampled the more
// likely the larger it is (heap_v2: jemalloc's prof_unbias is not applied in the file).
func parseJemalloc(data []byte) (int64, error) {
	lines := strings.Split(string(data), "\n")
	rest, ok := strings.CutPrefix(lines[0], "heap_v2/")
	rate, err := strconv.ParseFloat(rest, 64)
	if !ok || err != nil || rate <= 0 {
		return 0, fmt.Errorf("read heap profile: it begins with %q", lines[0])
	}
	var sum float64
	stack := false
	for _, line := range lines[1:] {
		if stack = stack || strings.HasPrefix(line, "@"); !stack {
			continue // the totals
		}
		var n, b float64
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "t*: %g: %g [", &n, &b); err != nil || n == 0 {
			continue
		}
		sum += b / (1 - math.Exp(-b/n/rate))
	}
	return int64(sum), nil
}
