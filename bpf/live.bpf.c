//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Keeps the set of the target's live blocks and pages: an entry when an
 * allocation function returns, none from the moment a block is given to free.
 * An entry is removed before the real free and added after the real
 * allocation, so that another thread which gets the same address meets an
 * empty place.
 */
#include "abi.h"
#include "kernel.h"
#include "liveset.h"
#include "slots.h"
#include "unwind.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Constants alone leave no trace in BTF, where Go takes them from. */
const struct {
	enum function function;
	enum stack_end stack_end;
	enum counter counter;
	enum cfa_kind cfa_kind;
	enum saved_kind saved_kind;
	enum stack_number stack_number;
	enum slots_class slots_class;
} *abi_enums __attribute__((unused));

/* As for the values of maps within maps. */
#define SLOTS_MEMBER(n) struct slots_##n s##n;
const struct {
	FOR_EACH_SLOTS_CLASS(SLOTS_MEMBER)
} *abi_slots __attribute__((unused));

/* The target, as numbered in its own pid namespace {dev, inode}, the only one
 * in which bpf_get_ns_current_pid_tgid() tells numbers. Not every way of
 * attaching filters by process (uprobe_multi before Linux 6.10 filters by
 * thread). */
const volatile __u32 target_pid;
const volatile __u64 pidns_dev, pidns_inode;
/* What mb_alloc adds to a request: sizeof(struct mblock), 32 in BIRD 2, 40 or
 * 48 in BIRD 3; 0 if user space does not know and any of them will do. */
const volatile __u64 mblock_header;

/* Bytes in one of alloc_page's pages. */
const volatile __u64 page_size;

/* Index of the current mark (phase and cycle), set by user space. */
volatile __u32 current_mark;

/* A call of an allocation function that has not returned. */
struct pending {
	__u64 sp; /* at the entry: where the return address is */
	__u64 ip;
	__u64 size;
	__u64 result;	 /* posix_memalign: where it puts the pointer */
	__u64 old;	 /* realloc: the block */
	struct block block;
	__u32 function;
	__u16 nested;	 /* called by another one: the outermost counts */
	__u16 old_live;	 /* realloc: old was in the live set, as block says */
};

struct thread {
	__u32 depth;
	__u32 mb_function;
	__u64 mb_size, mb_sp;
	__u64 islab;   /* isl_alloc's argument */
	__u32 lp_size; /* lp_alloc's */
	struct pending pending[MAX_PENDING];
	struct unwinder unwinder;
	struct stack stack;
};

struct {
	/* key: the thread; value: its calls under way and room to walk its
	 * stack. Programs may be preempted, so per-CPU room would not do.
	 * Written and read by the programs; made at a thread's first event,
	 * freed by the kernel with the thread. When the kernel has no memory
	 * for one: COUNTER_THREAD_STATE_FAILED, and the event is lost. */
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

struct {
	/* key: hash of the stack's pcs and end; value: struct stack. Written
	 * by the programs, read by user space for a snapshot. Capacity: set at
	 * load from --max-memory. When it is full the block is accepted without
	 * a stack: COUNTER_STACKS_FULL. */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, struct stack);
} stacks SEC(".maps");

/* The number of the next distinct stack. */
volatile __u32 next_stack = STACK_FIRST;

struct {
	/* key: address in a linpool; value: struct linpool_object, what was
	 * allocated there last. Written by the programs, read by user space for
	 * a snapshot. Capacity: set at load from --max-memory, where linpool
	 * objects are followed. When it is full an object has no stack:
	 * COUNTER_LINPOOL_OBJECTS_FULL. */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct linpool_object);
} linpool_objects SEC(".maps");

