// SPDX-License-Identifier: Apache-2.0

package probecost

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/plan/prologue"
)

// TestMeasure: there are costs for each form and kind that the kernel has; what
// every kernel emulates is told from what none does, and a return costs more.
func TestMeasure(t *testing.T) {
	table, err := Measure(t.Context())
	if err != nil {
		t.Fatalf("measure (needs root): %v", err)
	}
	for kind, costs := range table.Costs {
		if len(costs) != len(prologue.Forms)+1 {
			t.Errorf("%s: %d forms, want %d", kind, len(costs), len(prologue.Forms)+1)
		}
		for form, ns := range costs {
			if ns < 50 || ns > 1e6 {
				t.Errorf("%s on %s takes %g ns", kind, form, ns)
			}
		}
	}
	for _, multi := range []bool{false, true} {
		c := table.Plan(multi)
		if c == nil {
			if !multi {
				t.Error("perf events were not measured")
			}
			continue
		}
		for form, want := range map[prologue.Form]bool{prologue.Push: true, prologue.Jcc8: true, prologue.Other: false} {
			if c.Emulates(form) != want {
				t.Errorf("multi %v: %s is emulated: %v, at %s", multi, form, !want, c.Hit[form])
			}
		}
	}
	var text strings.Builder
	if err := table.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	for _, want := range []string{"push r64", "steps it", "emulates it", table.CPU} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text has no %q:\n%s", want, text.String())
		}
	}
}

// TestKept: what was measured is found again, on the same kernel and CPU alone.
func TestKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "probe-cost.json")
	if _, err := loadFile(path); !errors.Is(err, ErrNotMeasured) {
		t.Errorf("no file: %v, want ErrNotMeasured", err)
	}
	table, err := newTable()
	if err != nil {
		t.Fatal(err)
	}
	table.Costs[Multi] = map[prologue.Form]float64{prologue.Push: 500.5, prologue.Other: 9000, prologue.Jcc8: 400}
	table.Costs[MultiReturn] = map[prologue.Form]float64{prologue.Jcc8: 700}
	for range 2 { // the second time there is a file
		if err := table.saveFile(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := loadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Plan(true)
	if c == nil || c.Hit[prologue.Push] != 500 || c.Return != 300 || got.Plan(false) != nil {
		t.Errorf("read back: %+v", c)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for name, change := range map[string]func(*Table){
		"kernel": func(t *Table) { t.Kernel = "5.15" },
		"CPU":    func(t *Table) { t.CPU = "another" },
	} {
		other := *table
		change(&other)
		if err := other.saveFile(path); err != nil {
			t.Fatal(err)
		}
		if _, err := loadFile(path); !errors.Is(err, ErrNotMeasured) {
			t.Errorf("another %s: %v, want ErrNotMeasured", name, err)
		}
	}
	for _, bad := range []string{"", "{", `{"hit_ns":{"uprobe_multi":{"ret":-1}}}`} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadFile(path); err == nil {
			t.Errorf("%q is taken for costs", bad)
		}
	}
	table.Costs[Multi][prologue.Push] = -1
	if err := table.saveFile(path); err != nil {
		t.Fatal(err)
	}
	if _, err := loadFile(path); err == nil || errors.Is(err, ErrNotMeasured) {
		t.Errorf("negative costs: %v", err)
	}
}
