// SPDX-License-Identifier: Apache-2.0

package bpf

import "strings"

// Block is an entry of the live set: see struct block in abi.h.
type Block = liveBlock

// Stack is a distinct call stack: see struct stack in abi.h.
type Stack = liveStack

// MaxFrames is the longest stack that is kept; deeper ones are cut and end in
// StackTooDeep.
const MaxFrames = len(Stack{}.Pc)

// StackEnd is why the walk up a stack ended.
type StackEnd = liveStackEnd

// StackComplete is the end of a stack that reaches the entry of the process
// or thread; every other end is a loss.
const (
	StackComplete = liveStackEndSTACK_COMPLETE
	StackTooDeep  = liveStackEndSTACK_TOO_DEEP
	StackNoArea   = liveStackEndSTACK_NO_AREA
	StackEnds     = int(liveStackEndSTACK_END_COUNT)
)

var stackEndNames = [...]string{
	liveStackEndSTACK_COMPLETE:      "complete",
	liveStackEndSTACK_TOO_DEEP:      "deeper than the frame limit",
	liveStackEndSTACK_NO_AREA:       "return address in no known file",
	liveStackEndSTACK_NO_ROW:        "no unwind row",
	liveStackEndSTACK_UNSUPPORTED:   "unwind rule not supported",
	liveStackEndSTACK_READ_FAILED:   "stack memory unreadable",
	liveStackEndSTACK_REGISTER_LOST: "register not preserved",
	liveStackEndSTACK_NOT_GROWING:   "frame does not grow",
}

// String says the end in words.
func (e liveStackEnd) String() string {
	if int(e) < len(stackEndNames) {
		return stackEndNames[e]
	}
	return "unknown end"
}

// Function is a probed function.
type Function = liveFunction

// FunctionAllocPage stands in Block.Function for a page.
const FunctionAllocPage = liveFunctionFUNCTION_ALLOC_PAGE

// FunctionNone stands in Block.Mb for a block that is not known as BIRD's.
const FunctionNone = liveFunctionFUNCTION_NONE

var functionNames = [...]string{
	liveFunctionFUNCTION_NONE:           "",
	liveFunctionFUNCTION_MALLOC:         "malloc",
	liveFunctionFUNCTION_CALLOC:         "calloc",
	liveFunctionFUNCTION_REALLOC:        "realloc",
	liveFunctionFUNCTION_FREE:           "free",
	liveFunctionFUNCTION_MEMALIGN:       "memalign",
	liveFunctionFUNCTION_ALIGNED_ALLOC:  "aligned_alloc",
	liveFunctionFUNCTION_POSIX_MEMALIGN: "posix_memalign",
	liveFunctionFUNCTION_VALLOC:         "valloc",
	liveFunctionFUNCTION_PVALLOC:        "pvalloc",
	liveFunctionFUNCTION_MB_ALLOC:       "mb_alloc",
	liveFunctionFUNCTION_MB_ALLOCZ:      "mb_allocz",
	liveFunctionFUNCTION_MB_REALLOC:     "mb_realloc",
	liveFunctionFUNCTION_MB_FREE:        "mb_free",
	liveFunctionFUNCTION_ALLOC_PAGE:     "alloc_page",
	liveFunctionFUNCTION_FREE_PAGE:      "free_page",
}

// String returns the function's name, "" for FunctionNone.
func (f liveFunction) String() string {
	if int(f) < len(functionNames) {
		return functionNames[f]
	}
	return "unknown function"
}

func functionByName(name string) (Function, bool) {
	for f, n := range functionNames {
		if n == name && n != "" {
			return Function(f), true
		}
	}
	return 0, false
}

// Counter is one of the programs' counters.
type Counter = liveCounter

// The account: what came in and went out of the live set.
const (
	AllocatedObjects = liveCounterCOUNTER_ALLOCATED_OBJECTS
	AllocatedBytes   = liveCounterCOUNTER_ALLOCATED_BYTES
	FreedObjects     = liveCounterCOUNTER_FREED_OBJECTS
	FreedBytes       = liveCounterCOUNTER_FREED_BYTES
)

// Things lost or odd. Those in bytes go with the count before them.
const (
	FreeUnknown       = liveCounterCOUNTER_FREE_UNKNOWN
	ReallocUnknown    = liveCounterCOUNTER_REALLOC_UNKNOWN
	AllocationFailed  = liveCounterCOUNTER_ALLOCATION_FAILED
	MissedFree        = liveCounterCOUNTER_MISSED_FREE
	MissedFreeBytes   = liveCounterCOUNTER_MISSED_FREE_BYTES
	LiveFull          = liveCounterCOUNTER_LIVE_FULL
	LiveFullBytes     = liveCounterCOUNTER_LIVE_FULL_BYTES
	LiveNoMemory      = liveCounterCOUNTER_LIVE_NO_MEMORY
	LiveNoMemoryBytes = liveCounterCOUNTER_LIVE_NO_MEMORY_BYTES
	StacksFull        = liveCounterCOUNTER_STACKS_FULL
	ThreadStateFailed = liveCounterCOUNTER_THREAD_STATE_FAILED
	PendingFull       = liveCounterCOUNTER_PENDING_FULL
	ReturnLost        = liveCounterCOUNTER_RETURN_LOST
	ReturnLostBytes   = liveCounterCOUNTER_RETURN_LOST_BYTES
	ReturnUnmatched   = liveCounterCOUNTER_RETURN_UNMATCHED
	ResultReadFailed  = liveCounterCOUNTER_RESULT_READ_FAILED
	PageReturnUnknown = liveCounterCOUNTER_PAGE_RETURN_UNKNOWN
	MBMismatch        = liveCounterCOUNTER_MB_MISMATCH
)

var counterNames = [...]string{
	AllocatedObjects:  "allocated objects",
	AllocatedBytes:    "allocated bytes",
	FreedObjects:      "freed objects",
	FreedBytes:        "freed bytes",
	FreeUnknown:       "frees of blocks never seen",
	ReallocUnknown:    "reallocs of blocks never seen",
	AllocationFailed:  "allocations that failed",
	MissedFree:        "frees missed",
	MissedFreeBytes:   "frees missed, bytes",
	LiveFull:          "blocks not kept: live set full",
	LiveFullBytes:     "blocks not kept: live set full, bytes",
	LiveNoMemory:      "blocks not kept: kernel out of memory",
	LiveNoMemoryBytes: "blocks not kept: kernel out of memory, bytes",
	StacksFull:        "stacks not kept: too many",
	ThreadStateFailed: "events lost: no thread state",
	PendingFull:       "events lost: calls nested too deep",
	ReturnLost:        "returns lost",
	ReturnLostBytes:   "returns lost, bytes",
	ReturnUnmatched:   "returns without entry",
	ResultReadFailed:  "results unreadable",
	PageReturnUnknown: "returned pages that were not live",
	MBMismatch:        "mb_* calls without their block",
}

// String names the counter in words.
func (c liveCounter) String() string {
	if int(c) < len(counterNames) {
		return counterNames[c]
	}
	return "unknown counter"
}

// InBytes says whether the counter counts bytes.
func (c liveCounter) InBytes() bool { return strings.HasSuffix(c.String(), "bytes") }

// Counters are the values of all counters, by Counter.
type Counters [liveCounterCOUNTER_COUNT]uint64

// Hits are the hits per function since the programs were loaded.
type Hits struct{ Entered, Returned uint64 }
