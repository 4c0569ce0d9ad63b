#include "textflag.h"

// func probed()
TEXT ·probed(SB), NOSPLIT|NOFRAME, $0-0
	NOOP
	RET

// Where probed begins: in Go, its address would be that of a wrapper.
DATA ·probedAt(SB)/8, $·probed(SB)
GLOBL ·probedAt(SB), NOPTR|RODATA, $8
