#!/bin/sh
# Records testdata/incident.db, as root, with real probes: a training loop in
# Python shares its CPU with a busy process for nine seconds, while a process
# beside it captures and launches graphs.
#
#	record.sh [DIR]
#
# Both jobs and the busy process share a group of CPU time that goes before all
# others, so that whatever else runs on the machine takes little. Run it again
# if explain names others.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
out=${1:-$here/testdata}
case $(uname -m) in x86_64) arch=amd64 ;; *) arch=arm64 ;; esac
lib=$top/test/workload/prebuilt/$arch
dir=/opt/train
mkdir -p $dir
first=/sys/fs/cgroup/cpu/record
[ ! -d /sys/fs/cgroup/cpu ] || { mkdir -p $first && echo 262144 >$first/cpu.shares && echo $$ >$first/cgroup.procs; }
# The names of the groups are part of the recording.
groups=/sys/fs/cgroup/memory
mine=$groups$(sed -n 's/.*:memory://p' /proc/self/cgroup)
group() { [ ! -d $groups ] || { mkdir -p "$groups/$1" && echo $$ >"$groups/$1/cgroup.procs"; }; }
ungroup() { [ ! -d $groups ] || { echo $$ >"$mine/cgroup.procs" && rmdir $groups/train $groups/backup; }; }
trap 'kill $job $serve 2>/dev/null || :; wait; ungroup; [ ! -d $first ] || { echo $$ >$first/../cgroup.procs; rmdir $first; }; rm -rf $dir' EXIT
cp "$top/test/workload/train.py" "$lib"/libcud* $dir
cp "$lib/workload" $dir/llm-serve
(cd "$top" && nice go build -o $dir/ingero ./cmd/ingero && go build -o $dir/hog ./test/faults)
cd $dir

group train
taskset -c 1 python3 train.py --lib-dir $dir --steps 0 --launches 12 --kernel-ns 150000 \
	--work-us 6000 --copy-bytes 1000000 --duration-s 60 >/dev/null &
job=$!
taskset -c 0 ./llm-serve --steps 0 --launches 12 --kernel-ns 20000 --graph \
	--graph-pool 4 --shapes 5 --gap-us 60000 --work-us 500 --duration-s 60 >/dev/null &
serve=$!
sleep 2
rm -f incident.db*
./ingero trace --pid $job,$serve --db incident.db --node gpu-node-01 --duration 26s >/dev/null &
agent=$!
sleep 9
group backup
(sleep 9) | taskset -c 1 ./hog &
wait $agent
./ingero explain -d incident.db
# What else runs on this machine stays here.
sqlite3 incident.db "SELECT DISTINCT cgroup FROM places WHERE cgroup NOT IN ('', '/train', '/backup')" | while read -r other; do
	sqlite3 incident.db "UPDATE causal_chains SET detail = replace(detail, '$other', ''); UPDATE places SET cgroup = '' WHERE cgroup = '$other'"
done
for table in waits waits_minute; do
	sqlite3 incident.db "SELECT DISTINCT other_comm FROM $table WHERE other_comm NOT IN ('hog', 'python3', 'llm-serve', 'ingero')
		AND other_comm NOT GLOB 'swapper/*' AND other_comm NOT GLOB 'kworker/*' AND other_comm NOT GLOB 'migration/*'" | while read -r name; do
		sqlite3 incident.db "UPDATE OR REPLACE waits SET other_comm = 'other' WHERE other_comm = '$name'; UPDATE OR REPLACE waits_minute SET other_comm = 'other' WHERE other_comm = '$name';
			UPDATE OR REPLACE places SET comm = 'other' WHERE comm = '$name';
			UPDATE causal_chains SET detail = replace(replace(detail, '\"comm\":\"$name\"', '\"comm\":\"other\"'), '$name (PID', 'other (PID')"
	done
done
sqlite3 incident.db 'PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE; VACUUM;' >/dev/null
mv incident.db "$out/incident.db"
ls -l "$out/incident.db"
