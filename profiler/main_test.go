// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"os"
	"testing"

	"leakprof/profiler/internal/fixture"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		os.Exit(followUntilKilled())
	}
	os.Exit(fixture.Run(m))
}