struct {
	/* key: enum function, + FUNCTION_COUNT for its return; value: hits on
	 * each CPU. Written by the programs, read by user space. */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * FUNCTION_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

struct {
	/* key: enum function, + FUNCTION_COUNT where the test failed; value: how
	 * often what the function was given or returned could be tested for what
	 * it has to be, on each CPU. Written by the programs, read by user space,
	 * which takes the probes off a function that fails. */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * FUNCTION_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} tests SEC(".maps");

static __always_inline int test(__u32 function, int passed)
{
	add(&tests, passed ? function : function + FUNCTION_COUNT, 1);
	return passed;
}

static __always_inline int is_target(void)
{
	struct bpf_pidns_info id;

	return !bpf_get_ns_current_pid_tgid(pidns_dev, pidns_inode, &id, sizeof(id)) && id.tgid == target_pid;
}

static __always_inline __u32 cookie_function(__u64 cookie)
{
	return cookie & 0xff;
}

static __always_inline __u32 cookie_register(__u64 cookie)
{
	return cookie >> 8 & 0xff;
}

static __always_inline __u64 cookie_entry(__u64 cookie)
{
	return cookie >> 16;
}

static __always_inline struct thread *this_thread(__u64 flags)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, flags);
}

/*
 * Whether a return probe waits at slot, where a call left its return address.
 * The kernel knows of it until it fires, and for a while after a longjmp past
 * it; the word in the slot then tells, as the trampoline lies in no file. A
 * global function, so that the verifier looks at it once.
 */
__noinline int return_pending(__u64 slot)
{
	struct unwind_areas *all = current_areas();
	__u64 word = 0;
	__u32 cached = 0;

	if (bpf_probe_read_user(&word, sizeof(word), (void *)slot))
		return 0;
	if (all && find_area(all, word, &cached))
		return 0;
	return original_return(slot) != 0;
}

/* A call's return did not come. What realloc did to its old block is not known
 * then; it has left the live set, so the account has it as freed. */
static __always_inline void lose(struct pending *p)
{
	if (p->nested)
		return;
	count(COUNTER_RETURN_LOST, 1);
	count(COUNTER_RETURN_LOST_BYTES, p->size);
	if (p->old_live) {
		count(COUNTER_FREED_OBJECTS, 1);
		count(COUNTER_FREED_BYTES, p->block.size);
	}
}

/*
 * Drops calls that can no longer return: they were left by longjmp, so that
 * the stack has shrunk past them, or the kernel did not place their return
 * probe (it allows 64 pending ones on a thread). Such a call must not make
 * those after it look like its own.
 */
static __always_inline void drop_dead(struct thread *t, __u64 sp)
{
	for (int i = 0; i < MAX_PENDING && t->depth; i++) {
		struct pending *p = &t->pending[(t->depth - 1) & (MAX_PENDING - 1)];

		/* At the same slot: a tail call from the pending function. */
		if (p->sp >= sp && return_pending(p->sp))
			return;
		t->depth--;
		lose(p);
	}
}

static __always_inline struct pending *push(struct pt_regs *ctx, struct thread **thread)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 function = cookie_function(cookie);

	if (!is_target())
		return NULL;
	add(&hits, function, 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return NULL;
	}
	drop_dead(t, ctx->sp);
	if (t->depth >= MAX_PENDING) {
		count(COUNTER_PENDING_FULL, 1);
		return NULL;
	}
	struct pending *p = &t->pending[t->depth & (MAX_PENDING - 1)];
	p->nested = t->depth > 0;
	t->depth++;
	p->sp = ctx->sp;
	p->ip = cookie_entry(cookie);
	p->function = function;
	p->old = 0;
	p->old_live = 0;
	p->block.mb = FUNCTION_NONE;
	*thread = t;
	return p;
}

/* Whether the block being asked for is one of mb_alloc's: called from inside
 * it, and larger by just the header. */
static __always_inline void note_mb(struct thread *t, struct pending *p)
{
	if (p->nested || !t->mb_function)
		return;
	__u64 header = p->size - t->mb_size;
	if (t->mb_sp > p->sp && (mblock_header ? header == mblock_header : header == 32 || header == 40 || header == 48))
		p->block.mb = t->mb_function;
	else
		count(COUNTER_MB_MISMATCH, 1);
	t->mb_function = FUNCTION_NONE;
}

static __always_inline int enter(struct pt_regs *ctx, __u64 size, __u64 result)
{
	struct thread *t;
	struct pending *p = push(ctx, &t);

	if (!p)
		return 0;
	p->size = size;
	p->result = result;
	note_mb(t, p);
	return 0;
}

