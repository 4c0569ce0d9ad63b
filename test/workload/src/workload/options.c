#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options opt = {
	.steps = 100, .threads = 1, .processes = 1, .devices = 1, .speed = 1,
	.memory_bytes = 16ull << 30, .cold_start_ms = 10, .bandwidth = 12e9, .count = 1000000,
};

struct live live = {
	.speed = 1, .launches = 10, .kernel_ns = 10000, .allocs = 1, .write_bytes = 1 << 20, .peer_bytes = 64, .shapes = 1,
};

static const char usage[] =
	"usage: workload [options]\n"
	"A training loop on a simulated CUDA; prints what it really did as one line of JSON.\n\n"
	"  --steps N           steps of each thread, 0 until stopped (100)\n"
	"  --launches N        kernel launches a step (10)\n"
	"  --gap-us N          sleep between steps (0)\n"
	"  --threads N         threads that each run the loop (1)\n"
	"  --processes N       child processes that each run it and print a line (1: no child)\n"
	"  --devices N         devices; thread i uses device i mod N (1)\n"
	"  --duration-s F      end after F seconds\n"
	"  --start-delay-ms N  wait before the first CUDA call\n"
	"  --late-dlopen-ms N  load the libraries after N ms (program workload-late)\n"
	"  --wait-stdin        print ready on stderr, begin at a newline on stdin\n"
	"  --preload           load the driver library before ready\n\n"
	"  --kernel-ns N       device time of a kernel (10000)\n"
	"  --speed F           device speed, 0 is stuck (1)\n"
	"  --bandwidth F       bytes a second of copies (12e9)\n"
	"  --memory-bytes N    memory of a device (16 GiB)\n"
	"  --cold-start-ms F   time the first calls take together (10)\n"
	"  --copy-bytes N      copy N bytes in and out each step (0)\n"
	"  --alloc-bytes N     allocate and free N bytes each step (0)\n"
	"  --graph             capture the launches once, launch the graph each step\n"
	"  --sync WHAT         stream, device, event or none (stream)\n"
	"  --wait HOW          block or spin in waits (block)\n"
	"  --driver            call the driver (cu*) directly\n"
	"  --fail              make calls with wrong arguments too, each step\n"
	"  --crash-in-call     abort inside the first wait\n"
	"What the host does in each step (see README.md):\n"
	"  --work-us N  --read FILE --read-bytes N --direct  --mmap FILE --map-pages N --drop N\n"
	"  --write FILE --write-bytes N --write-every N  --dirty FILE --dirty-bytes N  --grow-bytes N\n"
	"  --lock --lock-us N  --peer HOST:PORT --peer-bytes N  --requests FIFO\n"
	"  --loaders N --loader-us N --loader-file FILE --loader-bytes N --loader-lock-us N\n"
	"More of the device:\n"
	"  --copy-every N --allocs N --alloc-ns N --recapture N --capture-us N --graph-pool N\n"
	"  --shapes N --instantiate-ns N\n"
	"  --share FILE        several processes share one device\n"
	"  --log FILE          append a line 'pid unix-ns steps' every 100 ms\n\n"
	"  --bench SYMBOL      only call SYMBOL in a tight loop\n"
	"  --count N           calls of --bench, each thread (1000000)\n"
	"  --control FILE      lines key=value, read again at each step when the file changed:\n"
	"                      speed bandwidth wait stop, and the options with a number that are\n"
	"                      not about the whole run, with _ for -\n\n"
	"SIGUSR1 halves the device speed, SIGUSR2 restores it, SIGTERM and SIGINT end the loop.\n";

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("workload: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void wrong(const char *option, const char *value)
{
	fprintf(stderr, "workload: --%s: not a value for it: %s\n", option, value);
	exit(2);
}

enum type { FLAG, UINT, INT, REAL, TEXT, SYNC, WAIT };

static const struct { const char *name; enum type type; void *to; } table[] = {
	{ "steps", UINT, &opt.steps }, { "launches", UINT, &live.launches }, { "gap-us", UINT, &live.gap_us },
	{ "threads", INT, &opt.threads }, { "processes", INT, &opt.processes }, { "devices", INT, &opt.devices },
	{ "duration-s", REAL, &opt.duration_s }, { "start-delay-ms", UINT, &opt.start_delay_ms },
	{ "late-dlopen-ms", UINT, &opt.late_dlopen_ms }, { "wait-stdin", FLAG, &opt.wait_stdin },
	{ "preload", FLAG, &opt.preload }, { "kernel-ns", UINT, &live.kernel_ns }, { "speed", REAL, &opt.speed },
	{ "bandwidth", REAL, &opt.bandwidth }, { "memory-bytes", UINT, &opt.memory_bytes },
	{ "cold-start-ms", REAL, &opt.cold_start_ms }, { "copy-bytes", UINT, &live.copy_bytes },
	{ "alloc-bytes", UINT, &opt.alloc_bytes }, { "graph", FLAG, &opt.graph }, { "sync", SYNC, &opt.sync },
	{ "wait", WAIT, &live.spin }, { "driver", FLAG, &opt.driver }, { "fail", FLAG, &opt.fail },
	{ "crash-in-call", FLAG, &opt.crash }, { "bench", TEXT, &opt.bench }, { "count", UINT, &opt.count },
	{ "control", TEXT, &opt.control }, { "log", TEXT, &opt.log }, { "share", TEXT, &opt.share },
	{ "copy-every", UINT, &live.copy_every }, { "allocs", UINT, &live.allocs }, { "alloc-ns", UINT, &live.alloc_ns },
	{ "recapture", UINT, &live.recapture }, { "capture-us", UINT, &live.capture_us },
	{ "graph-pool", UINT, &opt.graph_pool }, { "shapes", UINT, &live.shapes },
	{ "instantiate-ns", UINT, &live.instantiate_ns }, { "work-us", UINT, &live.work_us },
	{ "read", TEXT, &opt.read }, { "read-bytes", UINT, &live.read_bytes }, { "direct", FLAG, &opt.direct },
	{ "mmap", TEXT, &opt.map }, { "map-pages", UINT, &live.map_pages }, { "drop", UINT, &live.drop },
	{ "write", TEXT, &opt.write }, { "write-bytes", UINT, &live.write_bytes }, { "write-every", UINT, &live.write_every },
	{ "dirty", TEXT, &opt.dirty }, { "dirty-bytes", UINT, &live.dirty_bytes }, { "grow-bytes", UINT, &live.grow_bytes },
	{ "lock", FLAG, &opt.lock }, { "lock-us", UINT, &live.lock_us }, { "peer", TEXT, &opt.peer },
	{ "peer-bytes", UINT, &live.peer_bytes }, { "requests", TEXT, &opt.requests }, { "loaders", INT, &opt.loaders },
	{ "loader-us", UINT, &live.loader_us }, { "loader-file", TEXT, &opt.loader_file },
	{ "loader-bytes", UINT, &live.loader_bytes }, { "loader-lock-us", UINT, &live.loader_lock_us },
};

enum { OPTIONS = sizeof(table) / sizeof(table[0]), HELP = OPTIONS };

/* choose finds a word in a NULL-terminated list, -1 if it is not there. */
static int choose(const char *const *words, const char *w)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(words[i], w))
			return i;
	return -1;
}

