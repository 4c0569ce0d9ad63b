#include "loop.h"
#include "api.h"

#include <string.h>

enum { ARGS = 12, CHUNK = 1024 };

/* A function is called with words for arguments: those that do not fit in
 * registers are words on the stack too, on amd64 and on arm64. */
typedef int fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

#define PAIR(lo, hi) ((u64)(lo) | (u64)(hi) << 32)

/* arguments finds valid arguments for the functions worth measuring. Other
 * functions get zeros; most then return an error. */
static void arguments(const struct worker *w, u64 a[ARGS])
{
	u64 s = (uintptr_t)w->stream, d = (uintptr_t)w->device_buf, h = (uintptr_t)w->host_buf;
	const char *n = opt.bench;
	u64 bytes = live.copy_bytes;

	memset(a, 0, ARGS * sizeof(a[0]));
	if (strstr(n, "2D") || strstr(n, "3D") || strstr(n, "Peer"))
		return;
	if (!strncmp(n + strspn(n, "_"), "cudaLaunchKernel", 16)) {
		u64 v[] = { (uintptr_t)w->kernel[0], PAIR(64, 1), 1, PAIR(256, 1), 1, 0, 0, s };

		memcpy(a, v, sizeof(v));
	} else if (!strncmp(n, "cuLaunchKernel", 14)) {
		u64 v[] = { (uintptr_t)w->kernel[0], 64, 1, 1, 256, 1, 1, 0, s };

		memcpy(a, v, sizeof(v));
	} else if (!strncmp(n, "cudaMemcpy", 10)) {
		u64 v[] = { d, h, bytes, H2D, s };

		memcpy(a, v, sizeof(v));
	} else if (!strncmp(n, "cuMemcpy", 8)) {
		u64 v[] = { d, h, bytes, s };

		memcpy(a, v, sizeof(v));
	} else if (strstr(n, "StreamSynchronize")) {
		a[0] = s;
	} else if (strstr(n, "EventSynchronize")) {
		a[0] = (uintptr_t)w->event;
	}
	if (strstr(n, "_ptsz"))
		for (int i = 0; i < ARGS; i++)
			a[i] = a[i] == s ? 0 : a[i];
}

void bench(struct worker *w)
{
	fn *f = (fn *)api_find(opt.bench);
	u64 a[ARGS], left = opt.count, start;

	if (!f)
		die("find %s: no library here has it", opt.bench);
	arguments(w, a);
	start = wall_ns();
	while (left && !LIVE(stop)) {
		u64 n = left < CHUNK ? left : CHUNK;

		for (u64 i = 0; i < n; i++)
			f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]);
		left -= n;
	}
	w->bench_ns = wall_ns() - start;
	w->steps = opt.count - left;
}
