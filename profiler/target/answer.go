// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"time"
)

// errNoAnswer says that a file cannot be opened or read now: that of FUSE whose
// server hangs, or of a network file system that is gone. It is no fs.ErrNotExist.
var errNoAnswer = errors.New("its file system does not answer (FUSE, or a network's)")

// answerPatience is how long a file system may take to open a file: a disk that
// has to spin up takes seconds.
const answerPatience = 10 * time.Second

// answered is open, or errNoAnswer if that takes too long. What comes later is
// closed; a thread of ours waits for it until it comes or we end.
func answered[F interface{ Close() error }](open func() (F, error)) (F, error) {
	type result struct {
		file F
		err  error
	}
	done := make(chan result, 1)
	go func() {
		f, err := open()
		done <- result{f, err}
	}()
	timer := time.NewTimer(answerPatience)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.file, r.err
	case <-timer.C:
		go func() {
			if r := <-done; r.err == nil {
				r.file.Close()
			}
		}()
		var none F
		return none, errNoAnswer
	}
}
