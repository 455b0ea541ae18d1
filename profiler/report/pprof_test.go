// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// pprofTool is the path of the `go tool pprof` that users have: started
// itself, not by the go command, so that it can be ended.
var pprofTool = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "tool", "-n", "pprof")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find go tool pprof: %w: %s(it is part of Go: install Go 1.26 from https://go.dev/dl and put its bin directory in PATH)", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
})

func pprofCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	tool, err := pprofTool()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = t.TempDir()
	// A binary that happens to be here must not be looked at, and settings of
	// whoever runs the test not count.
	home := t.TempDir()
	cmd.Env = append(cmd.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "PPROF_TMPDIR="+home, "PPROF_BINARY_PATH="+home)
	return cmd
}

// pprof returns what pprof prints, and fails if it warns of anything.
func pprof(t *testing.T, args ...string) string {
	t.Helper()
	cmd := pprofCommand(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("pprof %q: %v\n%s", args, err, stderr.String())
	}
	for _, l := range strings.Split(strings.TrimSpace(stderr.String()), "\n") {
		// This one tells that a filter was understood.
		if l != "" && !strings.Contains(l, "Interpreted ") {
			t.Errorf("pprof %q warns: %s", args, l)
		}
	}
	return stdout.String()
}

func writeAll(t *testing.T, r *Result) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := WriteAll(dir, r); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPprofReads(t *testing.T) {
	dir := writeAll(t, leak())
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		name string
		args []string
		want []string // regular expressions
		not  string
	}{
		{"retained top", []string{"-top", file(RetainedFile)}, []string{
			`(?m)^File: bird$`, `(?m)^Build ID: 0123456789abcdef`, `(?m)^Type: inuse_space$`,
			`of 1007\.\d+MB total`,
			`(?m)^ *1007.1\dMB +100% .* 100% +malloc$`,
			`(?m) 1007.08MB +100% +bmp_schedule_tx_packet \(inline\)$`, `(?m) 915.53MB .* bmp_buffer_alloc$`,
			`leakprof: pid 4242, /usr/sbin/bird, BIRD 2\.0\.12`, `verdict: leak: 1007`, `not covered: pages`, `health: frees missed: 12`, `stacks: 99\.99%`,
		}, `(?i)-\d`},
		{"retained without allocators", []string{"-top", "-hide=alloc|^ralloc$", file(RetainedFile)}, []string{`(?m)^ *1007.08MB .* bmp_schedule_tx_packet`}, ""},
		{"retained tree", []string{"-tree", file(RetainedFile)}, []string{`\| +bmp_route_monitor_update_in_pre_commit`}, ""},
		{"retained tags", []string{"-tags", file(RetainedFile)}, []string{`allocator: Total 1007`, ` mb\n`, `class: Total`, ` unknown\n`, `resource: Total`, ` Memory\n`}, ""},
		{"retained traces", []string{"-traces", file(RetainedFile)}, []string{`class: +unknown\n`, `resource: +Memory\n`, `allocator: +mb\n +915.53MB   malloc\n +bird_xmalloc\n +mb_alloc\n +bmp_buffer_alloc\n +bmp_schedule_tx_packet \(inline\)\n +bmp_route_monitor`}, ""},
		{"retained objects", []string{"-top", "-sample_index=inuse_objects", file(RetainedFile)}, []string{`of 2000248 total`}, ""},
		{"retained lines", []string{"-top", "-lines", file(RetainedFile)}, []string{`bmp_schedule_tx_packet proto/bmp/bmp.c:231 \(inline\)`, `proto/bmp/bmp.c:655`}, ""},
		{"flooded top", []string{"-top", "-nodefraction=0", file(FloodedFile)}, []string{`bgp_decode_attrs`, `Time: 2026-03-01 12:20:00 UTC`, `Duration: 1200s`}, ""},
		{"flooded allocated", []string{"-top", "-sample_index=alloc_space", "-unit=B", "-nodefraction=0", file(FloodedFile)}, []string{`of 4409104000B total`, ` 4000000000B .* bmp_buffer_alloc`}, ""},
		{"flooded allocated objects", []string{"-top", "-sample_index=alloc_objects", file(FloodedFile)}, []string{`of 8090800 total`}, ""},
		{"flooded tags", []string{"-tags", file(FloodedFile)}, []string{`bytes: Total`, ` 1kB\n`, `phase: Total`, ` flooding\n`, ` baseline\n`, `cycle: Total .*\n.*: 2\n`}, "class:"},
		{"flooded of cycle 2", []string{"-top", "-tagfocus=cycle=2", file(FloodedFile)}, []string{`bmp_buffer_alloc`}, "proto_new"},
		{"flooded by size", []string{"-top", "-tagfocus=bytes=512b:2kb", file(FloodedFile)}, []string{`bmp_buffer_alloc`}, "bgp_decode_attrs"},
		{"flooded by least size", []string{"-top", "-tagfocus=bytes=4kb:", file(FloodedFile)}, []string{`bgp_decode_attrs`}, "bmp_"},
		{"settled against baseline", []string{"-top", "-unit=B", "-diff_base=" + file(BaselineFile), file(SettledFile)}, []string{` 960000000B .* bmp_buffer_alloc`}, "proto_new"},
		{"settled less baseline", []string{"-top", "-unit=B", "-base=" + file(BaselineFile), file(SettledFile)}, []string{`of 1056050368B total`}, "proto_new"},
		{"baseline top", []string{"-top", file(BaselineFile)}, []string{`proto_new`}, "bmp_buffer_alloc"},
		{"comments", []string{"-comments", file(BaselineFile)}, []string{`covered: blocks of the C library`}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := pprof(t, c.args...)
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("not found: %s\n%s", want, out)
				}
			}
			_, nodes, _ := strings.Cut(out, "flat%") // numbers only after the comments
			if c.not != "" && regexp.MustCompile(c.not).MatchString(nodes) {
				t.Errorf("found: %s\n%s", c.not, out)
			}
		})
	}
}

