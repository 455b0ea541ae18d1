// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// history is all that a station tells, in text, per connection: the order between
// connections is nobody's. Events and messages are in order.
type history struct {
	mu sync.Mutex
	of map[uint64][]string
}

func (h *history) options(o Options) Options {
	h.of = make(map[uint64][]string)
	add := func(connection uint64, format string, args ...any) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.of[connection] = append(h.of[connection], fmt.Sprintf(format, args...))
	}
	o.OnEvent = func(e Event) {
		add(e.Connection, "%d %T %+v", e.At.UnixNano(), e.Body, e.Body)
	}
	o.OnMessage = func(m Message) {
		add(m.Connection, "%d %v at %d: %x %v", m.At.UnixNano(), m.Type, m.Offset, m.Bytes, m.AddPath)
	}
	return o
}

// replay plays a recording to its end.
func replay(t testing.TB, recording []byte, speed Speed, opts Options) (*Station, error) {
	t.Helper()
	s, err := Replay(context.Background(), bytes.NewReader(recording), speed, opts)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { s.Close() })
	for range s.Events() {
	}
	return s, s.Close()
}

// TestReplay wants from a recording the same events, messages, times and counts.
func TestReplay(t *testing.T) {
	h := peerHeader(PeerGlobal, 0, "127.0.0.2")
	bird, err := os.ReadFile("testdata/bird-2.20.0.bmp")
	if err != nil {
		t.Fatal(err)
	}
	addPath := "02 06 45 04 00010103"
	for _, tt := range []struct {
		name string
		opts Options
		send []byte
		act  func(*Station) // while the router is connected
		end  string
	}{
		{"BIRD", Options{}, bird, nil, ""},
		{"ADD-PATH", Options{}, slices.Concat(initiation(), peerUp(t, h, addPath, addPath),
			frame(TypeRouteMonitoring, h, updateMessage(t, "", "400101 00", "00000001 18 010203"))), nil, ""},
		{"nothing", Options{}, nil, nil, ""},
		{"cut", Options{}, slices.Concat(initiation(), initiation()[:9]), nil, "9 bytes of a message"},
		{"malformed", Options{}, slices.Concat(initiation(), []byte("GET /"), bird), nil, "malformed BMP message at byte 33"},
		{"large", Options{}, slices.Concat(initiation(), frame(99, make([]byte, 900_000)), bird), nil, ""},
		{"stalled", Options{Behavior: StallAfter(3)}, bird, func(s *Station) {
			await(t, s, func(Counts) bool { return s.Stalled() })
			s.Resume()
		}, ""},
		{"closed in a stall", Options{Behavior: StallAfter(3)}, bird, func(s *Station) {
			await(t, s, func(Counts) bool { return s.Stalled() })
			s.CloseConnections()
		}, "closed by the station: on demand"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var recording bytes.Buffer
			var err error
			opts := tt.opts
			if opts.Record, err = NewRecorder(&recording); err != nil {
				t.Fatal(err)
			}
			var live, again history
			s := listen(t, live.options(opts))
			send(t, s, tt.send)
			if tt.act != nil {
				tt.act(s)
			}
			events(t, s)
			s.Resume()
			send(t, s, initiation()) // the next connection
			events(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			played, err := replay(t, recording.Bytes(), MaxSpeed, again.options(Options{}))
			if err != nil {
				t.Fatal(err)
			}
			if len(live.of) != 2 || !reflect.DeepEqual(again.of, live.of) {
				t.Errorf("replayed:\n%v\nlive:\n%v", again.of, live.of)
			}
			if last := live.of[1][len(live.of[1])-1]; !strings.Contains(last, tt.end) {
				t.Errorf("ended with %s, want %q", last, tt.end)
			}
			if got, want := countsText(played.Counts()), countsText(s.Counts()); got != want {
				t.Errorf("counts replayed:\n%s\nlive:\n%s", got, want)
			}
			if played.Addr().IsValid() {
				t.Error("a replay has an address")
			}
		})
	}
}

// countsText are counts without what is nil here and empty there.
func countsText(c Counts) string {
	var b strings.Builder
	for _, conn := range c.Connections {
		fmt.Fprintf(&b, "%d %v %d %+v\n", conn.Connection, conn.Remote, conn.Since.UnixNano(), conn.Initiation)
		for _, p := range conn.Peers {
			p.Changed, p.LastRoute = time.Unix(0, p.Changed.UnixNano()), time.Unix(0, p.LastRoute.UnixNano())
			fmt.Fprintf(&b, "%+v\n", p)
		}
	}
	fmt.Fprintf(&b, "%d %d %d %d", c.Accepted, c.Refused, c.MalformedMessages, c.LastMessage.UnixNano())
	c.Totals.LastMessage = time.Time{}
	fmt.Fprintf(&b, "%+v", c.Totals)
	return b.String()
}

