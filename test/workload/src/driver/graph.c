/* Graphs: what a capture took note of, and its launches. */
#include "device.h"

POOL(graphs, struct graph, 4096);
POOL(execs, struct graph, 4096); /* an executable graph is a copy */

static int begin(void *stream, int mode)
{
	struct stream *s;
	int err = stream_of(stream, 0, &s);

	if (err)
		return err;
	if (mode < 0 || mode > 2)
		return ERR_VALUE;
	/* The real driver refuses to capture the legacy stream, too. */
	if (s->capture || s == s->dev->legacy)
		return ERR_CAPTURE;
	s->capture = pool_new(&graphs);
	if (!s->capture)
		return ERR_MEMORY;
	s->capture->kernels = s->capture->copied_ns = 0;
	return OK;
}

static int end(void *stream, void **g)
{
	struct stream *s;
	int err = stream_of(stream, 0, &s);

	if (err)
		return err;
	if (!g)
		return ERR_VALUE;
	if (!s->capture)
		return ERR_CAPTURE;
	*g = s->capture;
	s->capture = NULL;
	return OK;
}

static void copy_graph(struct graph *to, const struct graph *from)
{
	to->kernels = from->kernels;
	to->copied_ns = from->copied_ns;
}

static int instantiate(void **x, void *g)
{
	if (!x || !pool_has(&graphs, g))
		return ERR_VALUE;
	burn(settings.instantiate_ns);
	*x = pool_new(&execs);
	if (!*x)
		return ERR_MEMORY;
	copy_graph(*x, g);
	return OK;
}

static int update(void *x, void *g)
{
	if (!pool_has(&execs, x) || !pool_has(&graphs, g))
		return ERR_VALUE;
	copy_graph(x, g);
	return OK;
}

static int launch(struct graph *x, void *stream)
{
	struct stream *s;
	int err = stream_of(stream, 0, &s);

	if (err)
		return err;
	if (!pool_has(&execs, x))
		return ERR_VALUE;
	if (x->copied_ns)
		push(s, COPY, 1, x->copied_ns);
	if (x->kernels)
		push(s, COMPUTE, x->kernels, settings.kernel_ns);
	return OK;
}

static int destroy(const struct pool *p, void *handle)
{
	if (!pool_has(p, handle))
		return ERR_VALUE;
	pool_free(handle);
	return OK;
}

API(cuStreamBeginCapture_v2, void *s, int mode) { return DONE(cuStreamBeginCapture_v2, 0, begin(s, mode)); }
API(cuStreamEndCapture, void *s, void **g) { return DONE(cuStreamEndCapture, 0, end(s, g)); }

API(cuGraphInstantiate_v2, void **x, void *g, void **err, char *log, size_t n)
{
	return DONE(cuGraphInstantiate_v2, 0, instantiate(x, g));
}

API(cuGraphInstantiateWithFlags, void **x, void *g, u64 flags)
{
	return DONE(cuGraphInstantiateWithFlags, 0, instantiate(x, g));
}

API(cuGraphInstantiateWithParams, void **x, void *g, void *params)
{
	return DONE(cuGraphInstantiateWithParams, 0, instantiate(x, g));
}

API(cuGraphExecUpdate, void *x, void *g, void **err, void *result) { return DONE(cuGraphExecUpdate, 0, update(x, g)); }
API(cuGraphExecUpdate_v2, void *x, void *g, void *result) { return DONE(cuGraphExecUpdate_v2, 0, update(x, g)); }
API(cuGraphLaunch, void *x, void *s) { return DONE(cuGraphLaunch, 0, launch(x, s)); }
API(cuGraphExecDestroy, void *x) { return DONE(cuGraphExecDestroy, 0, destroy(&execs, x)); }
API(cuGraphDestroy, void *g) { return DONE(cuGraphDestroy, 0, destroy(&graphs, g)); }
