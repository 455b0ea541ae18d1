// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	// rootMarker is the file by which scripts/bird-root marks a directory to
	// chroot into.
	rootMarker = ".leakprof-root"
	// defaultRoot is the lab's own BIRD, relative to a checkout.
	defaultRoot = ".bird/bird3-trixie"
	// rootBird is where Debian's packages put the binary.
	rootBird = "/usr/sbin/bird"

	howToGetBird = "run scripts/bird-root bird3-trixie, or give one with --bird PATH"
)

// Binary is a BIRD that can be started.
type Binary struct {
	Path    string // as this process sees it
	Root    string // directory to chroot into, "" for none
	Version string // as `bird --version` says, e.g. "3.1.7"
	BMP     bool   // built with the BMP protocol
}

// Find looks up a BIRD and asks it for its version and for BMP. A path that lies
// in a root made by scripts/bird-root is run in that root, any other on the
// host. Without a path it is the first of these that has BMP: bird in PATH, and
// the lab's own in .bird of the checkout above the working directory or above
// this program.
func Find(ctx context.Context, path string) (*Binary, error) {
	if path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("find bird: %w", err)
		}
		return inspect(ctx, abs, rootOf(abs))
	}
	without := ""
	if inPath, err := exec.LookPath("bird"); err == nil {
		b, err := inspect(ctx, inPath, "")
		if err == nil && b.BMP {
			return b, nil
		}
		without = fmt.Sprintf("%s has no BMP, and ", inPath)
		if err != nil {
			without = fmt.Sprintf("%s does not run, and ", inPath)
		}
	}
	for _, start := range searchDirs() {
		for dir := start; ; dir = filepath.Dir(dir) {
			root := filepath.Join(dir, defaultRoot)
			if exists(filepath.Join(root, rootMarker)) {
				return inspect(ctx, filepath.Join(root, rootBird), root)
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if without == "" {
		without = "bird is not in PATH, and "
	}
	return nil, fmt.Errorf("find bird: %sthere is no %s: %s", without, defaultRoot, howToGetBird)
}

// searchDirs are the directories above which a checkout is looked for.
func searchDirs() []string {
	var dirs []string
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, wd)
	}
	if exe, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(exe))
	}
	return dirs
}

// rootOf returns the marked root that the file lies in, or "".
func rootOf(file string) string {
	for dir := filepath.Dir(file); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, rootMarker)) {
			return dir
		}
	}
	return ""
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// inside is path as seen from within the root.
func (b *Binary) inside(path string) string {
	if b.Root == "" {
		return path
	}
	rel, err := filepath.Rel(b.Root, path)
	if err != nil {
		return path
	}
	return "/" + rel
}

var versionLine = regexp.MustCompile(`BIRD version (\S+)`)

// inspect runs bird --version, and has bird -p judge a configuration with BMP.
func inspect(ctx context.Context, path, root string) (*Binary, error) {
	if st, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("find bird: %w: %s", err, howToGetBird)
	} else if !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return nil, fmt.Errorf("find bird: %s is not a program: %s", path, howToGetBird)
	}
	b := &Binary{Path: path, Root: root}
	out, err := b.run(ctx, "--version")
	match := versionLine.FindStringSubmatch(out)
	if match == nil {
		if err == nil {
			err = fmt.Errorf("it says %q", firstLine(out))
		}
		return nil, fmt.Errorf("find bird: %s --version does not answer like a BIRD: %w", path, err)
	}
	b.Version = match[1]

	dir, err := b.makeDir()
	if err != nil {
		return nil, fmt.Errorf("find bird: %w", err)
	}
	defer os.RemoveAll(dir)
	const bmp = "router id 192.0.2.1;\nprotocol device { }\nprotocol bmp b1 { station address ip 127.0.0.1 port 1790; }\n"
	b.BMP = b.check(ctx, dir, bmp) == nil
	return b, ctx.Err()
}

// makeDir makes a directory for one run of BIRD where BIRD can reach it, and
// returns its path as this process sees it.
func (b *Binary) makeDir() (string, error) {
	parent := os.TempDir()
	if b.Root != "" {
		parent = filepath.Join(b.Root, "run")
	}
	return os.MkdirTemp(parent, "leakprof-lab-")
}

const configName = "bird.conf"

// check writes the configuration into dir and has bird -p parse it.
func (b *Binary) check(ctx context.Context, dir, text string) error {
	file := filepath.Join(dir, configName)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	out, err := b.run(ctx, "-p", "-c", b.inside(file))
	var exit *exec.ExitError
	if errors.As(err, &exit) && strings.TrimSpace(out) != "" {
		return errors.New(complaint(out))
	}
	return err
}

// complaintLine is how BIRD's parser says what is wrong, and where: the file, the line and
// the column. There may be warnings before it, and the time in the line.
var complaintLine = regexp.MustCompile(`(?m)/.*?:\d+:\d+ .*$`)

// complaint is why bird -p has refused a configuration.
func complaint(out string) string {
	if line := complaintLine.FindString(out); line != "" {
		return line
	}
	return firstLine(out)
}

// run runs the binary in its root to the end and returns what it prints.
func (b *Binary) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.inside(b.Path), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: b.Root}
	cmd.Dir = "/"
	cmd.WaitDelay = 10 * time.Second // a busy machine may read its last words late
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) && b.Root != "" && os.Geteuid() != 0 {
		err = fmt.Errorf("chroot %s: must run as root", b.Root)
	}
	return string(out), err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
