// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnswered: a file that cannot be opened in time is given up, and closed if
// it comes after all.
func TestAnswered(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		fails error
		want  error
	}{
		{"at once", 0, nil, nil},
		{"none", 0, fs.ErrNotExist, fs.ErrNotExist},
		{"in time", answerPatience - time.Second, nil, nil},
		{"late", answerPatience + time.Second, nil, errNoAnswer},
		{"late, and none", answerPatience + time.Second, fs.ErrNotExist, errNoAnswer},
	} {
		synctest.Test(t, func(t *testing.T) {
			var opened *os.File
			f, err := answered(func() (*os.File, error) {
				time.Sleep(c.takes)
				if c.fails != nil {
					return nil, c.fails
				}
				var err error
				opened, err = os.Open(os.DevNull)
				return opened, err
			})
			if !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.name, err, c.want)
			}
			if err == nil {
				if f != opened {
					t.Errorf("%s: another file", c.name)
				}
				f.Close()
			}
			time.Sleep(2 * answerPatience)
			synctest.Wait()
			if opened != nil && !errors.Is(opened.Close(), fs.ErrClosed) {
				t.Errorf("%s: the file stays open", c.name)
			}
		})
	}
}
