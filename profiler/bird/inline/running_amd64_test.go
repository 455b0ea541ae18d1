// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"fmt"
	"testing"
)

// TestRunning stops the program wherever an instance begins, takes the
// arguments from where they are said to be, and compares them with those that
// the function then tells record.
func TestRunning(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			path := build(t, shape.compiler, shape.flags)
			r := &run{t: t, found: find(t, path, names...), stops: make(map[uint64][]*Instance), begun: make(map[string]*call), counts: make(map[*Instance]*counts)}
			for _, list := range r.found {
				for i := range list {
					in := &list[i]
					r.counts[in] = new(counts)
					if in.Problem != "" || in.Self || in.Nested || !in.Decoded {
						t.Errorf("%+v", in)
					}
					r.stops[in.Entry] = append(r.stops[in.Entry], in)
				}
			}
			r.record = OutOfLine(open(t, path), "record")["record"][0].Address
			r.tracer = trace(t, path)
			r.stop(r.record)
			for addr := range r.stops {
				r.stop(addr)
			}
			r.compare()
			for by := EntryView; by <= EntryRange; by++ {
				t.Logf("%v: %v", by, r.sum(func(in *Instance) bool { return in.By == by }))
			}
			marked := r.sum(func(in *Instance) bool { return in.By == EntryView })
			if marked.void+marked.wrong > 0 || (marked.right > 100) != shape.marked {
				t.Errorf("with DW_AT_GNU_entry_view: %v", marked)
			}
			once := r.sum(func(in *Instance) bool { return in.Once })
			t.Logf("passed once: %v", once)
			if once.missed+once.void > 0 || once.seen < 20 {
				t.Errorf("passed by every call: %v", once)
			}
			// Of the loops that gcc rotates or unrolls calls are missed.
			if marked.missed == 0 && (shape.name == "gcc-O2" || shape.name == "gcc-unrolled") {
				t.Error("no marked entry misses a call")
			}
		})
	}
}

// counts are of some instances: calls that passed the entry, calls that did not,
// entries passed without a call; and their arguments.
type counts struct{ seen, missed, void, right, wrong, unknown int }

func (c counts) String() string {
	return fmt.Sprintf("%d calls seen at the entry, %d not, %d entries without a call; %d arguments right, %d wrong, %d unknown",
		c.seen, c.missed, c.void, c.right, c.wrong, c.unknown)
}

// run compares entries with the calls of record that follow.
type run struct {
	t *testing.T
	*tracer
	found  map[string][]Instance
	stops  map[uint64][]*Instance
	record uint64
	begun  map[string]*call // by function, the entry passed last
	counts map[*Instance]*counts
}

// sum adds up the counts of the instances that are chosen.
func (r *run) sum(chosen func(*Instance) bool) (all counts) {
	for in, c := range r.counts {
		if chosen(in) {
			all.seen += c.seen
			all.missed += c.missed
			all.void += c.void
			all.right += c.right
			all.wrong += c.wrong
			all.unknown += c.unknown
		}
	}
	return all
}

// argument is a parameter's value at an entry.
type argument struct {
	Arg
	value, mask uint64
	known       bool
}

// call is an entry that was passed and has not been recorded.
type call struct {
	in   *Instance
	args []argument
}

func (r *run) compare() {
	r.t.Helper()
	for {
		addr, ok := r.next()
		if !ok {
			return
		}
		for _, in := range r.stops[addr] {
			r.enter(in)
		}
		if addr == r.record {
			r.recorded()
		}
	}
}

func (r *run) enter(in *Instance) {
	if old := r.begun[in.Function]; old != nil {
		r.counts[old.in].void++
	}
	now := &call{in: in}
	for _, a := range in.Args {
		v := argument{Arg: a}
		v.value, v.mask, v.known = r.value(a)
		now.args = append(now.args, v)
	}
	r.begun[in.Function] = now
}

// recorded compares what record is called with.
func (r *run) recorded() {
	function, asked := functions[r.regs.Rdi]
	if !asked {
		return
	}
	in, now := r.caller(function), r.begun[function]
	if in == nil && now != nil {
		in = now.in // gcc shares equal code, and says it is another call's
	}
	if in == nil {
		r.t.Errorf("%s called record from outside of its instances", function)
		return
	}
	c := r.counts[in]
	if now == nil || now.in != in {
		c.missed++
		return
	}
	c.seen++
	delete(r.begun, function)
	for i, want := range []uint64{r.regs.Rsi, r.regs.Rdx, r.regs.Rcx}[:len(now.args)] {
		a := now.args[i]
		switch {
		case !a.known:
			c.unknown++
		case (a.value^want)&a.mask == 0:
			c.right++
		default:
			c.wrong++
			r.t.Logf("%s at %#x in %s: %s is %#x, not %#x: %+v", function, in.Entry, in.Symbol, a.Name, want, a.value, a.Arg)
		}
	}
}

// caller returns the instance of the function that is around record's call.
func (r *run) caller(function string) *Instance {
	pc := r.word(r.regs.Rsp) - r.bias - 1
	for i := range r.found[function] {
		for _, span := range r.found[function][i].Ranges {
			if span[0] <= pc && pc < span[1] {
				return &r.found[function][i]
			}
		}
	}
	return nil
}
