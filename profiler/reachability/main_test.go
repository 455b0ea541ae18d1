// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"os"
	"testing"

	"leakprof/profiler/internal/fixture"
)

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }
