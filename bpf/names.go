// SPDX-License-Identifier: Apache-2.0

package bpf

import "strings"

// Block is an entry of the live set: see struct block in abi.h.
type Block = liveBlock

// Stack is a distinct call stack: see struct stack in abi.h.
type Stack = liveStack

// StackAccount is what was allocated at a stack since the start.
type StackAccount = liveStackAccount

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

// Function is a probed function. It is a byte as in struct block: a snapshot of the
// live set has one or two for each block.
type Function uint8

// FunctionAllocPage stands in Block.Function for a page.
const FunctionAllocPage = Function(liveFunctionFUNCTION_ALLOC_PAGE)

// Functions that hand out objects in pages.
const (
	FunctionSLAlloc          = Function(liveFunctionFUNCTION_SL_ALLOC)
	FunctionMSLAlloc         = Function(liveFunctionFUNCTION_MSL_ALLOC)
	FunctionMSLAllocFromPage = Function(liveFunctionFUNCTION_MSL_ALLOC_FROM_PAGE)
	FunctionISLAlloc         = Function(liveFunctionFUNCTION_ISL_ALLOC)
	FunctionLPAlloc          = Function(liveFunctionFUNCTION_LP_ALLOC)
)

// FunctionNone stands in Block.Function for a block that was there before, and
// in Block.Mb for one that is not known as BIRD's.
const FunctionNone = Function(liveFunctionFUNCTION_NONE)

// FunctionFreed stands in Block.Function for an entry that is no block.
const FunctionFreed = Function(liveFunctionFUNCTION_FREED)

// Numbers of stacks that are none (enum stack_number); those of stacks follow.
const (
	StackNone    = uint32(liveStackNumberSTACK_NONE)
	StackNotKept = uint32(liveStackNumberSTACK_NOT_KEPT)
	StackBefore  = uint32(liveStackNumberSTACK_BEFORE)
)

// SlotStack and SlotMark take apart a slot: see SLOT_STACK_BITS in abi.h.
func SlotStack(slot uint32) uint32 { return slot & (1<<slotStackBits - 1) }

// MaxMark is the largest mark: a slot has 12 bits for it (SLOT_MARK_MAX).
const MaxMark = 1<<(32-slotStackBits) - 1

// SlotMark is the mark that was current, at most MaxMark.
func SlotMark(slot uint32) uint32 { return slot >> slotStackBits }

const slotStackBits = 20

// LinpoolObject is what was allocated last at an address in a linpool.
type LinpoolObject = liveLinpoolObject

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
	liveFunctionFUNCTION_SL_ALLOC:       "sl_alloc",
	liveFunctionFUNCTION_MSL_ALLOC:      "msl_alloc",

	liveFunctionFUNCTION_MSL_ALLOC_FROM_PAGE: "msl_alloc_from_page",

	liveFunctionFUNCTION_ISL_ALLOC: "isl_alloc",
	liveFunctionFUNCTION_LP_ALLOC:  "lp_alloc",
	liveFunctionFUNCTION_LP_ALLOCU: "lp_allocu",
	liveFunctionFUNCTION_LP_ALLOCZ: "lp_allocz",
}

// String returns the function's name, "" for FunctionNone.
func (f Function) String() string {
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
	MissedPageReturn  = liveCounterCOUNTER_MISSED_PAGE_RETURN
	NotAccepted       = liveCounterCOUNTER_NOT_ACCEPTED
	NotAcceptedBytes  = liveCounterCOUNTER_NOT_ACCEPTED_BYTES
	ObjectNoPage      = liveCounterCOUNTER_OBJECT_NO_PAGE
	SlotsFull         = liveCounterCOUNTER_SLOTS_FULL
	SlotsLost         = liveCounterCOUNTER_SLOTS_LOST

	LinpoolObjectsFull = liveCounterCOUNTER_LINPOOL_OBJECTS_FULL
	ArgumentReadFailed = liveCounterCOUNTER_ARGUMENT_READ_FAILED
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
	MissedPageReturn:  "returns of pages missed",
	NotAccepted:       "blocks not kept: machine short of memory",
	NotAcceptedBytes:  "blocks not kept: machine short of memory, bytes",
	ObjectNoPage:      "slab objects on pages not in the live set",
	SlotsFull:         "slab objects without stack: no room for their page",
	SlotsLost:         "slots of returned pages not used again",

	LinpoolObjectsFull: "linpool objects without stack: no room",
	ArgumentReadFailed: "arguments unreadable",
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
