// SPDX-License-Identifier: Apache-2.0

package target

import (
	"bufio"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/profiler/internal/fixture"
)

// secret is a file outside of the roots of these tests.
const secret = "/etc/passwd"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOpenInRoot: nothing outside of the root is opened, and nothing that blocks
// or does something when it is.
func TestOpenInRoot(t *testing.T) {
	const limit = 100
	errAny := errors.New("any error")
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string) // the file f in the root
		want error                           // nil: it has the content "inside"
	}{
		{"file", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("inside"), 0o600)) }, nil},
		{"absolute link", func(t *testing.T, path string) { must(t, os.Symlink("/dir/file", path)) }, nil},
		{"relative link", func(t *testing.T, path string) { must(t, os.Symlink("dir/file", path)) }, nil},
		{"link up to the root", func(t *testing.T, path string) { must(t, os.Symlink("../../../dir/file", path)) }, nil},
		{"nothing", func(*testing.T, string) {}, fs.ErrNotExist},
		{"link out", func(t *testing.T, path string) { must(t, os.Symlink(secret, path)) }, fs.ErrNotExist},
		{"link up and out", func(t *testing.T, path string) {
			must(t, os.Symlink(strings.Repeat("../", 20)+secret[1:], path))
		}, fs.ErrNotExist},
		{"link to a directory out", func(t *testing.T, path string) {
			must(t, os.Symlink("dir/out/"+filepath.Base(secret), path))
			must(t, os.Symlink(filepath.Dir(secret), filepath.Join(filepath.Dir(path), "dir/out")))
		}, fs.ErrNotExist},
		{"link to itself", func(t *testing.T, path string) { must(t, os.Symlink("f", path)) }, unix.ELOOP},
		{"FIFO", func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) }, errKind},
		{"link to a FIFO", func(t *testing.T, path string) {
			must(t, unix.Mkfifo(path+"o", 0o600))
			must(t, os.Symlink("fo", path))
		}, errKind},
		{"device", func(t *testing.T, path string) {
			must(t, unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))) // null
		}, errKind},
		{"directory", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, errKind},
		{"socket", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			must(t, err)
			t.Cleanup(func() { l.Close() })
		}, errKind},
		{"empty", func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) }, fs.ErrNotExist},
		{"too large", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, nil, 0o600))
			must(t, os.Truncate(path, limit+1))
		}, errAny},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := os.MkdirTemp("", "root") // short: a socket's path is
			must(t, err)
			t.Cleanup(func() { os.RemoveAll(root) })
			must(t, os.Mkdir(filepath.Join(root, "dir"), 0o700))
			must(t, os.WriteFile(filepath.Join(root, "dir/file"), []byte("inside"), 0o600))
			c.make(t, filepath.Join(root, "f"))
			f, err := OpenInRoot(root, "/f", limit)
			if c.want == nil {
				must(t, err)
				defer f.Close()
				var b [limit]byte
				if n, _ := f.Read(b[:]); string(b[:n]) != "inside" {
					t.Errorf("read %q", b[:n])
				}
				return
			}
			if err == nil || c.want != errAny && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestOpenInRootProc: what proc has in a root leads nowhere else, neither to us,
// who open it, and its files are not read.
func TestOpenInRootProc(t *testing.T) {
	for _, name := range []string{"/proc/self/root" + secret, "/proc/self/cwd/inroot.go", "/proc/self/exe", "/proc/self/environ", "/proc/kmsg"} {
		if f, err := OpenInRoot("/", name, 1<<30); err == nil {
			f.Close()
			t.Errorf("%s can be opened", name)
		}
	}
}

// chrooted is a process in a root of its own.
func chrooted(t *testing.T) (p *Process, root string) {
	t.Helper()
	root, err := os.MkdirTemp("", "root")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	data, err := os.ReadFile(fixture.Compile(t, "gcc", "-O2 -static", "calloc_only.c"))
	must(t, err)
	must(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "dir/program"), data, 0o755))
	c := exec.Command("/dir/program")
	c.Dir = "/dir"
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	in, err := c.StdinPipe() // it ends with its input
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { in.Close(); c.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p, err = Open(c.Process.Pid)
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p, root
}

