package probe

//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -type call_record -type process_record -type process_kind -type capture_role -type emit -type enroll -type state -type unwind_kind -type unwind_outcome bpf ../../bpf/ingero.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -I../../bpf -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
