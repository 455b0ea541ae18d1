// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/json"
	"fmt"
	"io"

	"leakprof/profiler/terminal"
)

// words are the states as people read them.
var words = map[State]string{Works: "works", Limited: "works, but", Fails: "does not"}

// WriteText prints one line for each check.
func WriteText(w io.Writer, checks []Check) error {
	width := 0
	for _, c := range checks {
		width = max(width, len(c.Name))
	}
	for _, c := range checks {
		line := fmt.Sprintf("%-10s  %-*s  %s", words[c.State], width, c.Name, c.Text)
		if c.Remedy != "" {
			line += "; " + c.Remedy
		}
		// Errors and names of files come from elsewhere.
		if _, err := fmt.Fprintln(w, terminal.Line(line)); err != nil {
			return fmt.Errorf("print checks: %w", err)
		}
	}
	return nil
}

// WriteJSON prints an object with "fit", whether attach would do its whole job,
// and "checks".
func WriteJSON(w io.Writer, checks []Check) error {
	enc := json.NewEncoder(terminal.JSON(w))
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Fit    bool    `json:"fit"`
		Checks []Check `json:"checks"`
	}{Verdict(checks) == nil, append([]Check{}, checks...)})
	if err != nil {
		return fmt.Errorf("print checks: %w", err)
	}
	return nil
}
