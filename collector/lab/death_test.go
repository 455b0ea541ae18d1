// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// holderEnv makes the test binary a program that starts a lab and waits.
const holderEnv = "LAB_TEST_HOLDER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(holderEnv); mode != "" {
		hold(mode)
	}
	os.Exit(m.Run())
}

// hold starts a BIRD, prints its process ID, and waits to be killed.
func hold(mode string) {
	bird, paused := strings.CutPrefix(mode, "paused ")
	binary, err := Find(context.Background(), bird)
	if err == nil {
		var b *Bird
		if b, err = Start(context.Background(), Config{Binary: binary, PausedAtEntry: paused}); err == nil {
			fmt.Println(b.PID(), b.Dir())
			select {}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A BIRD does not survive the lab's program, however that ends.
func TestDiesWithItsProgram(t *testing.T) {
	bird := findRoot(t, "bird3-trixie").Path
	for _, mode := range []string{"", "paused "} {
		t.Run("mode "+mode, func(t *testing.T) {
			holder := exec.Command(os.Args[0])
			holder.Env = append(os.Environ(), holderEnv+"="+mode+bird)
			holder.Stderr = os.Stderr
			stdout, err := holder.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			defer holder.Wait()
			defer holder.Process.Kill()
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatalf("read process ID: %v", err)
			}
			pidText, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
			defer os.RemoveAll(dir)
			pid, err := strconv.Atoi(pidText)
			if err != nil {
				t.Fatal(err)
			}
			// Readable once the process has ended, be it reaped or not.
			pidfd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(pidfd)

			holder.Process.Kill()
			fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
			for {
				n, err := unix.Poll(fds, 30_000)
				if err == unix.EINTR {
					continue
				}
				if err != nil || n != 1 {
					t.Fatalf("BIRD %d outlives its program (poll: %d, %v)", pid, n, err)
				}
				break
			}
		})
	}
}
