// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	recordingMagic   = "leakprof BMP"
	recordingVersion = 1
	recordHeaderLen  = 21
	// maxRecord bounds a record's data, in bytes, and with it the messages of a station:
	// each fits into one record.
	maxRecord = 16 << 20
)

// recordKind is the kind of a record.
type recordKind uint8

const (
	recordOpen     recordKind = 1
	recordMessages recordKind = 2
	recordRest     recordKind = 3
	recordClose    recordKind = 4
)

// record is one entry of a recording.
type record struct {
	at         time.Time
	connection uint64
	kind       recordKind
	data       []byte
}

// Recorder writes what a station reads. It may be given to one station at a time.
type Recorder struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
	err error // the first one; nothing is written after it
}

// NewRecorder begins a recording in w. Each record is one Write, so that w holds all that
// came before the end, whatever the end was.
func NewRecorder(w io.Writer) (*Recorder, error) {
	header := binary.BigEndian.AppendUint32([]byte(recordingMagic), recordingVersion)
	if _, err := w.Write(header); err != nil {
		return nil, fmt.Errorf("write recording: %w", err)
	}
	return &Recorder{w: w}, nil
}

// write appends a record, or several if its data is longer than one may be.
func (r *Recorder) write(rec record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil {
		data := rec.data[:min(len(rec.data), maxRecord)]
		rec.data = rec.data[len(data):]
		b := binary.BigEndian.AppendUint64(r.buf[:0], uint64(rec.at.UnixNano()))
		b = binary.BigEndian.AppendUint64(b, rec.connection)
		b = append(b, byte(rec.kind))
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		b = append(b, data...)
		r.buf = b
		if _, err := r.w.Write(b); err != nil {
			r.err = fmt.Errorf("write recording: %w", err)
		}
		if len(rec.data) == 0 {
			break
		}
	}
	return r.err
}

// failure is the first error.
func (r *Recorder) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// recordingReader reads records one by one.
type recordingReader struct {
	r      *bufio.Reader
	offset int64 // of the next record
	buf    []byte
}

// newRecordingReader reads the header of a recording.
func newRecordingReader(r io.Reader) (*recordingReader, error) {
	rr := &recordingReader{r: bufio.NewReaderSize(r, readBuffer)}
	header := make([]byte, len(recordingMagic)+4)
	if _, err := io.ReadFull(rr.r, header); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("too short to be one")
		}
		return nil, fmt.Errorf("read recording: %w", err)
	}
	if string(header[:len(recordingMagic)]) != recordingMagic {
		return nil, fmt.Errorf("read recording: it begins with %q, want %q", header[:len(recordingMagic)], recordingMagic)
	}
	if v := binary.BigEndian.Uint32(header[len(recordingMagic):]); v != recordingVersion {
		return nil, fmt.Errorf("read recording: format version %d, want %d", v, recordingVersion)
	}
	rr.offset = int64(len(header))
	return rr, nil
}

// next gives the next record, whose data is valid until the one after it, or io.EOF.
func (r *recordingReader) next() (record, error) {
	var h [recordHeaderLen]byte
	if _, err := io.ReadFull(r.r, h[:]); err == io.EOF {
		return record{}, io.EOF
	} else if err != nil {
		return record{}, r.bad(err)
	}
	rec := record{
		at:         time.Unix(0, int64(binary.BigEndian.Uint64(h[:]))),
		connection: binary.BigEndian.Uint64(h[8:]),
		kind:       recordKind(h[16]),
	}
	n := int(binary.BigEndian.Uint32(h[17:]))
	limit := maxRecord
	switch rec.kind {
	case recordMessages, recordRest:
	case recordOpen, recordClose:
		limit = maxText
	default:
		return record{}, r.bad(fmt.Errorf("unknown kind %d", rec.kind))
	}
	if n > limit {
		return record{}, r.bad(fmt.Errorf("%d bytes, want at most %d", n, limit))
	}
	if n > cap(r.buf) {
		r.buf = make([]byte, n)
	}
	rec.data = r.buf[:n]
	if _, err := io.ReadFull(r.r, rec.data); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return record{}, r.bad(err)
	}
	r.offset += recordHeaderLen + int64(n)
	return rec, nil
}

// bad says that the record at the current offset is.
func (r *recordingReader) bad(err error) error {
	return fmt.Errorf("read recording: record at byte %d: %w", r.offset, err)
}