SEC("uprobe.multi")
int enter_malloc(struct pt_regs *ctx) /* malloc, valloc, pvalloc (size) */
{
	return enter(ctx, ctx->di, 0);
}

SEC("uprobe.multi")
int enter_calloc(struct pt_regs *ctx) /* calloc(n, size) */
{
	/* A product that does not fit comes back as NULL from calloc. */
	return enter(ctx, ctx->di * ctx->si, 0);
}

SEC("uprobe.multi")
int enter_memalign(struct pt_regs *ctx) /* memalign, aligned_alloc (alignment, size) */
{
	return enter(ctx, ctx->si, 0);
}

SEC("uprobe.multi")
int enter_posix_memalign(struct pt_regs *ctx) /* (where, alignment, size) */
{
	return enter(ctx, ctx->dx, ctx->di);
}

SEC("uprobe.multi")
int enter_realloc(struct pt_regs *ctx) /* realloc(old, size) */
{
	struct thread *t;
	struct pending *p = push(ctx, &t);

	if (!p)
		return 0;
	p->size = ctx->si;
	p->result = 0;
	note_mb(t, p);
	__u64 old = ctx->di;
	if (p->nested || !old)
		return 0;
	p->old = old;
	/* realloc may release the old block at any moment from now on, and
	 * another thread may get its address: it leaves the live set here and
	 * comes back if realloc fails. */
	__u32 step;
	struct block *b = find_freed(old, &step);
	if (!b) {
		count(COUNTER_REALLOC_UNKNOWN, 1);
		return 0;
	}
	p->block.size = b->size;
	p->block.stack = b->stack;
	p->block.mark = b->mark;
	p->block.function = b->function;
	/* A realloc without mb_realloc around it keeps what the block was. */
	if (!p->block.mb)
		p->block.mb = b->mb;
	p->old_live = 1;
	take_out(old, b, step);
	return 0;
}

SEC("uprobe.multi")
int enter_free(struct pt_regs *ctx) /* free(block) */
{
	__u64 address = ctx->di;

	if (!is_target())
		return 0;
	add(&hits, FUNCTION_FREE, 1);
	if (!address)
		return 0;
	struct thread *t = this_thread(0);
	if (t && t->depth) {
		/* realloc(old, 0) frees inside; its return accounts for it. */
		drop_dead(t, ctx->sp);
		if (t->depth)
			return 0;
	}
	__u32 step;
	struct block *b = find_freed(address, &step);
	if (!b) {
		count(COUNTER_FREE_UNKNOWN, 1);
		return 0;
	}
	count(COUNTER_FREED_OBJECTS, 1);
	count(COUNTER_FREED_BYTES, b->size);
	take_out(address, b, step);
	return 0;
}

/* BIRD's own functions only say what the libc block inside is for. */
SEC("uprobe.multi")
int enter_mb_alloc(struct pt_regs *ctx) /* mb_alloc, mb_allocz (pool, size), mb_realloc(old, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 function = cookie_function(cookie);

	if (!is_target())
		return 0;
	add(&hits, function, 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	t->mb_function = function;
	t->mb_size = (__u32)ctx->si; /* unsigned int in every BIRD */
	t->mb_sp = ctx->sp;
	return 0;
}

SEC("uprobe.multi")
int enter_mb_free(struct pt_regs *ctx __attribute__((unused)))
{
	if (is_target())
		add(&hits, FUNCTION_MB_FREE, 1);
	return 0;
}

static __always_inline __u64 walk_stack(struct pt_regs *ctx, struct thread *t, __u64 ip)
{
	struct unwinder *u = &t->unwinder;
	struct stack *s = &t->stack;
	int end = STACK_TOO_DEEP;

	__builtin_memset(u, 0, sizeof(*u));
	u->pc = ctx->ip; /* where the allocation function returns to */
	u->sp = ctx->sp;
	u->value[REG_RBX] = ctx->bx;
	u->value[REG_RBP] = ctx->bp;
	u->value[REG_R12] = ctx->r12;
	u->value[REG_R12 + 1] = ctx->r13;
	u->value[REG_R12 + 2] = ctx->r14;
	u->value[REG_R12 + 3] = ctx->r15;
	s->exact[0] = 1;
	for (__u64 i = 1; i < sizeof(s->exact) / 8; i++)
		s->exact[i] = 0;
	s->pc[0] = ip;
	s->frames = 1;
	u->hash = mix(ip);
	for (__u32 n = 1; n <= MAX_FRAMES; n++) {
		end = walk_frame(u, s, n);
		if (end != WALK_ON)
			break;
	}
	s->end = end;
	return mix(u->hash ^ end);
}

