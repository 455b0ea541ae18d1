// SPDX-License-Identifier: Apache-2.0

// Package lab starts a BIRD for an experiment: in a directory of its own, with
// passive BGP peers on loopback and a BMP station, ended and removed with the
// experiment.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what BIRD to start, and how.
type Config struct {
	// Binary is the BIRD, as Find returns it; nil for that of Find(ctx, "").
	Binary *Binary
	// Peers is how many BGP peers are configured, up to MaxPeers. Peer i comes
	// from PeerAddr(i) with PeerASN(i).
	Peers int
	// Station is the BMP station that BIRD connects to; the zero AddrPort
	// configures no BMP. The station should listen before BIRD runs, for a BIRD
	// that was refused tries again only after 10 s.
	Station netip.AddrPort
	// BGPPort is the port at which BIRD listens on 127.0.0.1; 0 for a free one.
	BGPPort uint16
	// PausedAtEntry leaves BIRD stopped at its ELF entry point, with all
	// libraries mapped and none of its own code run, until Resume.
	PausedAtEntry bool
	// IPv6 gives the peers a channel for IPv6 too.
	IPv6 bool
	// Kernel exports all routes into the kernel's table, which has to be that of a
	// Namespace.
	Kernel bool
	// Include is a configuration of the user's, to which the peers and the BMP protocol
	// are added; "" for none. It needs a Namespace, since it may have protocols that
	// change the machine's routes. BIRD in a root of its own sees this one file only.
	Include string
	// Namespace is where BIRD runs; nil: where this process does. The Station has to
	// listen there. It stays open as long as Speakers of this BIRD are used.
	Namespace *Namespace
	// Env is added to BIRD's environment, such as a library to load before others;
	// BIRD sees paths from within its root.
	Env []string
	// Log is the file that BIRD's log is appended to; "" for one in the lab's
	// directory, removed with it.
	Log string
}

// Bird is a running BIRD. Its methods can be called at any time and from any
// goroutine.
type Bird struct {
	binary  *Binary
	process *process
	dir     string // as this process sees it
	control string
	link    string // symbolic link that makes control short, or ""
	text    string
	bgp     netip.AddrPort
	log     string
	config  Config

	stopped   atomic.Bool // Stop ended it
	removing  sync.Once
	removeErr error
}

const (
	// sunPathMax is sizeof(sockaddr_un.sun_path) less the terminating zero.
	sunPathMax = 107
	// termGrace is how long BIRD has to shut down after SIGTERM. It closes its
	// sessions and frees its tables in a second or two at a million routes.
	termGrace = 10 * time.Second
	// readyPoll is how often a starting BIRD is asked whether it is ready.
	readyPoll = 5 * time.Millisecond
)

// Start starts BIRD and returns when it answers at its control socket and
// listens for its peers, or, with PausedAtEntry, when it stands at its entry
// point. An error leaves nothing behind. BIRD does not outlive this process,
// whichever way that ends.
func Start(ctx context.Context, c Config) (_ *Bird, err error) {
	if c.Peers < 0 || c.Peers > MaxPeers {
		return nil, fmt.Errorf("start bird: %d peers: at most %d", c.Peers, MaxPeers)
	}
	if (c.Kernel || c.Include != "") && c.Namespace == nil {
		return nil, fmt.Errorf("start bird: %w", errNamespace)
	}
	binary := c.Binary
	if binary == nil {
		if binary, err = Find(ctx, ""); err != nil {
			return nil, err
		}
	}
	if c.Station.IsValid() && !binary.BMP {
		return nil, fmt.Errorf("start bird: %s (%s) was built without BMP: %s", binary.Path, binary.Version, howToGetBird)
	}
	var port uint16
	if err := c.Namespace.Do(func() (err error) {
		port, err = listenPort(c.BGPPort)
		return err
	}); err != nil {
		return nil, fmt.Errorf("start bird: %w", err)
	}

	dir, err := binary.makeDir()
	if err != nil {
		return nil, fmt.Errorf("start bird: %w", err)
	}
	b := &Bird{
		binary: binary,
		dir:    dir,
		log:    c.Log,
		config: c,
	}
	if c.Peers > 0 {
		b.bgp = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	}
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	if b.log == "" {
		b.log = filepath.Join(dir, "bird.log")
	}
	if err := b.placeControl(); err != nil {
		return nil, fmt.Errorf("start bird: %w", err)
	}
	l := layout{peers: c.Peers, port: port, station: c.Station, ipv6: c.IPv6, kernel: c.Kernel}
	if c.Include != "" {
		if l.include, err = binary.placeInclude(dir, c.Include); err != nil {
			return nil, fmt.Errorf("start bird: include configuration: %w", err)
		}
	}
	if b.text, err = binary.compose(ctx, dir, l); err != nil {
		return nil, fmt.Errorf("start bird: %w", err)
	}

	log, err := os.OpenFile(b.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start bird: %w", err)
	}
	defer log.Close()
	b.process, err = spawn(command{
		root:   binary.Root,
		dir:    binary.inside(dir),
		argv:   b.argv(),
		env:    c.Env,
		output: log,
		paused: c.PausedAtEntry,
		net:    c.Namespace,
	}, ctx.Done())
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w before it came to its entry point", context.Cause(ctx))
		}
		return nil, fmt.Errorf("start bird: %w", err)
	}
	if !c.PausedAtEntry {
		if err := b.Ready(ctx); err != nil {
			b.process.signal(unix.SIGKILL)
			<-b.process.exited
			return nil, err
		}
	}
	return b, nil
}

