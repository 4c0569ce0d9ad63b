package proc

import (
	"bytes"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

const (
	prologueSize = 32       // how far from a function's start a probe may sit
	maxBody      = 16 << 10 // longest function searched for jumps back into its prologue
)

var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// probeOffset chooses where in a function to put a probe: how many bytes
// after its start. code is the whole function, or at least its first
// prologueSize bytes; whole says which.
//
// A uprobe is a trap. If the kernel can emulate the instruction under it
// (push of a register, nop, relative jump or call, conditional jump: see
// arch/x86/kernel/uprobes.c), a hit costs about 0.7 µs. Anything else is
// copied out and single-stepped: a second trap, 11 µs in all. endbr64 is one
// of those. So the probe goes on the first instruction that can be emulated,
// as long as those before it leave the arguments and the stack alone and
// nothing in the function jumps back between them, which would count a call
// twice. Otherwise it goes on the first instruction.
func probeOffset(code []byte, whole bool) uint64 {
	at := 0
	for at < len(code) && at < prologueSize {
		if bytes.HasPrefix(code[at:], endbr64) {
			at += len(endbr64)
			continue
		}
		in, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			return 0
		}
		if emulated(code[at:]) {
			if at == 0 || whole && !jumpsInto(code, at) {
				return uint64(at)
			}
			return 0
		}
		if !transparent(in) {
			return 0
		}
		at += in.Len
	}
	return 0
}

// emulated reports whether every kernel since 5.15 emulates the instruction.
// Forms with prefixes are left out: some kernels refuse to probe them.
func emulated(code []byte) bool {
	switch op := code[0]; {
	case op >= 0x50 && op <= 0x57: // push %rax … %rdi
		return true
	case op == 0x41 && len(code) > 1 && code[1] >= 0x50 && code[1] <= 0x57: // push %r8 … %r15
		return true
	case op == 0x90, op == 0xeb, op == 0xe9, op == 0xe8: // nop, jmp, jmp, call
		return true
	case op >= 0x70 && op <= 0x7f: // jcc short
		return true
	case op == 0x0f && len(code) > 1 && code[1] >= 0x80 && code[1] <= 0x8f: // jcc near
		return true
	}
	return false
}

// kept are the registers a probe reads: six arguments and the stack.
var kept = []x86asm.Reg{
	x86asm.RDI, x86asm.RSI, x86asm.RDX, x86asm.RCX, x86asm.R8, x86asm.R9, x86asm.RSP,
	x86asm.EDI, x86asm.ESI, x86asm.EDX, x86asm.ECX, x86asm.R8L, x86asm.R9L, x86asm.ESP,
	x86asm.DI, x86asm.SI, x86asm.DX, x86asm.CX, x86asm.R8W, x86asm.R9W, x86asm.SP,
	x86asm.DIB, x86asm.SIB, x86asm.DL, x86asm.CL, x86asm.R8B, x86asm.R9B, x86asm.SPB,
	x86asm.DH, x86asm.CH,
}

// transparent reports whether the instruction goes on to the next one and
// changes nothing a probe reads.
func transparent(in x86asm.Inst) bool {
	switch in.Op {
	case x86asm.CMP, x86asm.TEST, x86asm.NOP:
		return true
	case x86asm.MOV, x86asm.MOVZX, x86asm.MOVSX, x86asm.MOVSXD, x86asm.LEA,
		x86asm.XOR, x86asm.AND, x86asm.OR, x86asm.ADD, x86asm.SUB:
		to, ok := in.Args[0].(x86asm.Reg)
		return ok && !slices.Contains(kept, to)
	}
	return false
}

// jumpsInto reports whether any instruction jumps to a place behind the
// function's start and up to end. Code that cannot be decoded counts as
// such.
func jumpsInto(code []byte, end int) bool {
	for at := 0; at < len(code); {
		if bytes.HasPrefix(code[at:], endbr64) {
			at += len(endbr64)
			continue
		}
		in, err := x86asm.Decode(code[at:], 64)
		if err != nil {
			return true
		}
		at += in.Len
		if rel, ok := in.Args[0].(x86asm.Rel); ok {
			if to := at + int(rel); to > 0 && to <= end {
				return true
			}
		}
	}
	return false
}
