// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/birdc"
)

// Containers are made as engines make them, of namespaces and a root that
// nothing inside can leave. What has to be done inside before the program is
// started, this test's own program does, when it finds these variables.
const (
	containerRoot   = "LEAKPROF_TEST_ROOT"   // the directory that becomes the root
	containerLayer  = "LEAKPROF_TEST_LAYER"  // an empty directory for what is written in the root
	containerConfig = "LEAKPROF_TEST_CONFIG" // written to /run/bird.conf
	containerOut    = "LEAKPROF_TEST_OUT"    // a directory that is mounted at /out
	containerRights = "LEAKPROF_TEST_RIGHTS" // capabilities that are kept, by number
)

// birdGroup is the user and the group that the BIRD of a container runs as.
const birdGroup = 65534

func init() {
	if root := os.Getenv(containerRoot); root != "" {
		// It is this thread that enters, and that becomes the program.
		runtime.LockOSThread()
		fmt.Fprintln(os.Stderr, enterContainer(root))
		os.Exit(1)
	}
}

// enterContainer makes a directory the root of the mount namespace that we have
// for ourselves, and runs the program named by our arguments. It returns only if
// that fails.
func enterContainer(root string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w (the root of a chroot has to be a mount: mount --bind DIR DIR)", err)
	}
	if layer := os.Getenv(containerLayer); layer != "" {
		var err error
		if root, err = writable(root, layer); err != nil {
			return err
		}
	}
	type mount struct {
		from, to, kind string
		flags          uintptr
	}
	const safe = unix.MS_NOSUID | unix.MS_NODEV
	mounts := []mount{
		{root, root, "", unix.MS_BIND},
		{"proc", root + "/proc", "proc", safe | unix.MS_NOEXEC},
		{"tmpfs", root + "/run", "tmpfs", safe},
	}
	if out := os.Getenv(containerOut); out != "" {
		mounts = append(mounts, mount{"sysfs", root + "/sys", "sysfs", safe | unix.MS_NOEXEC | unix.MS_RDONLY}, mount{out, root + "/out", "", unix.MS_BIND})
	}
	for _, m := range mounts {
		if err := unix.Mount(m.from, m.to, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.to, err)
		}
	}
	if config := os.Getenv(containerConfig); config != "" {
		if err := os.WriteFile(root+"/run/bird.conf", []byte(config), 0o644); err != nil {
			return err
		}
		// As /var/run is one of another root's: it must not lead to ours.
		if err := os.Symlink("/run", root+"/run/link"); err != nil {
			return err
		}
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("set up loopback: %w", err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The old root lies over the new one then, and is taken off it: see
	// pivot_root(2).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave old root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if rights := os.Getenv(containerRights); rights != "" {
		kept := strings.Fields(rights)
		for c := range uintptr(unix.CAP_LAST_CAP + 1) {
			if slices.Contains(kept, strconv.Itoa(int(c))) {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
		if err := syscall.Setgroups([]int{birdGroup}); err != nil {
			return fmt.Errorf("join groups: %w", err)
		}
		if err := os.Chdir("/out"); err != nil {
			return err
		}
	}
	return syscall.Exec(os.Args[1], os.Args[1:], []string{"PATH=/bin"})
}

// writable lays an empty file system over a root, as engines do, and returns
// where both are seen as one.
func writable(root, layer string) (string, error) {
	if err := unix.Mount("tmpfs", layer, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return "", fmt.Errorf("mount %s: %w", layer, err)
	}
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(layer, dir), 0o755); err != nil {
			return "", err
		}
	}
	seen := filepath.Join(layer, "root")
	err := unix.Mount("overlay", seen, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", root, layer, layer))
	if errors.Is(err, unix.ENODEV) { // a kernel without
		return seen, os.CopyFS(seen, os.DirFS(root))
	} else if err != nil {
		return "", fmt.Errorf("mount %s: %w", seen, err)
	}
	return seen, nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// container is a BIRD in namespaces of its own, in which it is process 1.
type container struct {
	pid     int    // as we number it
	root    string // as we see it
	control *birdc.Conn
}

// routes are how many routes the BIRD of a container has.
const routes = 2000

// startContainer starts the BIRD of a root, with some routes, and waits until it
// answers.
func startContainer(t *testing.T, name string) *container {
	t.Helper()
	root := strings.TrimSuffix(birdPath(t, name), "/usr/sbin/bird")
	var config strings.Builder
	fmt.Fprintf(&config, "router id 10.0.0.1;\nprotocol device {}\n")
	fmt.Fprintf(&config, "protocol bmp { station address ip 127.0.0.1 port 11019; monitoring rib in pre_policy; }\n")
	fmt.Fprintf(&config, "protocol static blackholes { ipv4;\n")
	for i := range routes {
		fmt.Fprintf(&config, "route 10.%d.%d.0/24 blackhole;\n", i/256, i%256)
	}
	fmt.Fprintf(&config, "}\n")
	c := exec.Command("/proc/self/exe", "/usr/sbin/bird", "-f", "-c", "/run/bird.conf", "-s", "/run/link/bird.ctl", "-P", "/run/bird.pid", "-u", strconv.Itoa(birdGroup), "-g", strconv.Itoa(birdGroup))
	c.Env = append(os.Environ(), containerRoot+"="+root, containerLayer+"="+t.TempDir(), containerConfig+"="+config.String())
	var output safeBuffer
	c.Stdout, c.Stderr = &output, &output
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		c.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
	})
	b := &container{pid: c.Process.Pid, root: fmt.Sprintf("/proc/%d/root", c.Process.Pid)}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var err error
		if b.control, err = birdc.Dial(t.Context(), b.root+"/run/bird.ctl"); err == nil {
			break
		}
		select {
		case <-ended:
			t.Fatalf("BIRD has ended: %s", output.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("BIRD does not answer: %v: %s", err, output.String())
		}
	}
	t.Cleanup(func() { b.control.Close() })
	return b
}

// churn takes the routes off and brings them back until the test ends.
func (b *container) churn(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	stop := t.Context().Done()
	go func() {
		defer close(done)
		for {
			for _, command := range []string{"disable blackholes", "enable blackholes"} {
				if _, err := b.control.Command(t.Context(), command); err != nil {
					return
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { <-done })
}

// runBeside runs the program as its image does in a container that shares the
// BIRD's pid and network namespace, with a root that has nothing but the program
// with some capabilities and in BIRD's group, and returns the directory at /out, too.
func (b *container) runBeside(t *testing.T, rights []string, args ...string) (result, string) {
	t.Helper()
	root, out := t.TempDir(), t.TempDir()
	for _, dir := range []string{"bin", "proc", "sys", "run", "out"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/leakprof"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	for _, name := range rights {
		numbers = append(numbers, fmt.Sprint(capabilities["CAP_"+name]))
	}
	c := exec.CommandContext(t.Context(), "nsenter", append([]string{
		fmt.Sprintf("--pid=/proc/%d/ns/pid", b.pid), fmt.Sprintf("--net=/proc/%d/ns/net", b.pid),
		"unshare", "--mount", self, "/bin/leakprof",
	}, args...)...)
	c.Env = append(os.Environ(), containerRoot+"="+root, containerOut+"="+out, containerRights+"="+strings.Join(numbers, " "))
	var stdout, stderr safeBuffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); c.ProcessState == nil {
		t.Fatalf("%v (apt-get install -y util-linux)", err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}, out
}
