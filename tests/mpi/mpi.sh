#!/bin/sh
# mpi.sh MPIRUN BIN FOLDER: ranks as processes (REARM_MPI). BIN holds rearm_tests_mpi and, if it was built, rearm.
set -eu
mpirun=$1 bin=$2 folder=$3
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
export OMPI_MCA_rmaps_base_oversubscribe=1 OMP_NUM_THREADS=1
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

fail() {
  echo "mpi.sh: $1" >&2
  [ ! -f log ] || cat log >&2
  exit 1
}
# ends_all STATUS SECONDS: what a run that failed has told in `log`, and how long it took.
ends_all() {
  [ "$1" -ne 0 ] || fail 'a run with a rank that failed ended well'
  [ $(($(date +%s) - began)) -le "$2" ] || fail "the other ranks waited longer than $2 s"
}

for n in 2 3; do
  "$mpirun" -n $n "$bin/rearm_tests_mpi" >log 2>&1 || fail "$n processes failed"
  grep -qx "$n ranks: same bits" log || fail "$n processes have other bits than $n threads"
done

began=$(date +%s) status=0
"$mpirun" -n 3 "$bin/rearm_tests_mpi" 'the disk is gone' >log 2>&1 || status=$?
ends_all $status 10
[ "$(grep -c 'rank 2 of 3: the disk is gone' log)" -eq 1 ] || fail 'not one message that names the rank'

if [ ! -x "$bin/rearm" ]; then
  echo 'REARM-SKIPPED: the program by mpirun: it was not built'
  exit 0
fi
train() { # OUT ARGS...
  out=$1
  shift
  echo train --synthetic --model light_gcn --embedding-dim 16 --backend cpu --out "$out" "$@"
}

# Two processes train what one trains, with the same bits in every run. Whether they go on with another number, too.
"$bin/rearm" $(train one --epochs 4) >one.log 2>&1 || { cp one.log log && fail 'one process failed'; }
"$mpirun" -n 2 "$bin/rearm" $(train two --epochs 2) >log 2>&1 || fail 'two processes failed'
[ "$(grep -c '^2 ranks of .*which share users, items and their graphs$' log)" -eq 1 ] || fail 'the ranks are not announced once'
"$mpirun" -n 2 "$bin/rearm" $(train again --epochs 2) >log2 2>&1 || fail 'two processes failed again'
cmp -s two/model.safetensors again/model.safetensors || fail 'two processes have other bits in another run'
"$mpirun" -n 3 "$bin/rearm" $(train two --epochs 4) --resume >log 2>&1 || fail 'three processes did not go on'
recall() { sed -n 's/^best epoch.*: test recall@20 \([0-9.]*\).*/\1/p' "$1"; }
awk -v one="$(recall one.log)" -v three="$(recall log)" 'BEGIN { exit !(one > 0 && (one - three) ^ 2 < 1e-6) }' ||
  fail 'several processes have other results than one' # but for items of nearly the same score

# A rank with other settings is refused by name, before anything is trained.
began=$(date +%s) status=0
"$mpirun" -n 1 "$bin/rearm" $(train other --epochs 2) : -n 1 "$bin/rearm" $(train other --epochs 2 --l2 0.1) >log 2>&1 || status=$?
ends_all $status 20
grep -q 'rank 1 has settings/train/l2 = 0.1 but rank 0 has 0' log || fail 'another setting is not named'

# One that is killed ends the others; the last checkpoint is whole.
"$mpirun" -n 2 "$bin/rearm" $(train killed --epochs 1000 --patience 1000) >log 2>&1 &
job=$!
tries=0
until [ -f killed/checkpoint.safetensors ]; do
  tries=$((tries + 1))
  [ $tries -lt 600 ] || fail 'no checkpoint in a minute'
  sleep 0.1
done
children=$(ps -o pid= --ppid $job)
kill -9 $(echo $children | awk '{print $2}')
began=$(date +%s) status=0
wait $job || status=$?
ends_all $status 10
"$bin/rearm" $(train killed --epochs 3 --patience 1000) --resume >log 2>&1 || fail 'the checkpoint of a killed run is not whole'
