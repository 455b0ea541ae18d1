// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/reachability"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
	"leakprof/profiler/terminal"
)

// lostJSON is the document of leakprof tree --lost --json.
type lostJSON struct {
	PID        int           `json:"pid"`
	Consistent bool          `json:"consistent"`
	DurationMS float64       `json:"duration_ms"`
	LiveBytes  uint64        `json:"live_bytes"`
	LostBytes  uint64        `json:"lost_bytes"`
	Unknown    uint64        `json:"unknown_bytes"`
	Running    int           `json:"running_threads"`
	Doubt      string        `json:"doubt,omitempty"`
	Lost       []lostRowJSON `json:"lost"`
	NotDecided []lostRowJSON `json:"unknown"`
}

// lostRowJSON is what of one pool, class and size has one reason.
type lostRowJSON struct {
	Pool  string `json:"pool"` // "" for memory that is in none
	Class string `json:"class"`
	Size  uint64 `json:"size"` // bytes each
	Count int    `json:"count"`
	Bytes uint64 `json:"bytes"`
	Why   string `json:"why,omitempty"`
}

// lostAttempts is how often a BIRD that does not rest is looked at.
const lostAttempts = 5

// runLost prints what nothing points at.
func runLost(stdout io.Writer, f *treeFlags) error {
	start := time.Now()
	p, err := target.Open(f.pid)
	if err != nil {
		return err
	}
	defer p.Close()
	b, err := birdIn(p)
	if err != nil {
		return err
	}
	r, quiet, err := lookForLost(p, b)
	if err != nil {
		return err
	}
	doc := lostJSON{
		PID: f.pid, Consistent: quiet, Running: r.Running, Doubt: r.Doubt,
		LiveBytes: r.Bytes[reachability.Lost] + r.Bytes[reachability.Held] + r.Bytes[reachability.Unknown],
		LostBytes: r.Bytes[reachability.Lost], Unknown: r.Bytes[reachability.Unknown],
		Lost: lostRows(r, reachability.Lost), NotDecided: lostRows(r, reachability.Unknown),
	}
	doc.DurationMS = float64(time.Since(start).Microseconds()) / 1000
	if f.json {
		e := json.NewEncoder(terminal.JSON(stdout))
		e.SetIndent("", "  ")
		return e.Encode(doc)
	}
	if err := writeLost(stdout, &doc); err != nil {
		return err
	}
	if doc.Doubt != "" {
		say(os.Stderr, "%s: nothing can be said to be lost", doc.Doubt)
	}
	return nil
}

// lookForLost reads the tree and looks for pointers, until the tree is the same
// before and after.
func lookForLost(p *target.Process, b *bird.Bird) (r *reachability.Result, quiet bool, err error) {
	reader, err := tree.NewReader(p, b, tree.Options{})
	if err != nil {
		return nil, false, err
	}
	for attempt := 1; ; attempt++ {
		before, err := atRest(reader)
		if err != nil {
			return nil, false, err
		}
		// Its being quiet is told by the walk that follows.
		if r, err = reachability.Classify(p, b, &snapshot.Snapshot{Tree: before, Quiet: true}, reachability.Options{}); err != nil {
			return nil, false, err
		}
		after, err := reader.Walk()
		switch {
		case err == nil && after.Fingerprint == before.Fingerprint:
			return r, true, nil
		case err != nil && !errors.Is(err, tree.ErrTorn):
			return nil, false, err
		case attempt == lostAttempts:
			r.Distrust("BIRD changed its resources while they were read")
			return r, false, nil
		}
	}
}

// atRest reads the tree until it is the same twice, for some seconds: to follow
// the pointers of a BIRD that works takes far longer and would be in vain. In the
// end any tree will do.
func atRest(reader *tree.Reader) (last *tree.Tree, err error) {
	const patience, longest = 5 * time.Second, 200 * time.Millisecond
	begin := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		now, err := reader.Walk()
		switch {
		case errors.Is(err, tree.ErrTorn):
			if last == nil && time.Since(begin) > 2*patience {
				return nil, err
			}
		case err != nil:
			return nil, err
		case last != nil && last.Fingerprint == now.Fingerprint:
			return now, nil
		default:
			last = now
		}
		if last != nil && time.Since(begin) > patience {
			return last, nil
		}
		time.Sleep(pause)
	}
}

// lostRows sums up what is of a class by pool, class of resource, and size, the
// most bytes first.
func lostRows(r *reachability.Result, c reachability.Class) []lostRowJSON {
	rows := make(map[lostRowJSON]int)
	for i := range r.Items(c) {
		rows[lostRowJSON{Pool: i.Pool, Class: i.ResourceClass, Size: i.Bytes, Why: i.Holder.Why}]++
	}
	all := make([]lostRowJSON, 0, len(rows))
	for row, n := range rows {
		row.Count, row.Bytes = n, uint64(n)*row.Size
		all = append(all, row)
	}
	slices.SortFunc(all, func(a, b lostRowJSON) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Size, b.Size), cmp.Compare(a.Why, b.Why))
	})
	return all
}

// writeLost prints what is lost as a table, and sums.
func writeLost(out io.Writer, doc *lostJSON) error {
	buf := bufio.NewWriter(out)
	if len(doc.Lost) > 0 {
		rows := [][5]string{{"lost in", "class", "size", "count", "bytes"}}
		for _, r := range doc.Lost {
			rows = append(rows, [5]string{terminal.Line(cmp.Or(r.Pool, "no pool")), terminal.Line(r.Class), strconv.FormatUint(r.Size, 10), strconv.Itoa(r.Count), strconv.FormatUint(r.Bytes, 10)})
		}
		var width [5]int
		for _, r := range rows {
			for i, cell := range r {
				width[i] = max(width[i], utf8.RuneCountInString(cell))
			}
		}
		for _, r := range rows {
			fmt.Fprintf(buf, "%-*s  %-*s  %*s  %*s  %*s\n", width[0], r[0], width[1], r[1], width[2], r[2], width[3], r[3], width[4], r[4])
		}
		fmt.Fprintln(buf)
	}
	fmt.Fprintf(buf, "lost     %s of %s live\n", birdSize(doc.LostBytes), birdSize(doc.LiveBytes))
	fmt.Fprintf(buf, "unknown  %s\n", birdSize(doc.Unknown))
	why := make(map[string]uint64)
	for _, r := range doc.NotDecided {
		why[r.Why] += r.Bytes
	}
	for _, w := range slices.SortedFunc(maps.Keys(why), func(a, b string) int { return cmp.Or(cmp.Compare(why[b], why[a]), cmp.Compare(a, b)) }) {
		fmt.Fprintf(buf, "  %s: %s\n", birdSize(why[w]), terminal.Line(w))
	}
	return buf.Flush()
}
