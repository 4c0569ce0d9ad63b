package proc

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Byte strings as compilers and the NVIDIA libraries have them.
func TestProbeOffset(t *testing.T) {
	for _, c := range []struct {
		what string
		code string
		want uint64
	}{
		{"libcuda 550.163 cuMemAlloc_v2: cmpl; je; jmp", "813d26d88d0100ba1c32 740c ff2546" + "5f7e01 660f1f440000 b804000000 c3", 10},
		{"near je", "813d26d88d0100ba1c32 0f8400000000 ff25465f7e01 c3", 10},
		{"libcudart 12.4 cudaMalloc: push %rbp", "55 4889e5 4157 4156 4155 4154 c3", 0},
		{"libcudart 11.8 cudaMalloc: push %r15", "4157 4156 4155 4154 4989f4 55 c3", 0},
		{"gcc -fcf-protection: endbr64; push %rbp", "f30f1efa 55 4889e5 5d c3", 4},
		{"endbr64; sub $8,%rsp", "f30f1efa 4883ec08 31c0 4883c408 c3", 0},
		{"endbr64; cmpl; je", "f30f1efa 813d26d88d0100ba1c32 7401 90 c3", 14},
		{"nop", "90 c3", 0},
		{"test %rdi,%rdi; je", "4885ff 7405 b801000000 c3", 3},
		{"mov %rdi,%rax; push %rbx", "4889f8 53 5b c3", 3},
		{"argument changed first: mov %rsi,%rdi; push %rbx", "4889f7 53 5b c3", 0},
		{"argument changed first, 32 bits: xor %edi,%edi; push %rbx", "31ff 53 5b c3", 0},
		{"sub $8,%rsp; je", "4883ec08 7400 4883c408 c3", 0},
		{"store to the stack: mov %rbx,-8(%rsp); push", "48895c24f8 55 5d c3", 0},
		{"mov $imm,%eax; ret", "b804000000 c3", 0},
		{"a 16-bit nop is refused by some kernels; push follows", "6690 55 5d c3", 2},
		{"a long nop is single-stepped by most; push follows", "0f1f440000 55 5d c3", 5},
		{"a loop back to the site: test; je +2; jmp site", "4885ff 7402 ebfc c3", 0},
		{"a loop back to the start is a call again", "4885ff 7402 ebf9 c3", 3},
		{"no instruction", "06 06 06", 0},
		{"empty", "", 0},
		{"too far away", strings.Repeat("4889f8", 11) + "53 5b c3", 0},
		{"body that cannot be decoded", "4885ff 7400 06", 0},
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(c.code, " ", ""))
		if err != nil {
			t.Fatal(c.what, err)
		}
		if got := probeOffset(code, true); got != c.want {
			t.Errorf("%s: got +%d, want +%d", c.what, got, c.want)
		}
		if got := probeOffset(code, false); got != 0 {
			t.Errorf("%s, end unknown: got +%d, want +0", c.what, got)
		}
	}
}

func FuzzProbeOffset(f *testing.F) {
	f.Add([]byte{0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0xc3})
	f.Add([]byte{0x48, 0x85, 0xff, 0x74, 0x02, 0xeb, 0xfc})
	f.Fuzz(func(t *testing.T, code []byte) {
		at := probeOffset(code, true)
		if at >= prologueSize || at > 0 && (at >= uint64(len(code)) || !emulated(code[at:])) {
			t.Fatalf("site +%d of %x", at, code)
		}
	})
}
