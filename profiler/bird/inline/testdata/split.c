// SPDX-License-Identifier: Apache-2.0

// give is split by gcc (-fpartial-inlining): the beginning is inlined where it
// is called, also into its own wrapper, the rest is give.part.0.
struct page {
	struct page *next;
};

static struct page *hot, *cold;
static unsigned kept;
void *volatile seen;

__attribute__((noinline)) static void slow(struct page *p, unsigned n)
{
	seen = (char *)p + n;
}

void give(struct page *p)
{
	if (!p)
		return;
	p->next = cold;
	cold = p;
	for (unsigned i = 0; i < kept; i++) {
		slow(p, i);
		slow(p->next, i + 1);
		slow(cold, kept);
	}
	slow(hot, 0);
	slow(p, kept);
}

__attribute__((noinline)) static void flush(struct page *p, int n)
{
	while (n--)
		give(p++);
}

int main(int argc, char **argv)
{
	static struct page pages[64];
	kept = (unsigned)argc;
	hot = pages;
	flush(pages, 32);
	if (argc > 2)
		give((struct page *)argv[0]);
	return 0;
}