// TestOpenSocket: sockets are found by the name that a process in a root of its
// own has for them, and no others are.
func TestOpenSocket(t *testing.T) {
	p, root := chrooted(t)
	listen := func(path string) {
		l, err := net.Listen("unix", path)
		must(t, err)
		t.Cleanup(func() { l.Close() })
	}
	listen(filepath.Join(root, "dir/ctl"))
	outside := filepath.Join(t.TempDir(), "ctl")
	listen(outside)
	for name, to := range map[string]string{
		"run": "/dir", "dir/up": strings.Repeat("../", 20) + outside[1:], "dir/out": outside,
	} {
		must(t, os.Symlink(to, filepath.Join(root, name)))
	}
	for _, c := range []struct{ name, found string }{
		{"/dir/ctl", "/dir/ctl"},
		{"/run/ctl", "/dir/ctl"},
		{"ctl", "/dir/ctl"},
		{"../dir/ctl", "/dir/ctl"},
		{"../../../run/ctl", "/dir/ctl"},
		{"/dir/none", ""},
		{"/dir/program", ""},
		{"/dir/up", ""},
		{"/dir/out", ""},
		{outside, ""},
	} {
		s, err := p.OpenSocket(c.name)
		if c.found == "" {
			if err == nil {
				s.Close()
				t.Errorf("%s: found %s", c.name, s.Name)
			} else if !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		defer s.Close()
		if want := p.Root() + c.found; s.Name != want {
			t.Errorf("%s: name is %s, want %s", c.name, s.Name, want)
		}
		for _, path := range []string{s.Path(), s.Name} {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			conn.Close()
		}
	}
}

// mapped maps a file in our own memory.
func mapped(t *testing.T, p *Process, path string) Mapping {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_READ, unix.MAP_PRIVATE)
	must(t, err)
	t.Cleanup(func() { unix.Munmap(b) })
	all, err := p.Mappings()
	must(t, err)
	i := slices.IndexFunc(all, func(m Mapping) bool { return m.Path == path })
	if i < 0 {
		t.Fatalf("%s is not mapped", path)
	}
	return all[i]
}

// TestOpenAtPath: where only the path tells what is mapped, another file is told
// from it, and nothing else is done with one.
func TestOpenAtPath(t *testing.T) {
	p, err := Open(os.Getpid())
	must(t, err)
	defer p.Close()
	for _, c := range []struct {
		name   string
		change func(t *testing.T, path string)
		says   string
	}{
		{"the same", func(*testing.T, string) {}, ""},
		{"moved, and a link to it", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".1"))
			must(t, os.Symlink(path+".1", path))
		}, ""},
		{"another", func(t *testing.T, path string) {
			must(t, os.WriteFile(path+".1", []byte("another"), 0o600))
			must(t, os.Rename(path+".1", path))
		}, "replaced on disk"},
		{"deleted", func(t *testing.T, path string) { must(t, os.Remove(path)) }, "no such file"},
		{"link elsewhere", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Symlink(secret, path))
		}, "replaced on disk"},
		{"FIFO", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, unix.Mkfifo(path, 0o600))
		}, errKind.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "library")
			must(t, os.WriteFile(path, []byte("library"), 0o600))
			a := mapped(t, p, path)
			c.change(t, path)
			f, err := p.openAtPath(a)
			if err == nil {
				f.Close()
			}
			want := c.says != ""
			if got := p.Replaced(&Module{Areas: []Mapping{a}}); got != want {
				t.Errorf("replaced is %v, want %v", got, want)
			}
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			// However that is, the mapping itself leads to the file.
			f, err = p.openMapped(a)
			must(t, err)
			defer f.Close()
			if !shows(a, f) {
				t.Error("another file was opened")
			}
		})
	}
}

// TestOtherProc: the process file system of another pid namespace is refused.
func TestOtherProc(t *testing.T) {
	if err := checkProc("/proc"); err != nil {
		t.Error(err)
	}
	proc := t.TempDir()
	for range 2 { // none, another
		if err := checkProc(proc); err == nil || !strings.Contains(err.Error(), "another pid namespace") {
			t.Errorf("got %v", err)
		}
		os.Symlink("1", filepath.Join(proc, "self"))
	}
}

// TestOpenAtPathChroot: paths of a process in a chroot are shown from our own
// root on.
func TestOpenAtPathChroot(t *testing.T) {
	p, _ := chrooted(t)
	all, err := p.Mappings()
	must(t, err)
	i := slices.IndexFunc(all, func(m Mapping) bool { return m.Exec && m.Inode != 0 })
	f, err := p.openAtPath(all[i])
	must(t, err)
	f.Close()
}
