/* Four kernels for a device that is real: each keeps it busy for so many ns.
 * PTX, which any NVIDIA driver compiles for its device. */
#ifndef KERNELS_H
#define KERNELS_H

#define KERNEL(name) \
	".visible .entry " name "(.param .u64 ns)\n" \
	"{\n" \
	"	.reg .pred %p;\n" \
	"	.reg .u64 %want, %from, %now;\n" \
	"	ld.param.u64 %want, [ns];\n" \
	"	mov.u64 %from, %globaltimer;\n" \
	"again:\n" \
	"	mov.u64 %now, %globaltimer;\n" \
	"	sub.u64 %now, %now, %from;\n" \
	"	setp.lt.u64 %p, %now, %want;\n" \
	"	@%p bra again;\n" \
	"	ret;\n" \
	"}\n"

static const char kernels_ptx[] =
	".version 6.0\n"
	".target sm_50\n"
	".address_size 64\n"
	KERNEL("kernel_0") KERNEL("kernel_1") KERNEL("kernel_2") KERNEL("kernel_3");

#endif
