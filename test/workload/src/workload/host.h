/* What a training loop does on the host beside its CUDA calls. */
#ifndef HOST_H
#define HOST_H

#include "options.h"

struct host {
	int read_fd, write_fd, dirty_fd, map_fd, peer_fd, request_fd;
	u64 read_at, dirty_at, read_size;
	char *map, *buf;
	u64 map_bytes;
	u32 seed;
};

/* host_start starts the helpers of a process: data loaders and the holder of
 * the lock. Call it before any other thread exists. */
void host_start(void);

/* host_setup opens what the options name; host_step does the host's part of
 * one step. */
void host_setup(struct host *h);
void host_step(struct host *h, u64 step);

/* work uses the CPU for so many µs. */
void work(u64 us);

/* read_batch reads so many bytes of a file from the disk, beginning at *at. */
void read_batch(int fd, char *buf, u64 *at, u64 size, u64 bytes);

/* loaders_start makes the child processes that feed next_batch, and
 * loaders_stop ends them. */
void loaders_start(void);
void loaders_stop(void);
void next_batch(void);

int open_or_die(const char *path, int flags);
char *new_buffer(void);

enum { CHUNK_BYTES = 1 << 20, DIRTY_SPAN = 256 << 20 };

#endif