// recordingOf is a recording of these records, a second apart.
func recordingOf(t testing.TB, records ...record) []byte {
	t.Helper()
	var b bytes.Buffer
	r, err := NewRecorder(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i, rec := range records {
		rec.at = time.Unix(1_700_000_000+int64(i), 0)
		if err := r.write(rec); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

var (
	openFirst = record{connection: 1, kind: recordOpen, data: []byte("127.0.0.1:40000")}
	closeIt   = record{connection: 1, kind: recordClose}
)

// TestRecordingFormat holds the bytes of the format's description.
func TestRecordingFormat(t *testing.T) {
	got := recordingOf(t, openFirst, record{connection: 1, kind: recordMessages, data: initiation()}, closeIt)
	want := slices.Concat([]byte("leakprof BMP\x00\x00\x00\x01"),
		unhex(t, "1797 9cfe 362a 0000  0000 0000 0000 0001  01  0000 000f"), []byte("127.0.0.1:40000"),
		unhex(t, "1797 9cfe 71c4 ca00  0000 0000 0000 0001  02  0000 0021"), initiation(),
		unhex(t, "1797 9cfe ad5f 9400  0000 0000 0000 0001  04  0000 0000"))
	if !bytes.Equal(got, want) {
		t.Errorf("%x\nwant %x", got, want)
	}
}

// TestCutRecording plays a recording that was cut at any byte, as by a crash: what is
// whole counts, and the error says where it ends.
func TestCutRecording(t *testing.T) {
	whole := recordingOf(t, openFirst, record{connection: 1, kind: recordMessages, data: initiation()}, closeIt)
	header := len(recordingMagic) + 4
	ends := map[int]bool{header: true, header + 36: true, header + 36 + 54: true, len(whole): true}
	for cut := range len(whole) + 1 {
		var all []EventBody
		s, err := replay(t, whole[:cut], MaxSpeed, Options{OnEvent: func(e Event) { all = append(all, e.Body) }})
		if (err == nil) != ends[cut] {
			t.Errorf("cut at %d: error %v", cut, err)
		}
		if s == nil {
			if cut >= header {
				t.Errorf("cut at %d: nothing is played: %v", cut, err)
			}
			continue
		}
		if n := s.Counts().ByType[TypeInitiation]; (n == 1) != (cut >= header+36+54) {
			t.Errorf("cut at %d: %d messages", cut, n)
		}
		if cut < header+36 {
			continue
		}
		end := all[len(all)-1].(Disconnected)
		if (end.Err == nil) != (cut == len(whole)) || cut < len(whole) && !errors.Is(end.Err, errRecordingEnds) {
			t.Errorf("cut at %d: ended with %+v", cut, end)
		}
	}
}

func TestBadRecording(t *testing.T) {
	good := recordingOf(t, openFirst)
	with := func(at int, b ...byte) []byte {
		c := slices.Clone(good)
		copy(c[at:], b)
		return c
	}
	second := record{connection: 2, kind: recordMessages}
	for _, tt := range []struct {
		name, want string
		recording  []byte
	}{
		{"empty", "too short", nil},
		{"magic", `begins with "neakprof BMP"`, with(0, 'n')},
		{"version", "version 2, want 1", with(15, 2)},
		{"kind 0", "record at byte 16: unknown kind 0", with(32, 0)},
		{"kind 5", "unknown kind 5", with(32, 5)},
		{"long address", "4097 bytes, want at most 4096", with(33, 0, 0, 0x10, 1)},
		{"long data", "16777217 bytes, want at most 16777216", with(32, 2, 1, 0, 0, 1)},
		{"4 GB", "4294967295 bytes", with(32, 3, 255, 255, 255, 255)},
		{"address", "open connection 1", with(37, 'x')},
		{"connection 0", "connection 0 opens after connection 0", with(31, 0)},
		{"twice", "connection 1 opens after connection 1", recordingOf(t, openFirst, openFirst)},
		{"not open", "connection 2 was not opened", recordingOf(t, openFirst, second)},
	} {
		if _, err := replay(t, tt.recording, MaxSpeed, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	// What comes after the end of a connection, or for one beyond the limit, is left out.
	third := record{connection: 3, kind: recordOpen, data: openFirst.data}
	second.kind, second.data = recordOpen, openFirst.data
	s, err := replay(t, recordingOf(t, openFirst, second, closeIt, closeIt, third, record{connection: 2, kind: recordMessages, data: initiation()}), MaxSpeed, Options{MaxConnections: 1})
	if c := s.Counts(); err != nil || c.Refused != 1 || c.Accepted != 2 || c.Bytes != 0 {
		t.Errorf("counts %+v, error %v", c, err)
	}
}

// TestPieces wants that messages may be cut into records anywhere.
func TestPieces(t *testing.T) {
	bird, err := os.ReadFile("testdata/bird-3.1.7.bmp")
	if err != nil {
		t.Fatal(err)
	}
	records := []record{openFirst}
	for piece := range slices.Chunk(bird, 7) {
		records = append(records, record{connection: 1, kind: recordMessages, data: piece})
	}
	// What is for routers means nothing to a replay.
	s, err := replay(t, recordingOf(t, append(records, closeIt)...), MaxSpeed, Options{MaxEvents: 1, Behavior: StallAfter(1)})
	if c := s.Counts(); err != nil || c.Bytes != uint64(len(bird)) || c.PeerUps != 4 || c.EventsDropped != 0 {
		t.Errorf("counts %+v, error %v", c.Totals, err)
	}
}

// TestLongRecord writes more than one record may hold.
func TestLongRecord(t *testing.T) {
	data := bytes.Repeat(frame(99, make([]byte, 1<<20-commonLen)), 17)
	s, err := replay(t, recordingOf(t, openFirst, record{connection: 1, kind: recordMessages, data: data}, closeIt), MaxSpeed, Options{})
	if c := s.Counts(); err != nil || c.UnknownTypes != 17 {
		t.Errorf("counts %+v, error %v", c.Totals, err)
	}
}

func TestRealSpeed(t *testing.T) {
	b := recordingOf(t, openFirst, closeIt)
	at := bytes.LastIndex(b, []byte{0, 0, 0, 0, 0, 0, 0, 1, 4}) - 8
	base := time.Unix(1_700_000_000, 0).UnixNano()
	play := func(ctx context.Context, pause time.Duration) time.Duration {
		binary.BigEndian.PutUint64(b[at:], uint64(base+int64(pause)))
		start := time.Now()
		s, err := Replay(ctx, bytes.NewReader(b), RealSpeed, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range s.Events() {
		}
		return time.Since(start)
	}
	if took := play(t.Context(), 150*time.Millisecond); took < 150*time.Millisecond {
		t.Errorf("a pause of 150 ms took %v", took)
	}
	if took := play(t.Context(), -time.Hour); took > 30*time.Second {
		t.Errorf("a step back in time took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if took := play(ctx, time.Hour); took > 30*time.Second {
		t.Errorf("ended %v after the context", took)
	}
}

// fullDisk takes so many bytes.
type fullDisk int

func (f *fullDisk) Write(b []byte) (int, error) {
	if *f -= fullDisk(len(b)); *f < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

func TestFullDisk(t *testing.T) {
	room := fullDisk(100)
	r, err := NewRecorder(&room)
	if err != nil {
		t.Fatal(err)
	}
	s := listen(t, Options{Record: r})
	send(t, s, initiation(), initiation())
	if _, end := events(t, s); end.Err == nil || !strings.Contains(end.Err.Error(), "no space left") {
		t.Errorf("ended with %+v", end)
	}
	<-s.Done()
	if err := s.Close(); err == nil || err.Error() != "write recording: no space left on device" {
		t.Errorf("error %v", err)
	}
	if _, err := NewRecorder(&room); err == nil {
		t.Error("a recording begins on a full disk")
	}
}

// FuzzReplay plays anything.
func FuzzReplay(f *testing.F) {
	f.Add(recordingOf(f, openFirst, record{connection: 1, kind: recordMessages, data: initiation()}, record{connection: 1, kind: recordRest, data: []byte("x")}, closeIt))
	f.Add(recordingOf(f, openFirst, record{connection: 2, kind: recordOpen, data: openFirst.data}, record{connection: 2, kind: recordMessages, data: []byte("GET /")}))
	files, err := filepath.Glob("testdata/*.bmp")
	if err != nil || len(files) == 0 {
		f.Fatal("no sessions in testdata", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(recordingOf(f, openFirst, record{connection: 1, kind: recordMessages, data: b}, closeIt))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		opened, ended := 0, 0
		s, err := Replay(t.Context(), bytes.NewReader(b), MaxSpeed, Options{
			MaxConnections: 4, MaxPeers: 8,
			OnMessage: func(m Message) { m.MarshalJSON() },
		})
		if err != nil {
			return
		}
		for e := range s.Events() {
			switch e.Body.(type) {
			case Connected:
				opened++
			case Disconnected:
				ended++
			}
		}
		if err := s.Close(); err != nil && errors.Is(err, io.EOF) {
			t.Errorf("ends with %v", err)
		}
		if c := s.Counts(); opened != ended || uint64(opened) != c.Accepted || c.EventsDropped != 0 || c.Bytes > uint64(len(b)) {
			t.Errorf("%d opened, %d ended, counts %+v", opened, ended, c.Totals)
		}
	})
}

// BenchmarkReplay is the reading of a recording, counted.
func BenchmarkReplay(b *testing.B) {
	st := birdStream(b, "bird-2.19.2")
	recording := recordingOf(b, openFirst, record{connection: 1, kind: recordMessages, data: st.block}, closeIt)
	b.SetBytes(int64(len(recording)))
	for range b.N {
		if s, err := replay(b, recording, MaxSpeed, Options{}); err != nil || s.Counts().Messages != uint64(st.messages) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*st.messages)/b.Elapsed().Seconds(), "messages/s")
}