/* The entry of the stack of an allocation, NULL if there is no room for it. */
static __always_inline struct stack *find_stack(struct pt_regs *ctx, struct thread *t, __u64 ip)
{
	__u64 key = walk_stack(ctx, t, ip);
	struct stack *s = bpf_map_lookup_elem(&stacks, &key);

	if (s)
		return s;
	t->stack.allocated_objects = 0;
	t->stack.allocated_bytes = 0;
	t->stack.number = __sync_fetch_and_add(&next_stack, 1);
	bpf_map_update_elem(&stacks, &key, &t->stack, BPF_NOEXIST);
	s = bpf_map_lookup_elem(&stacks, &key);
	if (!s)
		count(COUNTER_STACKS_FULL, 1);
	return s;
}

/* Notes an allocation at its stack and returns the stack's number. */
static __always_inline __u32 record_stack(struct stack *s, __u64 size)
{
	if (!s)
		return STACK_NOT_KEPT;
	__sync_fetch_and_add(&s->allocated_objects, 1);
	__sync_fetch_and_add(&s->allocated_bytes, size);
	return s->number;
}

/* The allocator gave out what we hold live: we missed its free. */
static __always_inline void missed(__u64 address, struct block *b)
{
	if (b->function == FUNCTION_ALLOC_PAGE) {
		count(COUNTER_MISSED_PAGE_RETURN, 1);
		drop_slots(b, address);
	} else {
		count(COUNTER_MISSED_FREE, 1);
		count(COUNTER_MISSED_FREE_BYTES, b->size);
	}
	count(COUNTER_FREED_OBJECTS, 1);
	count(COUNTER_FREED_BYTES, b->size);
}

/* Adds a block to the live set; whether it was kept. */
static __always_inline int insert(__u64 address, struct block *block)
{
	__u32 step;
	struct block *b = find(address, &step);

	if (b) {
		if (b->function != FUNCTION_FREED)
			missed(address, b);
		*b = *block;
		return 1;
	}
	if (not_accepting) {
		count(COUNTER_NOT_ACCEPTED, 1);
		count(COUNTER_NOT_ACCEPTED_BYTES, block->size);
		return 0;
	}
	long err = put(address, block, BPF_ANY);
	if (!err)
		return 1;
	if (err == -E2BIG) {
		count(COUNTER_LIVE_FULL, 1);
		count(COUNTER_LIVE_FULL_BYTES, block->size);
	} else {
		count(COUNTER_LIVE_NO_MEMORY, 1);
		count(COUNTER_LIVE_NO_MEMORY_BYTES, block->size);
	}
	return 0;
}

static __always_inline void insert_new(__u64 address, struct block *block)
{
	if (insert(address, block)) {
		count(COUNTER_ALLOCATED_OBJECTS, 1);
		count(COUNTER_ALLOCATED_BYTES, block->size);
	}
}

/* The call that returns now: pending, and entered with this stack pointer. */
static __always_inline struct pending *pop(struct thread *t, __u64 sp)
{
	for (int i = 0; i < MAX_PENDING && t->depth; i++) {
		struct pending *p = &t->pending[(t->depth - 1) & (MAX_PENDING - 1)];

		if (p->sp > sp)
			return NULL;
		t->depth--;
		if (p->sp == sp)
			return p;
		lose(p);
	}
	return NULL;
}

