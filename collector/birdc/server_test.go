// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// captured are the commands whose replies are in testdata/VERSION: recorded from BIRDs with
// four BGP peers, 2000 routes each, and a BMP station. Each file begins with the greeting.
var captured = map[string]string{
	"show memory":                     "memory.txt",
	"show protocols":                  "protocols.txt",
	`show protocols all "bmp1"`:       "protocol-bmp1.txt",
	`show protocols all "peer1"`:      "protocol-peer1.txt",
	`show protocols all "nosuch"`:     "noproto.txt",
	"show route count":                "route-count.txt",
	"show route table all count":      "route-count-all.txt",
	"show route protocol peer1 count": "route-count-peer1.txt",
	"show bmp":                        "error.txt",
}

// versions are the recorded versions of BIRD.
func versions(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var vs []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "fuzz" {
			vs = append(vs, e.Name())
		}
	}
	if len(vs) == 0 {
		t.Fatal("no recorded replies in testdata")
	}
	return vs
}

// recorded splits a recorded file into the greeting and the reply.
func recorded(t testing.TB, version, file string) (greeting, reply string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", version, file))
	if err != nil {
		t.Fatal(err)
	}
	greeting, reply, _ = strings.Cut(string(b), "\n")
	return greeting + "\n", reply
}

// serve runs a control socket. It greets, and answers each line by what reply returns.
func serve(t testing.TB, greeting string, reply func(line string) string) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "birdc") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "ctl"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer conn.Close()
				conn.Write([]byte(greeting))
				for in := bufio.NewScanner(conn); in.Scan(); {
					out := reply(in.Text())
					if out == "" {
						return
					}
					// In two parts, as a socket may deliver it.
					conn.Write([]byte(out[:len(out)/2]))
					conn.Write([]byte(out[len(out)/2:]))
				}
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
		os.RemoveAll(dir)
	})
	return l.Addr().String()
}

// connect dials a control socket that replays one version's replies.
func connect(t testing.TB, version string) *Conn {
	t.Helper()
	greeting, _ := recorded(t, version, "memory.txt")
	return dial(t, serve(t, greeting, func(line string) string {
		file, ok := captured[line]
		if !ok {
			t.Errorf("unexpected command %q", line)
			return ""
		}
		_, reply := recorded(t, version, file)
		return reply
	}))
}

func dial(t testing.TB, path string) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
