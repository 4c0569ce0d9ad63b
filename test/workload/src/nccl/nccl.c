/* A simulated NCCL: every collective launches one kernel; in a group the last
 * call launches for all. There is no other rank. */
#include "../count.h"

#define NCCL(fn, ...) \
	ROW(fn); \
	EXPORT int fn(__VA_ARGS__); \
	int fn(__VA_ARGS__)

static const char kernel;
static __thread int depth, waiting __attribute__((tls_model("initial-exec")));
static char communicator;

static int bytes_of(int type)
{
	static const char sizes[] = { 1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1 };

	return type >= 0 && type < (int)sizeof(sizes) ? sizes[type] : 0;
}

static int queue(int type, void *stream)
{
	struct dim3 one = { 1, 1, 1 };

	if (!bytes_of(type))
		return 4; /* ncclInvalidArgument */
	if (depth) {
		waiting++;
		return 0;
	}
	return cudaLaunchKernel(&kernel, one, one, NULL, 0, stream) ? 1 : 0;
}

/* What is no type is counted as bytes. */
#define RET(fn, n, type, err) return DONE(fn, (n) * (bytes_of(type) ?: 1), err)

NCCL(ncclAllReduce, const void *s, void *r, size_t n, int type, int op, void *comm, void *stream)
{
	RET(ncclAllReduce, n, type, queue(type, stream));
}

NCCL(ncclAllGather, const void *s, void *r, size_t n, int type, void *comm, void *stream)
{
	RET(ncclAllGather, n, type, queue(type, stream));
}

NCCL(ncclReduceScatter, const void *s, void *r, size_t n, int type, int op, void *comm, void *stream)
{
	RET(ncclReduceScatter, n, type, queue(type, stream));
}

NCCL(ncclBroadcast, const void *s, void *r, size_t n, int type, int root, void *comm, void *stream)
{
	RET(ncclBroadcast, n, type, queue(type, stream));
}

NCCL(ncclBcast, void *b, size_t n, int type, int root, void *comm, void *stream)
{
	RET(ncclBcast, n, type, queue(type, stream));
}

NCCL(ncclReduce, const void *s, void *r, size_t n, int type, int op, int root, void *comm, void *stream)
{
	RET(ncclReduce, n, type, queue(type, stream));
}

NCCL(ncclSend, const void *b, size_t n, int type, int peer, void *comm, void *stream)
{
	RET(ncclSend, n, type, queue(type, stream));
}

NCCL(ncclRecv, void *b, size_t n, int type, int peer, void *comm, void *stream)
{
	RET(ncclRecv, n, type, queue(type, stream));
}

NCCL(ncclGroupStart, void)
{
	depth++;
	return DONE(ncclGroupStart, 0, 0);
}

static int end_group(void)
{
	int all = waiting;

	if (!depth)
		return 5; /* ncclInvalidUsage */
	if (--depth || !all)
		return 0;
	waiting = 0;
	return queue(0, NULL);
}

NCCL(ncclGroupEnd, void) { return DONE(ncclGroupEnd, 0, end_group()); }

static int make(void **comm)
{
	*comm = &communicator;
	return 0;
}

/* ncclUniqueId, which is passed by value. */
struct id { char text[128]; };

NCCL(ncclCommInitRank, void **comm, int n, struct id id, int rank) { return DONE(ncclCommInitRank, 0, make(comm)); }

NCCL(ncclCommInitRankConfig, void **comm, int n, struct id id, int rank, void *config)
{
	return DONE(ncclCommInitRankConfig, 0, make(comm));
}

NCCL(ncclCommInitAll, void **comm, int n, const int *devices) { return DONE(ncclCommInitAll, 0, make(comm)); }

EXPORT size_t sim_nccl_report(char *buf, size_t len);
size_t sim_nccl_report(char *buf, size_t len)
{
	struct total t[MAX_ROWS];

	return format(t, totals(t, MAX_ROWS), buf, len);
}