static void assign(int i, const char *v)
{
	static const char *const syncs[] = { "stream", "device", "event", "none", NULL };
	static const char *const waits[] = { "block", "spin", NULL };
	char *end = NULL;
	int n = 0;

	errno = 0;
	switch (table[i].type) {
	case FLAG:
		*(int *)table[i].to = 1;
		return;
	case TEXT:
		*(const char **)table[i].to = v;
		return;
	case UINT:
		*(u64 *)table[i].to = strtoull(v, &end, 10);
		n = strchr(v, '-') ? -1 : 0;
		break;
	case INT:
		n = *(int *)table[i].to = strtol(v, &end, 10);
		n = n < 1 || n > 4096 ? -1 : n;
		break;
	case REAL:
		n = (*(double *)table[i].to = strtod(v, &end)) >= 0 ? 0 : -1;
		break;
	case SYNC:
		n = *(int *)table[i].to = choose(syncs, v);
		break;
	case WAIT:
		n = *(int *)table[i].to = choose(waits, v);
		break;
	}
	if (n < 0 || errno || (end && (end == v || *end)))
		wrong(table[i].name, v);
}

/* prepare_bench makes the loop's set-up provide what the function needs. */
static void prepare_bench(void)
{
	opt.driver = strncmp(opt.bench + strspn(opt.bench, "_"), "cuda", 4) != 0;
	if (strstr(opt.bench, "Event"))
		opt.sync = SYNC_EVENT;
	if (strstr(opt.bench, "Memcpy") && !live.copy_bytes)
		live.copy_bytes = 4096;
}

void parse(int argc, char **argv)
{
	struct option longs[OPTIONS + 2] = { 0 };
	int i;

	for (i = 0; i < OPTIONS; i++)
		longs[i] = (struct option){ table[i].name, table[i].type == FLAG ? no_argument : required_argument, NULL, 256 + i };
	longs[OPTIONS] = (struct option){ "help", no_argument, NULL, 256 + HELP };
	while ((i = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (i == 256 + HELP) {
			fputs(usage, stdout);
			exit(0);
		}
		if (i < 256) {
			fputs("workload: see workload --help\n", stderr);
			exit(2);
		}
		assign(i - 256, optarg);
		if (!strcmp(table[i - 256].name, "late-dlopen-ms"))
			opt.late = 1;
	}
	if (optind < argc) {
		fprintf(stderr, "workload: %s: takes options only, see workload --help\n", argv[optind]);
		exit(2);
	}
	if (opt.devices > 8)
		wrong("devices", "more than 8");
	if (opt.graph_pool > 64)
		wrong("graph-pool", "more than 64");
	live.speed = opt.speed;
	if (opt.bench)
		prepare_bench();
}

static void export_one(const char *key, double v)
{
	char text[32];

	snprintf(text, sizeof(text), "%.17g", v);
	setenv(key, text, 1);
}

void export_settings(void)
{
	export_one("SIM_CUDA_SPEED", opt.speed);
	export_one("SIM_CUDA_KERNEL_NS", live.kernel_ns);
	export_one("SIM_CUDA_BANDWIDTH", opt.bandwidth);
	export_one("SIM_CUDA_MEMORY", opt.memory_bytes);
	export_one("SIM_CUDA_DEVICES", opt.devices);
	export_one("SIM_CUDA_COLD_START_MS", opt.cold_start_ms);
	export_one("SIM_CUDA_SPIN", live.spin);
	export_one("SIM_CUDA_ALLOC_NS", live.alloc_ns);
	export_one("SIM_CUDA_INSTANTIATE_NS", live.instantiate_ns);
	if (opt.share)
		setenv("SIM_CUDA_SHARE", opt.share, 1);
}
