// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"leakprof/profiler/internal/fixture"
)

// TestMain runs more tests at once than there are CPUs: most of their time
// they wait for the kernel to place probes and to take them away.
func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		os.Exit(followUntilKilled())
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0)))
	}
	os.Exit(fixture.Run(m))
}
