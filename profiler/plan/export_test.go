// SPDX-License-Identifier: Apache-2.0

package plan

// For the tests that run copies of functions, which package bpf does.
var (
	BirdPath     = birdPath
	BuildFixture = buildFixture
	OpenModule   = openModule
	PlanFile     = planFile
)
