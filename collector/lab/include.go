// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	// userConfigDir has the copy of the user's configuration in a BIRD's own root.
	userConfigDir = "user"
	// maxUserConfig bounds that copy, in bytes.
	maxUserConfig = 64 << 20
)

// includeLine is by what BIRD's lexer knows an include (conf/cf-lex.l, the same from 2.13
// to 3.4): nothing but white space before it.
var includeLine = regexp.MustCompile(`(?m)^[ \t\r\v\f]*include[ \t\r\v\f]*"`)

// placeInclude makes the user's configuration visible to BIRD and returns its path as BIRD
// sees it. What it includes by a relative path BIRD looks for beside it (conf/cf-lex.l,
// cf_include); so it stays where it is, unless BIRD has a root of its own.
func (b *Binary) placeInclude(dir, file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(abs); err != nil {
		return "", err
	} else if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", file)
	} else if st.Size() > maxUserConfig {
		return "", fmt.Errorf("%s has %d bytes: at most %d", file, st.Size(), maxUserConfig)
	}
	if b.Root == "" {
		// There is no way to quote these, and a path with wildcards that matches nothing
		// is passed over in silence.
		if strings.ContainsAny(abs, "\"?*[\r\n") {
			return "", fmt.Errorf("path %q: BIRD includes no path with any of \"?*[ in it: copy or link the file", abs)
		}
		return abs, nil
	}
	text, err := os.ReadFile(abs)
	if err != nil {
		return "", err
	}
	if line := includeLine.FindIndex(text); line != nil {
		return "", fmt.Errorf("%s:%d: what it includes cannot be seen by a BIRD in a root of its own (%s): put it into one file, or give a BIRD outside of it with --bird PATH",
			file, 1+bytes.Count(text[:line[1]], []byte("\n")), b.Root)
	}
	place := filepath.Join(dir, userConfigDir, filepath.Base(abs))
	if err := os.Mkdir(filepath.Dir(place), 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(place, text, 0o600); err != nil {
		return "", err
	}
	return b.inside(place), nil
}

// compose returns the configuration that BIRD takes.
func (b *Binary) compose(ctx context.Context, dir string, l layout) (string, error) {
	text, err := b.accepted(ctx, dir, l)
	switch {
	case err == nil:
		return text, nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case l.include == "":
		return "", fmt.Errorf("%s (%s) refuses its configuration: %w", b.Path, b.Version, err)
	}
	if _, err := b.accepted(ctx, dir, layout{include: l.include}); err != nil {
		return "", fmt.Errorf("%s (%s) refuses the configuration: %w", b.Path, b.Version, err)
	}
	hint := "the lab adds names that begin with " + OwnPrefix
	if l.kernel {
		l.kernel = false
		if _, err := b.accepted(ctx, dir, l); err == nil {
			hint = "it has a protocol kernel of its own: leave out --kernel"
		}
	}
	return "", fmt.Errorf("%s (%s) refuses the configuration together with the lab's peers: %w: %s", b.Path, b.Version, err, hint)
}

// accepted returns the text of l that BIRD's own parser takes: with a protocol device of
// ours, or, where the user's configuration has one, without.
func (b *Binary) accepted(ctx context.Context, dir string, l layout) (text string, err error) {
	l.device = true
	text = l.text()
	if err = b.check(ctx, dir, text); err == nil || l.include == "" {
		return text, err
	}
	l.device = false
	text = l.text()
	return text, b.check(ctx, dir, text)
}

// errNamespace is what a lab is refused for that would change this machine's routes.
var errNamespace = errors.New("routes in the kernel, and configurations of the user's, need a network namespace of the lab's own")