// argv is BIRD's command line.
func (b *Bird) argv() []string {
	control := filepath.Join(b.dir, controlName)
	if b.binary.Root == "" {
		control = b.control // no longer than a socket's address may be
	}
	return []string{
		b.binary.inside(b.binary.Path),
		"-f", // stay in the foreground
		"-c", b.binary.inside(filepath.Join(b.dir, configName)),
		"-s", b.binary.inside(control),
		"-P", b.binary.inside(filepath.Join(b.dir, "bird.pid")),
	}
}

const controlName = "bird.ctl"

// placeControl decides the control socket's path on this side: where it is,
// unless that is too long for a socket's address; then through a link in /tmp.
func (b *Bird) placeControl() error {
	b.control = filepath.Join(b.dir, controlName)
	if len(b.control) <= sunPathMax {
		return nil
	}
	for range 100 {
		link := fmt.Sprintf("/tmp/leakprof-lab-%08x", rand.Uint32())
		err := os.Symlink(b.dir, link)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		b.link, b.control = link, filepath.Join(link, controlName)
		return nil
	}
	return errors.New("make link to control socket: no free name in /tmp")
}

// listenPort returns port if BIRD can listen there, or for 0 one that is free.
// Free ones are taken below the range from which the kernel takes the ports of
// outgoing connections (net.ipv4.ip_local_port_range, from 32768), so that none
// can take it away before BIRD is up.
func listenPort(port uint16) (uint16, error) {
	try := func(port uint16) error {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		return l.Close()
	}
	if port != 0 {
		if err := try(port); err != nil {
			return 0, fmt.Errorf("BGP port %d: %w: choose another, or 0", port, err)
		}
		return port, nil
	}
	var err error
	for range 100 {
		port = uint16(20000 + rand.IntN(12000))
		if err = try(port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free BGP port: %w", err)
}

// PID is BIRD's process ID.
func (b *Bird) PID() int { return b.process.pid }

// Dir is the lab's directory, as this process sees it.
func (b *Bird) Dir() string { return b.dir }

// Control is the path of BIRD's control socket, as this process sees it, and
// short enough to connect to.
func (b *Bird) Control() string { return b.control }

// Version is BIRD's version, such as "3.1.7".
func (b *Bird) Version() string { return b.binary.Version }

// Binary is the BIRD that runs.
func (b *Bird) Binary() *Binary { return b.binary }

// ConfigText is the configuration that BIRD was started with.
func (b *Bird) ConfigText() string { return b.text }

// WriteConfig replaces the configuration file by a text that BIRD's parser has
// accepted. BIRD reads it when it is told to (`configure`). ConfigText stays what
// BIRD was started with.
func (b *Bird) WriteConfig(ctx context.Context, text string) error {
	// Judged elsewhere: BIRD may be told to read its file at any time.
	dir, err := b.binary.makeDir()
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := b.binary.check(ctx, dir, text); err != nil {
		return fmt.Errorf("write configuration: %s (%s) refuses it: %w", b.binary.Path, b.binary.Version, err)
	}
	if err := os.Rename(filepath.Join(dir, configName), filepath.Join(b.dir, configName)); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// BGPAddr is where BIRD listens for its peers; the zero AddrPort without peers.
func (b *Bird) BGPAddr() netip.AddrPort { return b.bgp }

// Resume lets a BIRD that was started with PausedAtEntry run on. It returns at
// once; Ready waits until BIRD is up.
func (b *Bird) Resume() error {
	if err := b.process.resume(); err != nil {
		return fmt.Errorf("resume bird: %w", err)
	}
	return nil
}

// Ready waits until BIRD answers at its control socket and listens for its
// peers.
func (b *Bird) Ready(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		cause := b.probe(ctx)
		if cause == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-b.Exited():
			return fmt.Errorf("start bird: %s", b.process.end())
		case <-ctx.Done():
			return fmt.Errorf("start bird: %w: %w: last log line: %s", context.Cause(ctx), cause, lastLine(b.log))
		}
	}
}

// probe tells whether BIRD is ready, and if not what it lacks.
func (b *Bird) probe(ctx context.Context) error {
	if b.bgp.IsValid() {
		listens, err := listening(b.PID(), b.bgp)
		if err != nil {
			return err
		}
		if !listens {
			return fmt.Errorf("nothing listens at %s", b.bgp)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", b.control)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetReadDeadline(deadline)
	_, err = io.ReadFull(conn, make([]byte, 4)) // "0001", the greeting's code
	return err
}

// Exited is closed when BIRD has ended, for whatever reason.
func (b *Bird) Exited() <-chan struct{} { return b.process.exited }

// Err tells why BIRD ended: nil while it runs, after Stop, and when it ended
// with status 0.
func (b *Bird) Err() error {
	select {
	case <-b.Exited():
	default:
		return nil
	}
	if b.stopped.Load() || b.process.succeeded() {
		return nil
	}
	return fmt.Errorf("bird ended: %s", b.process.end())
}

// Stop ends BIRD with SIGTERM, with SIGKILL if it is paused, or not gone after
// 10 s or when ctx ends, and removes the lab's directory. It can be called again
// and for a BIRD that has ended.
func (b *Bird) Stop(ctx context.Context) error {
	select {
	case <-b.Exited(): // by itself: Err keeps its reason
	default:
		b.stopped.Store(true)
		b.process.terminate()
		ctx, cancel := context.WithTimeout(ctx, termGrace)
		defer cancel()
		select {
		case <-b.Exited():
		case <-ctx.Done():
			b.process.signal(unix.SIGKILL)
			<-b.Exited()
		}
	}
	return b.remove()
}

// remove removes what the lab left in the file system.
func (b *Bird) remove() error {
	b.removing.Do(func() {
		err := os.RemoveAll(b.dir)
		if b.link != "" {
			err = errors.Join(err, os.Remove(b.link))
		}
		if err != nil {
			b.removeErr = fmt.Errorf("remove lab: %w", err)
		}
	})
	return b.removeErr
}
