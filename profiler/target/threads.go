// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Thread is a thread of a process.
type Thread struct {
	ID int // as our pid namespace numbers it, and proc
	// Own is its number in its own pid namespace, which the process itself knows.
	Own int
}

// ThreadList returns the threads that the process has now, in the order of their
// ids.
func (p *Process) ThreadList() ([]Thread, error) {
	entries, err := os.ReadDir(p.path("task"))
	if err != nil {
		return nil, fmt.Errorf("list threads of process %d: %w", p.PID, ErrGone)
	}
	// All are in the namespace of the first.
	numbers, err := namespaceNumbers(p.path("status"))
	if err != nil {
		return nil, fmt.Errorf("list threads of process %d: %w", p.PID, err)
	}
	var all []Thread
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		own := id
		if len(numbers) > 1 {
			if own, err = OwnNumber(p.path("task/" + e.Name() + "/status")); err != nil {
				continue // it has ended
			}
		}
		all = append(all, Thread{id, own})
	}
	slices.SortFunc(all, func(a, b Thread) int { return a.ID - b.ID })
	return all, nil
}

// OwnNumber returns the number of a process or thread in its own pid namespace,
// by its file status in proc.
func OwnNumber(status string) (int, error) {
	numbers, err := namespaceNumbers(status)
	if err != nil {
		return 0, err
	}
	return numbers[len(numbers)-1], nil
}

// namespaceNumbers reads the numbers of a process in the pid namespaces that it
// is in, from that of proc to its own: NSpid (proc_pid_status(5), Linux 4.1).
func namespaceNumbers(status string) ([]int, error) {
	// A process with many groups has a long one.
	const limit = 1 << 20
	f, err := os.Open(status)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", status, err)
	}
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		var numbers []int
		for _, field := range strings.Fields(rest) {
			n, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("read %s: NSpid is %q", status, strings.TrimSpace(rest))
			}
			numbers = append(numbers, n)
		}
		if len(numbers) > 0 {
			return numbers, nil
		}
	}
	return nil, fmt.Errorf("read %s: it has no NSpid", status)
}
