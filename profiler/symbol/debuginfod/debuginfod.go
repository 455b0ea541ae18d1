// SPDX-License-Identifier: Apache-2.0

// Package debuginfod fetches debug files by build ID from debuginfod servers,
// into the cache that all clients share (debuginfod_find_debuginfo(3),
// debuginfod(8)).
package debuginfod

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"leakprof/profiler/symbol"
)

// ErrNotFound says that no server has the file.
var ErrNotFound = errors.New("no server has it")

const (
	// maxFile bounds what a server may send, bytes.
	maxFile = 4 << 30
	// answerTimeout is how long a server may take to find the file: it may have
	// to unpack a package first.
	answerTimeout = 90 * time.Second // as $DEBUGINFOD_TIMEOUT is by default
)

// Servers returns the base URLs of $DEBUGINFOD_URLS, which spaces separate.
func Servers() []string { return strings.Fields(os.Getenv("DEBUGINFOD_URLS")) }

// Example is a server, for whoever has not been told of one: that of the
// distribution whose BIRDs leakprof is tried on.
const Example = "https://debuginfod.debian.net"

// Command is what a shell runs to fetch the debug file of a build ID (hex) with
// elfutils' client, which asks nobody where $DEBUGINFOD_URLS names no server.
func Command(buildID string) string {
	command := "debuginfod-find debuginfo " + buildID
	if len(Servers()) == 0 {
		command = "DEBUGINFOD_URLS=" + Example + " " + command
	}
	return command
}

// Cache returns the directory in which clients keep what they fetched, "" if
// there is no home directory.
func Cache() string {
	if dir := os.Getenv("DEBUGINFOD_CACHE_PATH"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "debuginfod_client")
	}
	home := os.Getenv("HOME")
	if home == "" {
		return ""
	}
	old := filepath.Join(home, ".debuginfod_client_cache")
	if st, err := os.Stat(old); err == nil && st.IsDir() {
		return old
	}
	return filepath.Join(home, ".cache", "debuginfod_client")
}

// Fetch asks the servers in turn for the debug file of a build ID (hex), puts
// the first that has this build ID into the cache, and returns its path.
// ErrNotFound if all servers answer that they have none.
func Fetch(ctx context.Context, servers []string, cache, buildID string) (string, error) {
	if _, err := hex.DecodeString(buildID); err != nil || buildID == "" {
		return "", fmt.Errorf("fetch debug file: %q is no build ID", buildID)
	}
	dir := filepath.Join(cache, buildID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("fetch debug file: %w", err)
	}
	var failed []error
	for _, s := range servers {
		path, err := fetch(ctx, s, dir, buildID)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, ErrNotFound) {
			failed = append(failed, err)
		}
	}
	os.Remove(dir) // if it is empty
	if len(failed) == 0 {
		failed = []error{ErrNotFound}
	}
	return "", fmt.Errorf("fetch debug file of build ID %s: %w", buildID, errors.Join(failed...))
}

// fetch asks one server. Other clients see the whole file or none.
func fetch(ctx context.Context, server, dir, buildID string) (_ string, err error) {
	u, err := url.JoinPath(server, "buildid", buildID, "debuginfo")
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return "", err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerTimeout
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", ErrNotFound
	default:
		return "", fmt.Errorf("get %s: %s", u, answer.Status)
	}
	f, err := os.CreateTemp(dir, "debuginfo.")
	if err != nil {
		return "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	n, err := io.Copy(f, io.LimitReader(answer.Body, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("get %s: %w", u, err)
	}
	if n > maxFile {
		return "", fmt.Errorf("get %s: more than %d bytes", u, int64(maxFile))
	}
	id, err := symbol.ReadBuildID(f)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", u, err)
	}
	if id != buildID {
		return "", fmt.Errorf("get %s: the file's build ID is %q", u, id)
	}
	path := filepath.Join(dir, "debuginfo")
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("get %s: %w", u, err)
	}
	return path, os.Rename(f.Name(), path)
}
