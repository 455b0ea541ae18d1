// SPDX-License-Identifier: Apache-2.0

// Package birdc speaks to BIRD over its control socket, in BIRD's own line protocol, and
// reads the replies that matter to memory and sessions. It was made for BIRD 2 and 3.
package birdc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxLine  = 64 << 10 // bytes of one reply line
	maxReply = 16 << 20 // bytes of one reply
	maxPath  = 107      // bytes of a socket's path (sockaddr_un)
)

// Conn is a connection to a control socket. One is kept for as long as BIRD is watched:
// each has a memory footprint in BIRD (pool CLI), so that polling by new ones would show
// in what is measured. Its methods may be called concurrently; commands take turns.
type Conn struct {
	conn    net.Conn
	r       *bufio.Reader
	path    string // as it was dialled, or another name
	version string
	turn    chan struct{} // holds a token while a command runs
	sent    atomic.Uint64 // commands

	mu     sync.Mutex
	broken error // why no more commands can be sent; nil if they can
}

// Dial connects to the control socket at path and reads BIRD's greeting. The path has at
// most 107 bytes.
func Dial(ctx context.Context, path string) (*Conn, error) {
	return DialAs(ctx, path, path)
}

// DialAs is Dial for a socket that has another name than the path by which it is reached
// now.
func DialAs(ctx context.Context, path, name string) (*Conn, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("connect to BIRD's control socket %s: path of %d bytes, a socket's has at most %d", path, len(path), maxPath)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to BIRD's control socket %s: %w", name, plain(err))
	}
	c := &Conn{
		conn: conn,
		path: name,
		r:    bufio.NewReaderSize(conn, maxLine),
		turn: make(chan struct{}, 1),
	}
	greeting, err := c.exchange(ctx, "")
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to BIRD's control socket %s: %w", name, err)
	}
	if c.version, err = parseGreeting(greeting); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to BIRD's control socket %s: %w", name, err)
	}
	return c, nil
}

// plain takes off what net says of the path.
func plain(err error) error {
	var bad *net.OpError
	if errors.As(err, &bad) {
		return bad.Err
	}
	return err
}

// parseGreeting takes the version from "0001 BIRD 2.19.2 ready.".
func parseGreeting(r *Reply) (string, error) {
	text := ""
	if len(r.Lines) > 0 {
		text = r.Lines[0].Text
	}
	rest, isBIRD := strings.CutPrefix(text, "BIRD ")
	version, ready := strings.CutSuffix(rest, " ready.")
	if r.Code != codeWelcome || !isBIRD || !ready || version == "" {
		return "", fmt.Errorf("greeting %q is not BIRD's", text)
	}
	return version, nil
}

// Version is BIRD's version as the greeting gives it, such as "2.19.2".
func (c *Conn) Version() string { return c.version }

// Path is the socket's path, as it was dialled, or the name given with it.
func (c *Conn) Path() string { return c.path }

// Commands is how many commands were sent so far: BIRD may keep something of each.
func (c *Conn) Commands() uint64 { return c.sent.Load() }

// Close ends the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = net.ErrClosed
	}
	return c.conn.Close()
}

// Command sends one command line and returns BIRD's reply. A reply with a code of 8000 and
// more is a *CommandError. If ctx ends before the reply is there, the connection can no
// longer be used.
func (c *Conn) Command(ctx context.Context, line string) (*Reply, error) {
	if strings.TrimSpace(line) == "" || strings.ContainsAny(line, "\r\n\x00") {
		return nil, fmt.Errorf("send command %q: not one line", line)
	}
	r, err := c.exchange(ctx, line)
	if err != nil {
		return nil, fmt.Errorf("send command %q: %w", line, err)
	}
	if r.Code >= firstErrorCode {
		return nil, &CommandError{Command: line, Code: r.Code, Text: r.last()}
	}
	return r, nil
}

// exchange sends a line, unless it is empty, and reads a reply. After an error the two
// sides may be out of step, so that the connection is given up.
func (c *Conn) exchange(ctx context.Context, line string) (*Reply, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	c.mu.Lock()
	err := c.broken
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}

	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	var r *Reply
	if line != "" {
		c.sent.Add(1)
		_, err = io.WriteString(c.conn, line+"\n")
	}
	if err == nil {
		r, err = readReply(c.r)
	}
	if !stop() && err == nil {
		err = context.Canceled // the deadline may strike at any time
	}
	if err == nil {
		return r, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("BIRD closed the connection: %w", io.ErrUnexpectedEOF)
	}
	c.mu.Lock()
	if c.broken == nil {
		c.broken = fmt.Errorf("connection given up: %w", err)
	}
	c.mu.Unlock()
	c.conn.Close()
	return nil, err
}
