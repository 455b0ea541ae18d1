// SPDX-License-Identifier: Apache-2.0

package report

import "fmt"

// Size writes bytes as BIRD's `show memory` does: one decimal, units of 1024,
// the next one from 10,000 on ("9999 B", "9.8 kB", "254.0 MB").
func Size(bytes int64) string {
	if bytes > -10000 && bytes < 10000 {
		return fmt.Sprintf("%d B", bytes)
	}
	v := float64(bytes)
	for _, unit := range []string{"kB", "MB", "GB", "TB"} {
		v /= 1024
		if v > -10000 && v < 10000 {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
	}
	return fmt.Sprintf("%.1f PB", v/1024)
}

// SignedSize is Size with a sign in front also of what grew.
func SignedSize(bytes int64) string {
	if bytes > 0 {
		return "+" + Size(bytes)
	}
	return Size(bytes)
}