func TestPprofReadsEveryResult(t *testing.T) {
	for name, result := range results {
		t.Run(name, func(t *testing.T) {
			dir := writeAll(t, result())
			files, err := filepath.Glob(filepath.Join(dir, "*.pb.gz"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				for _, mode := range []string{"-top", "-traces"} {
					out := pprof(t, mode, f)
					if !strings.Contains(out, "Type: inuse_space") {
						t.Errorf("%s of %s:\n%s", mode, f, out)
					}
				}
			}
			if name == "stripped" {
				if out := pprof(t, "-top", filepath.Join(dir, RetainedFile)); !strings.Contains(out, "bird+0x7d200") {
					t.Errorf("no address to blame:\n%s", out)
				}
			}
		})
	}
}

// TestPprofServes starts pprof's web server, as the report's last line says.
func TestPprofServes(t *testing.T) {
	dir := writeAll(t, leak())
	cmd := pprofCommand(t, "-http=127.0.0.1:", "-no_browser", filepath.Join(dir, RetainedFile))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	var address string
	lines := bufio.NewScanner(stderr)
	for address == "" && lines.Scan() {
		var ok bool
		if _, address, ok = strings.Cut(lines.Text(), "Serving web UI on "); !ok {
			t.Errorf("pprof -http warns: %s", lines.Text())
		}
	}
	if address == "" {
		t.Fatal("pprof -http ended without serving")
	}
	client := &http.Client{Timeout: 30 * time.Second}
	for path, want := range map[string]string{"/top": "bmp_schedule_tx_packet", "/flamegraph": "bmp_schedule_tx_packet", "/peek?f=bmp_buffer_alloc": "bmp_buffer_alloc"} {
		response, err := client.Get(address + path)
		for range 50 { // it prints the address before it listens
			if err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
			response, err = client.Get(address + path)
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(want)) {
			t.Errorf("GET %s: %s, %v, %d bytes without %s", path, response.Status, err, len(body), want)
		}
	}
}
