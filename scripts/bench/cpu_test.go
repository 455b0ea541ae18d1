// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestParseBusy(t *testing.T) {
	for _, c := range []struct {
		name, stat string
		want       time.Duration // negative: an error
	}{
		{"all", "cpu  100 20 30 9999 888 7 5 300 60 4\ncpu0 1 1 1 1 1 1 1 1 1 1\n", 1620 * time.Millisecond},
		{"without guests", "cpu 1 2 3 4 5 6 7 8\n", 190 * time.Millisecond},
		{"empty", "", -1},
		{"short", "cpu 1 2 3\n", -1},
		{"another line first", "intr 1 2 3 4 5 6 7 8 9\n", -1},
		{"no number", "cpu 1 x 3 4 5 6 7 8\n", -1},
	} {
		got, err := parseBusy(c.stat)
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

func TestParseProcessCPU(t *testing.T) {
	const tail = " S 1 2 3 4 5 6 7 8 9 10 150 50 7 3 20 0 1 0"
	for _, c := range []struct {
		name, stat string
		want       time.Duration
	}{
		{"plain", "12 (leakprof)" + tail, 2100 * time.Millisecond},
		{"a name with all in it", "12 (a) b (c d) 1)" + tail, 2100 * time.Millisecond},
		{"short", "12 (leakprof) S 1 2", -1},
		{"empty", "", -1},
		{"no number", "1 (a) S 1 2 3 4 5 6 7 8 9 10 x 50 7 3", -1},
	} {
		got, err := parseProcessCPU(c.stat)
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// TestCPUClock: the clock goes on with threads that have ended.
func TestCPUClock(t *testing.T) {
	before, err := cpuClock(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const work = 20 * time.Millisecond
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the thread ends with the goroutine
		for {
			if now, err := cpuClock(os.Getpid()); err != nil || now-before >= work {
				return
			}
		}
	}()
	<-ended
	if after, err := cpuClock(os.Getpid()); err != nil || after-before < work {
		t.Errorf("%v after %v, %v", after, before, err)
	}
	if _, err := cpuClock(1 << 23); err == nil {
		t.Error("a process that there is none of has a clock")
	}
}

// TestReadOwn: what the kernel writes is what is read.
func TestReadOwn(t *testing.T) {
	if busy, err := machineBusy(); err != nil || busy <= 0 {
		t.Errorf("machine: %v, %v", busy, err)
	}
	if _, err := processCPU(os.Getpid()); err != nil {
		t.Error(err)
	}
	if runs, err := isRunning(os.Getpid()); err != nil || !runs {
		t.Errorf("who asks does not run (%v)", err)
	}
	if _, err := isRunning(1 << 23); err == nil {
		t.Error("a process that there is none of has a state")
	}
	if rss, err := peakRSS(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("resident: %d, %v", rss, err)
	}
	if bytes, err := mapMemory(os.Getpid()); err != nil || bytes != 0 {
		t.Errorf("maps: %d, %v", bytes, err)
	}
}

func TestParsePeakRSS(t *testing.T) {
	if got, err := parsePeakRSS("Name:\tbird\nVmPeak:\t 99 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"); err != nil || got != 2<<20 {
		t.Errorf("%d, %v", got, err)
	}
	for _, bad := range []string{"", "VmRSS:\t 1 kB\n", "VmHWM:\t many kB\n"} {
		if got, err := parsePeakRSS(bad); err == nil {
			t.Errorf("%q: %d", bad, got)
		}
	}
}

func TestParseMap(t *testing.T) {
	for _, c := range []struct {
		fdinfo, id string
		bytes      int64
	}{
		{"pos:\t0\nflags:\t02000002\nmap_type:\t1\nmax_entries:\t1000\nmemlock:\t81920\nmap_id:\t17\n", "17", 81920},
		{"pos:\t0\nprog_type:\t2\nmemlock:\t4096\nprog_id:\t5\n", "", 4096},
		{"", "", 0},
	} {
		if id, bytes := parseMap(c.fdinfo); id != c.id || bytes != c.bytes {
			t.Errorf("%q: %q, %d", c.fdinfo, id, bytes)
		}
	}
}

func TestForeign(t *testing.T) {
	all := time.Duration(runtime.NumCPU())
	from := instant{at: time.Unix(100, 0), bird: time.Second, machine: time.Hour, ours: time.Second, tool: time.Second}
	for _, c := range []struct {
		name string
		to   instant
		want float64
	}{
		{"nobody", instant{from.at.Add(10 * time.Second), 3 * time.Second, time.Hour + 4*time.Second, 2 * time.Second, 2 * time.Second}, 0},
		{"half of it", instant{from.at.Add(10 * time.Second), 3 * time.Second, time.Hour + 4*time.Second + 5*time.Second*all, 2 * time.Second, 2 * time.Second}, 50},
		{"clocks differ by a tick", instant{from.at.Add(10 * time.Second), 3 * time.Second, time.Hour + time.Second, 2 * time.Second, 2 * time.Second}, 0},
		{"no time", from, 0},
	} {
		if got := foreignPercent(from, c.to); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
