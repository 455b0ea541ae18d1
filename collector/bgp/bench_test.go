// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// daemonEnv makes this program a daemon that takes all that comes by the socket which it has
// as descriptor 3.
const daemonEnv = "LEAKPROF_TEST_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(daemonEnv) != "" {
		if err := takeAll(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func takeAll() error {
	c, err := net.FileConn(os.NewFile(3, "speaker"))
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for err == nil {
		_, err = c.Read(buf)
	}
	return nil // however the session ends
}

// processTime is the CPU time that this process has used.
func processTime(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkFlood sends tables to a daemon, a process of its own, over a loopback connection.
// The rate is that of a speaker with one core: by the CPU time of this process, the kernel's
// for it included.
func BenchmarkFlood(b *testing.B) {
	one := testRoutes(100_000, 0)
	one.PerUpdate = 1
	for _, bb := range []struct {
		name   string
		routes Routes
	}{
		{"full-updates", testRoutes(1_087_000, 0)},
		{"report", testRoutes(1_087_000, 28_600)}, // 38 prefixes per UPDATE
		{"1-per-update", one},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkFlood(b, encode(b, bb.routes)) })
	}
}

func benchmarkFlood(b *testing.B, table *Table) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, c := session(b, 90*time.Second)
	socket, err := c.File()
	if err != nil {
		b.Fatal(err)
	}
	defer socket.Close()
	daemon := exec.Command(os.Args[0])
	daemon.Env = append(os.Environ(), daemonEnv+"=1")
	daemon.Stderr = os.Stderr
	daemon.ExtraFiles = []*os.File{socket}
	if err := daemon.Start(); err != nil {
		b.Fatal(err)
	}
	before := processTime(b)
	b.SetBytes(int64(table.Bytes()))
	b.ResetTimer()
	for range b.N {
		if _, err := s.Flood(b.Context(), table); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	used := processTime(b) - before
	b.ReportMetric(float64(table.Prefixes())*float64(b.N)/used.Seconds(), "prefixes/s")
	s.Drop(b.Context(), DropReset)
	daemon.Wait() // a reset is an error
}
