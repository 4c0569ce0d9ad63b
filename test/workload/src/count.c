#include "count.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct row __start_sim_rows[] HIDDEN;
extern const struct row __stop_sim_rows[] HIDDEN;

struct cell { u64 calls, bytes, errors; };

/* Each thread counts in a block of its own, so that counting costs no
 * shared cache line. Blocks outlive their thread. */
struct block {
	struct block *next;
	struct cell cell[];
};

static struct block *blocks;
static __thread struct block *mine __attribute__((tls_model("initial-exec")));

static struct block *new_block(void)
{
	size_t n = __stop_sim_rows - __start_sim_rows;
	struct block *b = calloc(1, sizeof(*b) + n * sizeof(b->cell[0]));

	if (!b) {
		fputs("simulated CUDA: no memory for counters\n", stderr);
		abort();
	}
	b->next = __atomic_load_n(&blocks, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&blocks, &b->next, b, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return mine = b;
}

/* Only the owner writes; the store is atomic for the reader's sake. */
static inline void add(u64 *p, u64 n)
{
	__atomic_store_n(p, *p + n, __ATOMIC_RELAXED);
}

int done(const struct row *row, u64 bytes, int err)
{
	struct block *b = mine ? mine : new_block();
	struct cell *c = &b->cell[row - __start_sim_rows];

	add(&c->calls, 1);
	if (bytes)
		add(&c->bytes, bytes);
	if (err)
		add(&c->errors, 1);
	return err;
}

size_t totals(struct total *out, size_t max)
{
	size_t n = __stop_sim_rows - __start_sim_rows, used = 0;

	for (size_t i = 0; i < n && used < max; i++) {
		struct total t = { .name = __start_sim_rows[i].name };
		struct block *b = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE);

		for (; b; b = b->next) {
			t.calls += __atomic_load_n(&b->cell[i].calls, __ATOMIC_RELAXED);
			t.bytes += __atomic_load_n(&b->cell[i].bytes, __ATOMIC_RELAXED);
			t.errors += __atomic_load_n(&b->cell[i].errors, __ATOMIC_RELAXED);
		}
		if (t.calls)
			out[used++] = t;
	}
	return used;
}

struct text { char *buf; size_t len, used; };

static void put(struct text *t, const char *fmt, ...)
{
	size_t room = t->used < t->len ? t->len - t->used : 0;
	va_list ap;

	va_start(ap, fmt);
	t->used += vsnprintf(room ? t->buf + t->used : NULL, room, fmt, ap);
	va_end(ap);
}

size_t format(const struct total *rows, size_t n, char *buf, size_t len)
{
	static const struct { const char *key; size_t at; } part[] = {
		{ "calls", offsetof(struct total, calls) },
		{ "bytes", offsetof(struct total, bytes) },
		{ "errors", offsetof(struct total, errors) },
	};
	struct text t = { buf, len, 0 };

	for (int p = 0; p < 3; p++) {
		const char *comma = "";

		put(&t, "%s\"%s\":{", p ? "," : "", part[p].key);
		for (size_t i = 0; i < n; i++) {
			u64 v = *(const u64 *)((const char *)&rows[i] + part[p].at);

			if (!v)
				continue;
			put(&t, "%s\"%s\":%llu", comma, rows[i].name, (unsigned long long)v);
			comma = ",";
		}
		put(&t, "}");
	}
	return t.used;
}
