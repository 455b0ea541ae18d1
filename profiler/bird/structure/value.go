// SPDX-License-Identifier: Apache-2.0

package structure

// operation is what a term is made by.
type operation uint8

const (
	opArgument operation = iota // n: which of the function's arguments, 0 to 5
	opEntry                     // n: a register's value at entry, not an argument
	opFrame                     // rsp at entry
	opThread                    // the thread pointer (fs)
	opResult                    // n: which call's result
	opLoad                      // memory at x as it was at entry; n: bytes
	opSum                       // x + y
	opNegative                  // -x
	opAnd                       // x & y
	opProduct                   // x * y
	opQuotient                  // x / y
	opUnknown                   // n: which; equal to itself only
	opMerge                     // n: address where two ways meet with different values; x.c: of which register
)

// term is one symbolic expression. Terms are interned: equal terms have one
// address, so values compare with ==.
type term struct {
	op   operation
	n    int64
	x, y value
	id   int // order of creation; not part of what a term is
}

// value is a term plus a constant, or where t is nil the constant. Widths are
// not modelled: BIRD's sizes are unsigned and 32 bits wide, and a zero
// extension leaves the value what it is. Constants wrap at the operation's
// width.
type value struct {
	t *term
	c int64
}

func constant(c int64) value { return value{c: c} }

func (v value) isConstant() bool { return v.t == nil }

func (v value) plus(c int64) value { v.c += c; return v }

// is says whether v is exactly a term made by op.
func (v value) is(op operation) bool { return v.t != nil && v.c == 0 && v.t.op == op }

// argument says whether v is exactly argument n.
func (v value) argument(n int64) bool { return v.is(opArgument) && v.t.n == n }

// load returns the address that v was read from.
func (v value) load() (address value, ok bool) {
	if !v.is(opLoad) {
		return value{}, false
	}
	return v.t.x, true
}

// mentions says whether the term t occurs in v.
func (v value) mentions(t *term) bool {
	return v.t != nil && (v.t == t || v.t.x.mentions(t) || v.t.y.mentions(t))
}

// depth bounds how deep terms nest: loops make them grow.
const maxDepth = 24

// terms interns the terms of one function's analysis.
type terms struct {
	known map[term]*term
	depth map[*term]int
	lost  value // what vector registers hold behind a call
}

func newTerms() *terms {
	ts := &terms{known: make(map[term]*term), depth: make(map[*term]int)}
	ts.lost = ts.intern(opEntry, -1, value{}, value{})
	return ts
}

func (ts *terms) intern(op operation, n int64, x, y value) value {
	key := term{op: op, n: n, x: x, y: y}
	if t := ts.known[key]; t != nil {
		return value{t: t}
	}
	depth := 1 + max(ts.depth[x.t], ts.depth[y.t])
	if depth > maxDepth {
		// What is unknown must be the same each time: a flow ends only then.
		return ts.unknown(int64(op)<<56 ^ n<<40 ^ id(x)<<20 ^ id(y) ^ x.c<<8 ^ y.c<<4)
	}
	t := key
	t.id = len(ts.known)
	ts.known[key] = &t
	ts.depth[&t] = depth
	return value{t: &t}
}

func id(v value) int64 {
	if v.t == nil {
		return -1
	}
	return int64(v.t.id)
}

// unknown returns a value that nothing is known of but its key.
func (ts *terms) unknown(key int64) value {
	return ts.intern(opUnknown, key, value{}, value{})
}

func (ts *terms) argument(n int64) value { return ts.intern(opArgument, n, value{}, value{}) }

func (ts *terms) loadOf(address value, size int) value {
	return ts.intern(opLoad, int64(size), address, value{})
}

func (ts *terms) sum(a, b value) value {
	switch {
	case a.t == nil:
		return b.plus(a.c)
	case b.t == nil:
		return a.plus(b.c)
	case a.t.op == opNegative && a.t.x.t == b.t:
		return constant(a.c + b.c - a.t.x.c)
	case b.t.op == opNegative && b.t.x.t == a.t:
		return constant(a.c + b.c - b.t.x.c)
	}
	if a.t.id > b.t.id {
		a, b = b, a
	}
	return ts.intern(opSum, 0, value{t: a.t}, value{t: b.t}).plus(a.c + b.c)
}

func (ts *terms) negative(a value) value {
	if a.t == nil {
		return constant(-a.c)
	}
	if a.t.op == opNegative {
		return a.t.x.plus(-a.c)
	}
	return ts.intern(opNegative, 0, value{t: a.t}, value{}).plus(-a.c)
}

func (ts *terms) not(a value) value {
	// ~a = -a - 1: so that ~(size-1) and -size are one value.
	return ts.negative(a).plus(-1)
}

func (ts *terms) and(a, b value) value {
	if a.t == nil && b.t == nil {
		return constant(a.c & b.c)
	}
	if a.t == nil {
		a, b = b, a
	}
	switch {
	case a == b, b.t == nil && b.c == -1, b.t == nil && uint64(b.c) == 0xffffffff:
		return a
	case b.t == nil && b.c == 0:
		return b
	}
	if b.t != nil && a.t.id > b.t.id {
		a, b = b, a
	}
	return ts.intern(opAnd, 0, a, b)
}

func (ts *terms) quotient(a, b value) value {
	if a.t == nil && b.t == nil && b.c != 0 {
		return constant(int64(uint64(a.c) / uint64(b.c)))
	}
	return ts.intern(opQuotient, 0, a, b)
}

func (ts *terms) product(a, b value) value {
	if a.t == nil && b.t == nil {
		return constant(a.c * b.c)
	}
	if a.t == nil {
		a, b = b, a
	}
	if b.t == nil {
		switch b.c {
		case 0:
			return b
		case 1:
			return a
		}
	} else if a.t.id > b.t.id {
		a, b = b, a
	}
	return ts.intern(opProduct, 0, a, b)
}