static __always_inline int leave(struct pt_regs *ctx, __u64 address, int posix_memalign)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 function = cookie_function(cookie);

	if (!is_target())
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	struct thread *t = this_thread(0);
	struct pending *p = t ? pop(t, ctx->sp - 8) : NULL;
	if (!p) {
		count(COUNTER_RETURN_UNMATCHED, 1);
		return 0;
	}
	if (p->nested)
		return 0;
	if (posix_memalign) {
		if (address) /* it returns an error number, and the pointer elsewhere */
			address = 0;
		else if (bpf_probe_read_user(&address, sizeof(address), (void *)p->result)) {
			count(COUNTER_RESULT_READ_FAILED, 1);
			return 0;
		}
	}
	int freed = p->old_live;
	if (!address && p->old_live && p->size) {
		/* realloc failed: the old block still lives. */
		freed = !insert(p->old, &p->block);
	}
	if (freed) {
		count(COUNTER_FREED_OBJECTS, 1);
		count(COUNTER_FREED_BYTES, p->block.size);
	}
	if (!address) {
		/* realloc(old, 0) of glibc is free(old), whoever saw old. */
		if (!p->old || p->size)
			count(COUNTER_ALLOCATION_FAILED, 1);
		return 0;
	}
	struct block *b = &p->block;
	b->size = p->size;
	b->stack = record_stack(find_stack(ctx, t, p->ip), p->size);
	b->mark = current_mark;
	b->function = p->function;
	insert_new(address, b);
	return 0;
}

SEC("uretprobe.multi")
int leave_pointer(struct pt_regs *ctx)
{
	return leave(ctx, ctx->ax, 0);
}

SEC("uretprobe.multi")
int leave_posix_memalign(struct pt_regs *ctx)
{
	return leave(ctx, (__u32)ctx->ax, 1);
}

/*
 * BIRD's pages. alloc_page has no argument and is never entered while it
 * runs, so its return is all there is to see; the entry only counts, so that
 * a return which does not come shows.
 */
SEC("uprobe.multi")
int enter_alloc_page(struct pt_regs *ctx __attribute__((unused)))
{
	if (is_target())
		add(&hits, FUNCTION_ALLOC_PAGE, 1);
	return 0;
}

SEC("uretprobe.multi")
int leave_alloc_page(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), address = ctx->ax;
	__u32 function = cookie_function(cookie);

	if (!is_target())
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	if (!test(function, address && !(address & (page_size - 1))))
		return 0;
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	struct block b = {
		.size = page_size,
		.stack = record_stack(find_stack(ctx, t, cookie_entry(cookie)), page_size),
		.mark = current_mark,
		.function = function,
	};
	insert_new(address, &b);
	return 0;
}

#define AT(r) __builtin_offsetof(struct pt_regs, r)
/* Where pt_regs has the general registers, by their DWARF numbers. */
const __u8 register_offset[REG_COUNT] = {
	AT(ax), AT(dx), AT(cx), AT(bx), AT(si), AT(di), AT(bp), AT(sp),
	AT(r8), AT(r9), AT(r10), AT(r11), AT(r12), AT(r13), AT(r14), AT(r15),
};
#undef AT

/* The value of a general register by its DWARF number. */
static __always_inline __u64 argument(struct pt_regs *ctx, __u32 reg)
{
	__u64 value = 0;

	/* The verifier refuses a context access at an offset that varies. */
	bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx + register_offset[reg & (REG_COUNT - 1)]);
	return value;
}

SEC("uprobe.multi")
int enter_free_page(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u64 address = argument(ctx, cookie_register(cookie));

	if (!is_target())
		return 0;
	add(&hits, cookie_function(cookie), 1);
	if (!test(cookie_function(cookie), address && !(address & (page_size - 1))))
		return 0;
	__u32 step;
	struct block *b = find_freed(address, &step);
	/* BIRD fills its page cache by returning pages that nobody took. */
	if (!b || b->function != FUNCTION_ALLOC_PAGE) {
		count(COUNTER_PAGE_RETURN_UNKNOWN, 1);
		return 0;
	}
	count(COUNTER_FREED_OBJECTS, 1);
	count(COUNTER_FREED_BYTES, b->size);
	drop_slots(b, address);
	take_out(address, b, step);
	return 0;
}

/* The page of an object, with a table for its slots. owner is the resource that
 * the object is of, 0 if the page's first word tells it. */
