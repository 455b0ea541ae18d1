// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestRecorded reads the replies of real BIRDs and compares all that comes out of them.
func TestRecorded(t *testing.T) {
	for _, version := range versions(t) {
		t.Run(version, func(t *testing.T) {
			c, ctx := connect(t, version), t.Context()
			if c.Version() != version {
				t.Errorf("version %q", c.Version())
			}
			memory, err := c.ShowMemory(ctx)
			check(t, err)
			protocols, err := c.ShowProtocols(ctx)
			check(t, err)
			bmp, err := c.ProtocolDetails(ctx, "bmp1")
			check(t, err)
			peer, err := c.ProtocolDetails(ctx, "peer1")
			check(t, err)
			routes, err := c.ShowRouteCount(ctx, "")
			check(t, err)
			all, err := c.ShowRouteCount(ctx, "table all")
			check(t, err)
			peerRoutes, err := c.ShowRouteCount(ctx, "protocol peer1")
			check(t, err)
			got, err := json.MarshalIndent(map[string]any{
				"memory": memory, "protocols": protocols, "bmp1": bmp, "peer1": peer,
				"routes": routes, "all routes": all, "routes of peer1": peerRoutes,
			}, "", "\t")
			check(t, err)

			golden := filepath.Join("testdata", version, "golden.json")
			if *update {
				check(t, os.WriteFile(golden, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(golden)
			check(t, err)
			if string(got)+"\n" != string(want) {
				t.Errorf("parsed replies differ from %s (rewrite it with -update):\n%s", golden, got)
			}

			var e *CommandError
			if _, err := c.Command(ctx, "show bmp"); !errors.As(err, &e) || e.Code != 9001 {
				t.Errorf("show bmp: error %v, want code 9001", err)
			}
			if _, err := c.ProtocolDetails(ctx, "nosuch"); !errors.As(err, &e) || e.Code != 8003 || e.Text != "No protocols match" {
				t.Errorf("no such protocol: error %v, want code 8003", err)
			}
			// An error of a command is none of the connection.
			if _, err := c.ShowMemory(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDialRejects(t *testing.T) {
	for _, greeting := range []string{
		"0016 Access restricted\n",
		"0001 FRR 9 ready.\n",
		"0001 BIRD  ready.\n",
		"SSH-2.0-OpenSSH_9.2\n",
		"0001 BIRD 2.13 ready.", // cut
		"",
	} {
		path := serve(t, greeting, func(string) string { return "" })
		ctx, cancel := context.WithCancel(t.Context())
		if !strings.HasSuffix(greeting, "\n") {
			cancel() // else it would be waited for
		}
		if c, err := Dial(ctx, path); err == nil {
			c.Close()
			t.Errorf("greeting %q is taken for BIRD's", greeting)
		}
		cancel()
	}
	_, err := Dial(t.Context(), filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
	if _, err := Dial(t.Context(), "/"+strings.Repeat("x", maxPath)); err == nil || !strings.Contains(err.Error(), "at most 107") {
		t.Errorf("error %v of a long path", err)
	}
}

// TestNoTables: a BIRD that has nothing to count has no routes, and other refusals
// are errors.
func TestNoTables(t *testing.T) {
	answer := "9001 No valid tables\n"
	c := dial(t, serve(t, "0001 BIRD 3.1.7 ready.\n", func(string) string { return answer }))
	if counts, err := c.ShowRouteCount(t.Context(), "table all"); err != nil || len(counts) > 0 {
		t.Errorf("counts %v, error %v, want none of either", counts, err)
	}
	answer = "9001 syntax error, unexpected CF_SYM_UNDEFINED\n"
	var e *CommandError
	if _, err := c.ShowRouteCount(t.Context(), "table nosuch"); !errors.As(err, &e) || e.Code != 9001 {
		t.Errorf("error %v, want code 9001", err)
	}
}

func TestCommandRejects(t *testing.T) {
	c := connect(t, "2.13")
	for _, line := range []string{"", "  ", "show memory\nconfigure", "a\rb", "a\x00"} {
		if _, err := c.Command(t.Context(), line); err == nil {
			t.Errorf("%q was sent", line)
		}
	}
	if _, err := c.ProtocolDetails(t.Context(), `a" all`); err == nil {
		t.Error("a name with a quote was sent")
	}
}

// TestCommandEndsWithContext wants that a reply that comes too late is never taken for
// that of the next command.
func TestCommandEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	c := dial(t, serve(t, "0001 BIRD 2.13 ready.\n", func(string) string {
		cancel()
		<-release
		return "0013 Daemon is up and running\n"
	}))
	if _, err := c.Command(ctx, "show status"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	close(release)
	if _, err := c.Command(t.Context(), "show status"); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("error %v of a connection that is out of step", err)
	}
}

func TestBIRDGone(t *testing.T) {
	c := dial(t, serve(t, "0001 BIRD 2.13 ready.\n", func(string) string { return "" }))
	if _, err := c.Command(t.Context(), "show memory"); err == nil || !strings.Contains(err.Error(), "BIRD closed the connection") {
		t.Errorf("error %v", err)
	}
	c.Close()
	if _, err := c.Command(t.Context(), "show memory"); err == nil {
		t.Error("a closed connection takes commands")
	}
}

func TestCommandsTakeTurns(t *testing.T) {
	c := dial(t, serve(t, "0001 BIRD 2.13 ready.\n", func(line string) string {
		return "1000-" + line + "\n0000 \n"
	}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			line := strings.Repeat("x", i+1)
			for range 50 {
				r, err := c.Command(t.Context(), line)
				if err != nil || r.Lines[0].Text != line {
					t.Errorf("reply %+v, error %v to %q", r, err, line)
					return
				}
			}
		}()
	}
	wg.Wait()
	if n := c.Commands(); n != 8*50 {
		t.Errorf("%d commands sent, want %d", n, 8*50)
	}
}
