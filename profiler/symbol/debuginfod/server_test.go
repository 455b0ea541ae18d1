// SPDX-License-Identifier: Apache-2.0

package debuginfod

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace is set in the environment of the test that TestServer starts in
// a network namespace of its own: debuginfod listens on all addresses, and
// nobody else's port may be taken.
const inNamespace = "LEAKPROF_TEST_NAMESPACE"

// TestServer fetches a debug file from elfutils' server, and reads the cache
// with its client.
func TestServer(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		testServer(t)
		return
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestServer$", "-test.v")
	c.Env = append(os.Environ(), inNamespace+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("in a network namespace: %v (run as root)\n%s", err, out)
	}
}

func testServer(t *testing.T) {
	raiseLoopback(t)
	program, id := fixture(t)
	dir := t.TempDir()
	debug := filepath.Join(dir, "files", "prog.debug")
	if err := os.Mkdir(filepath.Dir(debug), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("objcopy", "--only-keep-debug", program, debug).CombinedOutput(); err != nil {
		t.Fatalf("%v: apt-get install -y binutils\n%s", err, out)
	}
	var log bytes.Buffer
	server := exec.Command("debuginfod", "-F", "-d", filepath.Join(dir, "db"), "-p", "8002", filepath.Dir(debug))
	server.Stdout, server.Stderr = &log, &log
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		t.Fatalf("%v: apt-get install -y debuginfod", err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
		if t.Failed() {
			t.Logf("%s", &log)
		}
	}()

	// It answers, and has the file, once it has looked at its directory.
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	urls, cache := []string{"http://127.0.0.1:8002"}, filepath.Join(dir, "cache")
	var got string
	for {
		var err error
		if got, err = Fetch(ctx, urls, cache, id); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err) // the last answer, or that there was none
		}
		time.Sleep(20 * time.Millisecond)
	}
	want, err := os.ReadFile(debug)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(got); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%s: %d bytes, %v, want %d", got, len(b), err, len(want))
	}
	if _, err := Fetch(ctx, urls, cache, strings.Repeat("00", 20)); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown build ID: %v, want %v", err, ErrNotFound)
	}

	// Without a server its client has what we fetched, and we what it did.
	for _, c := range []struct{ urls, cache string }{{"http://127.0.0.1:1", cache}, {urls[0], filepath.Join(dir, "other")}} {
		find := exec.Command("debuginfod-find", "debuginfo", id)
		find.Env = append(os.Environ(), "DEBUGINFOD_URLS="+c.urls, "DEBUGINFOD_CACHE_PATH="+c.cache)
		out, err := find.Output()
		if want := filepath.Join(c.cache, id, "debuginfo"); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("debuginfod-find with %s: %q, %v, want %s", c.urls, out, err, want)
		}
	}
}

// raiseLoopback makes 127.0.0.1 work in a new network namespace.
func raiseLoopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		t.Fatalf("set lo up: %v", err)
	}
}
