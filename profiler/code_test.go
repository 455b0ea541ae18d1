// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestIsSameCode(t *testing.T) {
	for _, c := range []struct {
		name, file, memory string
		want               bool
	}{
		{"same", "4885ff 7400", "4885ff 7400", true},
		{"a probe on the first", "4885ff 7400", "cc85ff 7400", true},
		{"a probe on the second", "4885ff 7400", "4885ff cc00", true},
		{"int3 within an instruction", "4885ff 7400", "48ccff 7400", false},
		{"another instruction", "4885ff 7400", "4885ff 7500", false},
		{"a jump elsewhere", "53 5b", "eb 5b", false},
		{"nop5 that is a call now", "0f1f440000 c3", "e811223344 c3", true},
		{"nop5 on the way", "0f1f440000 c3", "eb1f440000 c3", true},
		{"nop5 that is something else", "0f1f440000 c3", "9090909090 c3", false},
	} {
		file, err := hex.DecodeString(strings.ReplaceAll(c.file, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		memory, err := hex.DecodeString(strings.ReplaceAll(c.memory, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := isSameCode(file, memory); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
