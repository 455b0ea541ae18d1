// SPDX-License-Identifier: Apache-2.0

// Package doctor says before anything is attached what of it will work, and
// what to do about the rest.
//
// Looking and judging are apart: ReadMachine and ReadTarget collect facts, and
// try what can be tried without touching the target; Examine turns facts into
// checks, so that machines which nobody has at hand can be judged as well.
package doctor

import (
	"errors"
	"fmt"
	"strings"
)

// State is how a check came out.
type State string

const (
	// Works: nothing to say against it.
	Works State = "works"
	// Limited: attach does its job, at a cost or within a limit that Text names.
	Limited State = "limited"
	// Fails: attach would refuse, or not do its whole job.
	Fails State = "fails"
)

// Check is one thing that attach needs or makes use of.
type Check struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Text  string `json:"text"` // what was found, and what it means
	// Remedy is what mends it, a command where one does; "" if nothing is amiss
	// or nothing can be done.
	Remedy string `json:"remedy,omitempty"`
}

// Facts are what was found out.
type Facts struct {
	Machine Machine
	Target  *Target // nil if no process was named
}

// Examine judges the facts: the machine's first, then the target's.
func Examine(f Facts) []Check {
	checks := f.Machine.checks()
	if f.Target != nil {
		checks = append(checks, f.Target.checks(&f.Machine)...)
	}
	return checks
}

// ErrUnfit says that attach would not do its whole job.
var ErrUnfit = errors.New("attach would not do its whole job")

// Verdict is nil if attach would do its whole job, else an ErrUnfit that names
// the checks which fail.
func Verdict(checks []Check) error {
	var names []string
	for _, c := range checks {
		if c.State == Fails {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnfit, strings.Join(names, ", "))
}

func works(name, format string, args ...any) Check {
	return Check{Name: name, State: Works, Text: fmt.Sprintf(format, args...)}
}

func limited(name, remedy, format string, args ...any) Check {
	return Check{Name: name, State: Limited, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func fails(name, remedy, format string, args ...any) Check {
	return Check{Name: name, State: Fails, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}
