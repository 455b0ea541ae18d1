// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errKind says that a file is not of the kind that is to be opened.
var errKind = errors.New("not a regular file")

// emptyError says that a file is empty, and as good as none.
type emptyError struct{}

func (emptyError) Error() string        { return "it is empty" }
func (emptyError) Is(target error) bool { return target == fs.ErrNotExist }

// OpenInRoot opens a regular file of a directory tree that may be another's:
// neither ".." nor a link leads out of root (openat2(2), Linux 5.6). Nothing
// else is opened, for opening a FIFO blocks and a device may do anything. A file
// of more than limit bytes is an error, an empty one is none (fs.ErrNotExist):
// so are those of proc, of which some block whoever reads them. A file system
// that does not answer is waited for for some seconds.
func OpenInRoot(root, name string, limit int64) (*os.File, error) {
	return answered(func() (*os.File, error) {
		fd, err := lookUp(root, name)
		if err != nil {
			return nil, err
		}
		return reopen(fd, limit)
	})
}

// OpenRegular is OpenInRoot for a file of our own: links lead wherever they do.
func OpenRegular(name string, limit int64) (*os.File, error) {
	return answered(func() (*os.File, error) {
		fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return reopen(fd, limit)
	})
}

// lookUp finds a file of any kind in a root and opens it for its place alone
// (O_PATH), which does nothing to it.
func lookUp(root, name string) (int, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	// EAGAIN: something was renamed while the kernel followed "..".
	for range 8 {
		var fd int
		if fd, err = unix.Openat2(dir, name, &how); err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return -1, err
}

// reopen opens for reading what was opened for its place, which it closes.
func reopen(fd int, limit int64) (*os.File, error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return nil, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errKind
	case st.Size == 0:
		return nil, emptyError{}
	case st.Size > limit:
		return nil, fmt.Errorf("%d bytes are too many, at most %d are read", st.Size, limit)
	}
	// Another's lease on the file would have us wait.
	f, err := os.OpenFile(placeOf(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	var bad *fs.PathError
	if errors.As(err, &bad) {
		return nil, bad.Err // the path means nothing to anybody
	}
	if err == nil {
		// Whether it can be read, whoever reads it sees; that it answers, here.
		_, _ = f.ReadAt(make([]byte, 1), 0)
	}
	return f, err
}

// placeOf is a path that leads to the very file of a descriptor.
func placeOf(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// Socket is a unix socket in another's root.
type Socket struct {
	// Name is its path as seen from our own root, by way of /proc, without links:
	// for people. Who goes by it later may be led elsewhere.
	Name string

	fd int
}

// OpenSocket finds a unix socket in the process's root, by the name that the
// process knows it by; no link is followed out of the root. Nobody is connected
// to it. Close it after use.
func (p *Process) OpenSocket(name string) (*Socket, error) {
	fail := func(err error) (*Socket, error) {
		return nil, fmt.Errorf("find socket %s of process %d: %w", name, p.PID, err)
	}
	inside, err := p.absolute(name)
	if err != nil {
		return fail(err)
	}
	s, err := answered(func() (*Socket, error) {
		fd, err := lookUp(p.Root(), inside)
		if err != nil {
			return nil, explain(err)
		}
		s := &Socket{Name: p.Root() + inside, fd: fd}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
			s.Close()
			return nil, errors.New("it is no socket")
		}
		return s, nil
	})
	if err != nil {
		return fail(err)
	}
	if shown, err := os.Readlink(s.Path()); err == nil {
		if resolved, ok := p.inside(shown); ok {
			s.Name = p.Root() + resolved
		}
	}
	return s, nil
}

// Path leads to the socket, and to no other, until it is closed.
func (s *Socket) Path() string { return placeOf(s.fd) }

// File is the socket for a process that is to inherit it, to which it is
// /proc/self/fd/N. Close it after use.
func (s *Socket) File() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate socket %s: %w", s.Name, err)
	}
	return os.NewFile(uintptr(fd), s.Name), nil
}

// Close releases the socket; connections to it stay.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// absolute is the name of a file from the process's root on.
func (p *Process) absolute(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	dir, err := os.Readlink(p.path("cwd"))
	if err != nil {
		return "", fmt.Errorf("read working directory: %w", explain(err))
	}
	inside, ok := p.inside(dir)
	if !ok {
		return "", errors.New("the working directory is outside of the root")
	}
	// No path.Join: what ".." is behind a link, the kernel knows.
	return inside + "/" + name, nil
}

// inside turns a path as proc shows it, for a process in a chroot from our root
// on, into the one from the process's root on. It is false for one outside.
func (p *Process) inside(shown string) (string, bool) {
	root, err := os.Readlink(p.Root())
	if err != nil || !path.IsAbs(shown) {
		return "", false
	}
	if root == "/" {
		return shown, true
	}
	rest, ok := strings.CutPrefix(shown, root)
	if rest == "" {
		return "/", ok
	}
	return rest, ok && rest[0] == '/'
}
