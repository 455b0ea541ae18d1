// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// birdRoots are what scripts/bird-root makes.
var birdRoots = []string{"bird3-trixie", "bird2-sid", "bird3-sid"}

// findRoot returns the BIRD of a root that scripts/bird-root makes.
func findRoot(t *testing.T, name string) *Binary {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("../../.bird", name))
	if err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(root, rootMarker)) {
		t.Fatalf("BIRD %s is missing: scripts/bird-root %s", name, name)
	}
	b, err := Find(t.Context(), filepath.Join(root, rootBird))
	if err != nil {
		t.Fatal(err)
	}
	if b.Root != root || !b.BMP {
		t.Fatalf("Find says %+v, want root %s and BMP", b, root)
	}
	return b
}

// station accepts BMP connections on loopback and delivers the version byte
// that each begins with.
func station(t *testing.T) (netip.AddrPort, <-chan byte) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	first := make(chan byte, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var b [1]byte
				if _, err := io.ReadFull(conn, b[:]); err == nil {
					first <- b[0]
				}
				io.Copy(io.Discard, conn)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), first
}

// await receives from c, or fails the test.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("waited 30 s for %s", what)
		panic("not reached")
	}
}

// start starts a lab that ends with the test.
func start(t *testing.T, c Config) *Bird {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, err := Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop(context.Background()) })
	return b
}

// greeting is what BIRD says at its control socket.
func greeting(t *testing.T, path string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 256)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestStart(t *testing.T) {
	for _, name := range birdRoots {
		t.Run(name, func(t *testing.T) {
			at, bmp := station(t)
			b := start(t, Config{Binary: findRoot(t, name), Peers: 3, Station: at})

			if got, want := greeting(t, b.Control()), fmt.Sprintf("0001 BIRD %s ready.\n", b.Version()); got != want {
				t.Errorf("control socket says %q, want %q", got, want)
			}
			if got := await(t, "the BMP connection", bmp); got != 3 {
				t.Errorf("BMP begins with version %d, want 3", got)
			}
			if listens, err := listening(b.PID(), b.BGPAddr()); err != nil || !listens {
				t.Errorf("listening(%s) = %t, %v", b.BGPAddr(), listens, err)
			}
			if got := readFile(t, filepath.Join(b.Dir(), "bird.conf")); got != b.ConfigText() {
				t.Errorf("configuration on disk is not ConfigText:\n%s", got)
			}
			want, err := filepath.EvalSymlinks(b.Binary().Path)
			if err != nil {
				t.Fatal(err)
			}
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", b.PID())); err != nil || exe != want {
				t.Errorf("process runs %s (%v), want %s", exe, err, want)
			}
			running, err := b.CPUTime()
			if err != nil || running <= 0 {
				t.Errorf("CPUTime() = %v, %v", running, err)
			}

			for range 2 {
				if err := b.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "Exited", b.Exited())
			if err := b.Err(); err != nil {
				t.Errorf("Err() = %v after Stop", err)
			}
			if exists(b.Dir()) {
				t.Errorf("%s is still there", b.Dir())
			}
			if err := b.Resume(); err == nil {
				t.Error("Resume after Stop: no error")
			}
		})
	}
}

