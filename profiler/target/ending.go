// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reaping is how long a process that has ended may wait for its parent to take
// note: until then the kernel does not tell how it ended.
const reaping = time.Second

// Ending says in words how a process that has ended did so, such as "exited with
// status 0" or "was killed by SIGSEGV"; "ended" where the kernel does not tell:
// it does since Linux 6.15 (PIDFD_INFO_EXIT).
func (p *Process) Ending() string {
	for deadline := time.Now().Add(reaping); ; time.Sleep(10 * time.Millisecond) {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
		if errno == 0 && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return ending(unix.WaitStatus(info.Exit_code))
		}
		// ENOTTY: this kernel knows no such question. Otherwise it has yet to come.
		if errno == unix.ENOTTY || errno == unix.EINVAL || time.Now().After(deadline) {
			return "ended"
		}
	}
}

func ending(s unix.WaitStatus) string {
	switch {
	case s.Exited():
		return fmt.Sprintf("exited with status %d", s.ExitStatus())
	case s.Signaled():
		name := unix.SignalName(s.Signal())
		if name == "" { // of real-time signals (signal(7))
			name = fmt.Sprintf("signal %d", s.Signal())
		}
		return "was killed by " + name
	}
	return "ended"
}
