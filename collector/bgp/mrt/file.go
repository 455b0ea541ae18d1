// SPDX-License-Identifier: Apache-2.0

package mrt

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// The first bytes of compressed files (RFC 1952 §2.3.1; bzip2's "BZh").
var (
	gzipMagic  = []byte{0x1f, 0x8b}
	bzip2Magic = []byte("BZh")
)

// File is a dump in a file, plain or compressed by gzip or bzip2, as its first bytes say.
type File struct {
	*Reader
	file *os.File
	raw  counter
	size int64
}

// Open opens a dump.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read MRT dump: %w", err)
	}
	f := &File{file: file, raw: counter{in: file}}
	if st, err := file.Stat(); err == nil && st.Mode().IsRegular() {
		f.size = st.Size()
	}
	in, err := decompress(bufio.NewReaderSize(&f.raw, readBuffer))
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f.Reader = NewReader(in)
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Progress is how much of the file was read, and its size: 0 if that is not known. It may
// be called while Next runs.
func (f *File) Progress() (read, size int64) { return f.raw.n.Load(), f.size }

// decompress puts the decompressor before in that its first bytes ask for.
func decompress(in *bufio.Reader) (io.Reader, error) {
	magic, err := in.Peek(len(bzip2Magic))
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		return gzip.NewReader(in)
	case bytes.Equal(magic, bzip2Magic):
		return bzip2.NewReader(in), nil
	}
	return in, nil
}

// counter counts what is read through it.
type counter struct {
	in io.Reader
	n  atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n.Add(int64(n))
	return n, err
}