static __always_inline struct block *page_of_object(__u64 page, __u64 owner, const volatile struct slab_layout *l, __u32 function)
{
	__u32 step;
	struct block *b = find_live(page, &step);

	if (!b || b->function != FUNCTION_ALLOC_PAGE) {
		count(COUNTER_OBJECT_NO_PAGE, 1);
		return NULL;
	}
	if (b->slots)
		return b;
	struct slots_head head = { .function = function };
	if (!owner && bpf_probe_read_user(&owner, sizeof(owner), (void *)page))
		owner = 0;
	if (!test(function, read_layout(l, owner, &head)))
		return NULL;
	__u32 class = slots_class(head.count);
	long made = make_slots(page, &head, class);
	if (made < 0) {
		count(COUNTER_SLOTS_FULL, 1);
		return NULL;
	}
	b->slots_step = made;
	b->slots = class + 1;
	return b;
}

/* An object of a slab was allocated: notes by whom. */
static __always_inline int leave_object(struct pt_regs *ctx, const volatile struct slab_layout *l, int islab)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), address = ctx->ax;
	__u32 function = cookie_function(cookie);

	if (!is_target())
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	if (!address)
		return 0; /* msl_alloc_from_page: that page was full */
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	__u64 owner = 0, page = address & ~(page_size - 1);
	if (islab) {
		owner = t->islab;
		t->islab = 0;
		/* Its pages do not say whose they are; and the call may have begun
		 * before the probe on the entry was there. */
		if (!owner) {
			count(COUNTER_RETURN_UNMATCHED, 1);
			return 0;
		}
	}
	struct block *b = page_of_object(page, owner, l, function);
	if (!b)
		return 0;
	struct stack *s = find_stack(ctx, t, cookie_entry(cookie));
	__u32 mark = current_mark, number = s ? s->number : STACK_NOT_KEPT;
	if (mark > SLOT_MARK_MAX)
		mark = SLOT_MARK_MAX;
	if (number > SLOT_STACK_MASK)
		number = STACK_NOT_KEPT;
	__u32 size = write_slot(b, page, address - page, mark << SLOT_STACK_BITS | number);
	if (test(function, size != 0))
		record_stack(s, size);
	return 0;
}

SEC("uretprobe.multi")
int leave_sl_alloc(struct pt_regs *ctx)
{
	return leave_object(ctx, &slabs, 0);
}

SEC("uretprobe.multi")
int leave_msl_alloc(struct pt_regs *ctx) /* and msl_alloc_from_page */
{
	return leave_object(ctx, &mslabs, 0);
}

SEC("uprobe.multi")
int enter_isl_alloc(struct pt_regs *ctx) /* isl_alloc(islab) */
{
	if (!is_target())
		return 0;
	add(&hits, FUNCTION_ISL_ALLOC, 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	t->islab = ctx->di;
	return 0;
}

SEC("uretprobe.multi")
int leave_isl_alloc(struct pt_regs *ctx) /* returns {object, number} */
{
	return leave_object(ctx, &islabs, 1);
}

/*
 * Linpools. Nothing is freed one by one there, and what flush and restore drop
 * the linpool's own state tells: so only what was allocated last at an address
 * is kept.
 */
SEC("uprobe.multi")
int enter_lp_alloc(struct pt_regs *ctx) /* lp_alloc, lp_allocu, lp_allocz (linpool, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (!is_target())
		return 0;
	add(&hits, cookie_function(cookie), 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	/* One of them may call another one, with the same size. */
	t->lp_size = ctx->si;
	return 0;
}

SEC("uretprobe.multi")
int leave_lp_alloc(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), address = ctx->ax;
	__u32 function = cookie_function(cookie);

	if (!is_target())
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	struct thread *t = this_thread(0);
	if (!t || !address) {
		count(COUNTER_RETURN_UNMATCHED, 1);
		return 0;
	}
	struct linpool_object o = {
		.time = bpf_ktime_get_ns(),
		.size = t->lp_size,
		.stack = record_stack(find_stack(ctx, t, cookie_entry(cookie)), t->lp_size),
		.mark = current_mark,
		.function = function,
	};
	if (bpf_map_update_elem(&linpool_objects, &address, &o, BPF_ANY))
		count(COUNTER_LINPOOL_OBJECTS_FULL, 1);
	return 0;
}
