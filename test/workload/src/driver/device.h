/* Devices, contexts, streams and the work queued on them. */
#ifndef DEVICE_H
#define DEVICE_H

#include "clock.h"
#include "stub.h"

#include <pthread.h>

enum { QUEUE = 1024 }; /* launches a stream holds before the caller blocks */

struct graph {
	u32 live;
	u64 kernels;    /* captured launches */
	u64 copied_ns;  /* device time of captured copies */
};

struct stream {
	u32 live;
	struct device *dev;
	struct graph *capture; /* set while capturing */
	u64 tail;              /* device time at which the last work ends */
	u64 pushed;
	u64 end[QUEUE];        /* when the last launches end */
};

/* A device runs one kernel at a time, and one copy beside it. */
struct device {
	pthread_mutex_t lock;
	u64 tail;             /* end of everything queued */
	u64 *busy;            /* end of what is queued per engine; other processes may move it */
	u64 used;             /* bytes of memory taken */
	struct context *primary;
	struct stream *legacy; /* the stream with the handle 0 */
};

enum engine { COMPUTE, COPY };

struct context { u32 live; struct device *dev; };
struct code { u32 live; };  /* a module, library or function */
struct mark { u32 live; u64 at; }; /* an event */

extern struct device devices[MAX_DEVICES] HIDDEN;

/* A pool gives out the addresses of its elements as handles, so that a
 * wrong handle is an error and not a crash. Elements begin with u32 live. */
struct pool { char *base; size_t size, n; size_t hint; };

HIDDEN void *pool_new(struct pool *p);
HIDDEN int pool_has(const struct pool *p, const void *handle);
HIDDEN void pool_free(void *handle);

#define POOL(name, type, count) \
	static type name##_items[count]; \
	struct pool name = { (char *)name##_items, sizeof(type), count, 0 }

extern struct pool streams HIDDEN;

/* current returns the thread's context, or NULL. */
HIDDEN struct context *current(void);

/* stream_of finds a stream by handle in the current context. per_thread
 * says that handle 0 is the thread's own stream. Returns an error code. */
HIDDEN int stream_of(void *handle, int per_thread, struct stream **out);

/* push queues n pieces of work, each of cost ns, on an engine. It blocks
 * while the stream's queue is full. A capturing stream only takes note. */
HIDDEN void push(struct stream *s, enum engine e, u64 n, u64 cost);

/* drained returns the device time at which a stream will be idle. */
HIDDEN u64 drained(const struct stream *s);

#endif
