// SPDX-License-Identifier: Apache-2.0

package profiler_test

const victimVariable = "LEAKPROF_TEST_FOLLOW"

func followUntilKilled() int { return 0 }
