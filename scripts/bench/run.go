// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"leakprof/profiler/report"
)

// run is one BIRD from its start to its end, a line in runs.jsonl. Times are seconds.
type run struct {
	Bird    string `json:"bird"`    // the name that it is given
	Version string `json:"version"` // as BIRD says
	Variant string `json:"variant"`
	Round   int    `json:"round"` // from 1
	Order   int    `json:"order"` // the place in its round, from 1
	Peers   int    `json:"peers"`
	Routes  int    `json:"routes"` // of all peers together
	Threads int    `json:"threads,omitempty"`

	Started time.Time `json:"started"`
	Flood   phase     `json:"flood"`
	Drop    phase     `json:"drop"`
	// BetweenCPU is what BIRD used between the two: looks, and the counting of routes.
	BetweenCPU float64 `json:"between_cpu_s"`
	// ForeignPercent of the machine's processors went to others in both phases.
	ForeignPercent float64 `json:"foreign_percent"`
	BMPMessages    uint64  `json:"bmp_messages"`
	BirdRSS        int64   `json:"bird_peak_rss_bytes"`

	// Of the profiler, if it is a process of its own.
	ToolCPU float64 `json:"tool_cpu_s,omitempty"`
	ToolRSS int64   `json:"tool_peak_rss_bytes,omitempty"`
	// ToolMaps is the kernel's memory for its BPF maps after the flood.
	ToolMaps int64 `json:"tool_maps_bytes,omitempty"`
	// What it says.
	Hits uint64 `json:"hits,omitempty"`
	// HitsBy are the functions that were hit, those with most hits first.
	HitsBy      []report.FunctionHits `json:"hits_by,omitempty"`
	LiveObjects int64                 `json:"live_objects,omitempty"` // after the flood
	LiveBytes   int64                 `json:"live_bytes,omitempty"`
	Lost        uint64                `json:"lost,omitempty"` // events that it could not follow
	Verdict     string                `json:"verdict,omitempty"`
	Report      string                `json:"report,omitempty"` // what it found, in words

	Error string `json:"error,omitempty"` // why it says nothing
}

// phase is a flood, or a drop, until BIRD rests.
type phase struct {
	CPU  float64 `json:"cpu_s"` // BIRD's, all threads (its CPU clock)
	Wall float64 `json:"wall_s"`
}

func (r run) cpu() float64      { return r.Flood.CPU + r.Drop.CPU }
func (r run) floodCPU() float64 { return r.Flood.CPU }
func (r run) dropCPU() float64  { return r.Drop.CPU }
