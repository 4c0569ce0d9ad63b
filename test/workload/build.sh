#!/bin/sh
# Builds the simulated CUDA and its workloads.
#
#	build.sh [DIR]
#
# DIR is prebuilt/ARCH beside this file unless given. For amd64 the same
# compiler (Debian 12: gcc 12.2, binutils 2.40) makes the same bytes,
# whatever the directory. CC chooses another compiler. Running the result
# needs glibc 2.34 or later.
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-gcc}
case $($cc -dumpmachine) in
x86_64-*) arch=amd64 ;;
aarch64-*) arch=arm64 ;;
*) echo "build.sh: no support for $($cc -dumpmachine)" >&2; exit 1 ;;
esac
strip=${STRIP:-strip}
out=${1:-$here/prebuilt/$arch}
mkdir -p "$out"
out=$(cd "$out" && pwd)
obj=$(mktemp -d)
trap 'rm -rf "$obj"' EXIT
cd "$here/src"

# The path is an RPATH, which LD_LIBRARY_PATH does not override: machines with a
# GPU name NVIDIA's libraries there.
#
# Frame pointers let stacks be walked. The runtime's flags keep push %rbp the
# first instruction of a function, and calls into the driver real calls.
cflags="-std=gnu11 -O2 -fPIC -Wall -Wextra -Wno-unused-parameter -Werror
	-fvisibility=hidden -fno-omit-frame-pointer -fno-ident -fno-stack-protector
	-fno-reorder-blocks-and-partition -U_FORTIFY_SOURCE"
ldflags="-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,relro -Wl,-z,now -Wl,--hash-style=gnu
	-Wl,-rpath,\$ORIGIN -Wl,--disable-new-dtags -Wl,--no-undefined"
runtime="-fno-shrink-wrap -fno-schedule-insns2 -fno-optimize-sibling-calls"
start=
if [ $arch = amd64 ]; then
	cflags="$cflags -fcf-protection=none -march=x86-64 -mtune=generic"
	ldflags="$ldflags -nostartfiles"
	$cc -c workload/start.S -o "$obj/start.o"
	start=$obj/start.o
fi

# compile SET SOURCE... puts the objects of a set into a folder of its own.
compile() {
	set=$1
	shift
	mkdir -p "$obj/$set"
	for f; do
		$cc $cflags $extra -c "$f" -o "$obj/$set/$(basename "$f" .c).o"
	done
}

extra= compile driver count.c driver/*.c
extra=$runtime compile runtime count.c runtime/*.c
extra=$runtime compile nccl count.c nccl/*.c
extra= compile linked workload/*.c
extra=-DSIM_LATE compile late workload/*.c

$cc -shared $ldflags -Wl,-soname,libcuda.so.1 -o "$out/libcuda.so.1" "$obj"/driver/*.o
$cc -shared $ldflags -Wl,-soname,libcudart.so.12 -o "$out/libcudart.so.12" "$obj"/runtime/*.o
$cc -shared $ldflags -Wl,-soname,libnccl.so.2 -o "$out/libnccl.so.2" "$obj"/nccl/*.o -L"$out" -l:libcudart.so.12
$cc -pie $ldflags -o "$out/workload" $start "$obj"/linked/*.o -L"$out" -l:libcudart.so.12
$cc -pie $ldflags -o "$out/workload-late" $start "$obj"/late/*.o
$cc -pie $ldflags -o "$out/workload-static" $start "$obj"/linked/*.o "$obj"/runtime/*.o

cd "$out"
$strip --strip-unneeded -R .comment libcuda.so.1 libcudart.so.12 libnccl.so.2 workload workload-late
$strip --strip-debug -R .comment workload-static # its runtime is found in .symtab only
chmod 755 libcuda.so.1 libcudart.so.12 libnccl.so.2 workload workload-late workload-static