func TestStartPaused(t *testing.T) {
	for _, name := range birdRoots {
		t.Run(name, func(t *testing.T) {
			at, bmp := station(t)
			b := start(t, Config{Binary: findRoot(t, name), Peers: 1, Station: at, PausedAtEntry: true})

			checkAtEntry(t, b.PID(), b.Binary().Path)
			maps := readFile(t, fmt.Sprintf("/proc/%d/maps", b.PID()))
			for _, library := range []string{"libc.so.6", "libssh"} {
				if !strings.Contains(maps, library) {
					t.Errorf("at entry %s is not mapped:\n%s", library, maps)
				}
			}
			if exists(b.Control()) {
				t.Error("at entry the control socket is there")
			}

			if err := b.Resume(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := b.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			await(t, "the BMP connection", bmp)
			if err := b.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if got := b.process.status; !got.Exited() || got.ExitStatus() != 0 {
				t.Errorf("after a pause BIRD did not end in order: %s", b.process.end())
			}
		})
	}
}

func TestStopPaused(t *testing.T) {
	b := start(t, Config{Binary: findRoot(t, "bird3-trixie"), PausedAtEntry: true})
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exists(b.Dir()) {
		t.Errorf("%s is still there", b.Dir())
	}
}

// A BIRD that does not answer SIGTERM is killed when the context ends.
func TestStopKills(t *testing.T) {
	b := start(t, Config{Binary: findRoot(t, "bird3-trixie")})
	if err := unix.Kill(b.PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if got := b.process.status; !got.Signaled() || got.Signal() != unix.SIGKILL {
		t.Errorf("BIRD was not killed: %s", b.process.end())
	}
}

func TestErrSaysWhy(t *testing.T) {
	b := start(t, Config{Binary: findRoot(t, "bird3-trixie")})
	if err := b.Err(); err != nil {
		t.Errorf("Err() = %v while it runs", err)
	}
	if err := unix.Kill(b.PID(), unix.SIGABRT); err != nil {
		t.Fatal(err)
	}
	await(t, "Exited", b.Exited())
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.Err(); err == nil || !strings.Contains(err.Error(), "killed by SIGABRT: ") || !strings.Contains(err.Error(), "Started") {
		t.Errorf("Err() = %v, want the signal and the log's last line", err)
	}
	if _, err := b.CPUTime(); err != nil {
		t.Errorf("CPUTime() after the end: %v", err)
	}
}

func TestListening(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	if got, err := listening(os.Getpid(), at); err != nil || !got {
		t.Errorf("listening(%s) = %t, %v, want true", at, got, err)
	}
	l.Close()
	if got, err := listening(os.Getpid(), at); err != nil || got {
		t.Errorf("after Close listening(%s) = %t, %v, want false", at, got, err)
	}
}

// A socket's address has room for 107 bytes; a checkout can lie deeper.
func TestLongPath(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	real := findRoot(t, "bird3-trixie")
	if err := os.Symlink(real.Root, deep); err != nil {
		t.Fatal(err)
	}
	binary, err := Find(t.Context(), filepath.Join(deep, rootBird))
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, Config{Binary: binary})
	if !strings.HasPrefix(b.Dir(), deep) || len(b.Control()) > sunPathMax {
		t.Errorf("Dir() = %s, Control() = %s", b.Dir(), b.Control())
	}
	greeting(t, b.Control())
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Dir(b.Control())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("link %s is still there (%v)", filepath.Dir(b.Control()), err)
	}
}

func TestLogFile(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	b := start(t, Config{Binary: findRoot(t, "bird3-trixie"), Log: log})
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, log); !strings.Contains(got, "Started") {
		t.Errorf("log is %q", got)
	}
}

// script makes a program that answers as BIRD does to --version and -p, with the
// shell code run for everything else.
func script(t *testing.T, dir, check, run string) string {
	t.Helper()
	file := filepath.Join(dir, "bird")
	text := fmt.Sprintf("#!/bin/sh\ncase $1 in\n--version) echo BIRD version 2.99 >&2 ;;\n-p) %s ;;\n*) %s ;;\nesac\n", check, run)
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWriteConfig(t *testing.T) {
	b := start(t, Config{Binary: findRoot(t, "bird3-trixie")})
	file := filepath.Join(b.Dir(), configName)
	if err := b.WriteConfig(t.Context(), "protocol nothing { }\n"); err == nil || !strings.Contains(err.Error(), "refuses it") {
		t.Errorf("error is %v", err)
	}
	if got := readFile(t, file); got != b.ConfigText() {
		t.Errorf("configuration after one that was refused:\n%s", got)
	}
	want := b.ConfigText() + "ipv4 table further;\n"
	if err := b.WriteConfig(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, file); got != want {
		t.Errorf("configuration is\n%swant\n%s", got, want)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(b.Dir()), "leakprof-lab-*", configName))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l != file && readFile(t, l) == want {
			t.Errorf("%s is left behind", l)
		}
	}
}

func TestStartErrors(t *testing.T) {
	real := findRoot(t, "bird3-trixie")
	fake := func(check, run string) *Binary {
		b, err := Find(t.Context(), script(t, t.TempDir(), check, run))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	taken, _ := station(t)
	for _, test := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"port in use", Config{Binary: real, Peers: 1, BGPPort: taken.Port()}, []string{"start bird: BGP port", "address already in use"}},
		{"too many peers", Config{Binary: real, Peers: MaxPeers + 1}, []string{"254 peers: at most 253"}},
		{"no BMP", Config{Binary: fake("exit 1", ""), Station: taken}, []string{"without BMP", "--bird PATH"}},
		{"refused configuration", Config{Binary: fake("echo 'bird.conf:7:1 no such thing' >&2; echo more; exit 1", "")},
			[]string{"(2.99) refuses its configuration: bird.conf:7:1 no such thing"}},
		{"dies at once", Config{Binary: fake("", "echo one; echo boom; exit 3")}, []string{"start bird: exit status 3: boom"}},
		{"dies at once, paused", Config{Binary: &Binary{Path: "/nonexistent"}, PausedAtEntry: true}, []string{"/nonexistent", "no such file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			b, err := Start(ctx, test.config)
			if err == nil {
				b.Stop(t.Context())
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}

// Start returns when its context ends before BIRD is ready, and leaves nothing.
func TestStartCancelled(t *testing.T) {
	binary, err := Find(t.Context(), script(t, t.TempDir(), "", "exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = Start(ctx, Config{Binary: binary})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}
