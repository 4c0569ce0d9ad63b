/* Entry points of the driver. */
#ifndef STUB_H
#define STUB_H

#include "../count.h"

/* Every exported function of the real libcuda begins by comparing a flag
 * with this number, which tells that the library has been shut down. */
#define SHUT_DOWN 0x321cba00

extern u32 driver_state HIDDEN;

/* API defines an exported function. On amd64 callers reach the code that
 * follows through the same instructions as in the real library:
 * cmpl $imm32,disp32(%rip) (ten bytes), je, jmp through a slot. */
#ifdef __x86_64__
#define API(fn, ...) \
	ROW(fn); \
	__asm__(".pushsection .data.rel.ro,\"aw\",@progbits\n" \
		".balign 8\n" \
		"slot_" #fn ": .quad impl_" #fn "\n" \
		".popsection\n" \
		".pushsection .text\n" \
		".balign 16\n" \
		".globl " #fn "\n" \
		".type " #fn ",@function\n" \
		#fn ":\n" \
		"	.cfi_startproc\n" \
		"	cmpl $0x321cba00, driver_state(%rip)\n" \
		"	je 1f\n" \
		"	jmp *slot_" #fn "(%rip)\n" \
		"1:	movl $4, %eax\n" \
		"	ret\n" \
		"	.cfi_endproc\n" \
		".size " #fn ", .-" #fn "\n" \
		".popsection\n"); \
	int fn(__VA_ARGS__); /* agrees with the header, or does not compile */ \
	HIDDEN __attribute__((used)) int impl_##fn(__VA_ARGS__); \
	int impl_##fn(__VA_ARGS__)
#else
#define API(fn, ...) \
	ROW(fn); \
	EXPORT int fn(__VA_ARGS__); \
	int fn(__VA_ARGS__)
#endif

#endif
