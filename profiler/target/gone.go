// SPDX-License-Identifier: Apache-2.0

package target

import (
	"errors"
	"fmt"
)

// Explain says of an error that came of working with the process whether the
// process has ended: then it is ErrGone too, whatever it was that failed first.
func (p *Process) Explain(err error) error {
	if err == nil || errors.Is(err, ErrGone) || p.Alive() {
		return err
	}
	return fmt.Errorf("follow process %d: %w: %w", p.PID, ErrGone, err)
}
