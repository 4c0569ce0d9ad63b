package proc

import "debug/elf"

const hostMachine = elf.EM_X86_64
