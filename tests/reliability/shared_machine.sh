#!/usr/bin/env bash
# Seconds that a training step, and the whole run, take beside other load, against what a fair share of the machine allows:
#   tests/reliability/shared_machine.sh PROGRAM [ARGS...]
# for instance build/release/bin/train_amazon --synthetic --epochs 2. PROGRAM writes the median of its steps into
# result.json of the folder given with --out. A fair share: with T threads beside L busy loops on N CPUs every thread
# gets min(1, N / (T + L)) of a CPU; in a quota of one CPU two threads get half. Each figure is the median of RUNS runs.
# The quota needs root and control groups (either version).
set -euo pipefail
runs=${RUNS:-3}
work=$(mktemp -d)
cpus=$(nproc)
loops=()
group=
finish() {
  ((${#loops[@]} == 0)) || kill "${loops[@]}" 2>/dev/null || true
  [[ -z $group ]] || rmdir "$group" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

# once NAME THREADS COMMAND...: one run; prints its median step and the seconds of the whole.
once() {
  local name=$1 threads=$2 start=$EPOCHREALTIME
  shift 2
  "$@" --threads "$threads" --out "$work/$name" >"$work/$name.log" 2>&1 || { cat "$work/$name.log" >&2 && exit 1; }
  sed -n 's/.*"step_seconds_median": *\([0-9.e+-]*\).*/\1/p' "$work/$name/result.json" | tr '\n' ' '
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {print b - a}'
  rm -rf "${work:?}/$name"
}
median() { sort -g | awk '{x[NR] = $1} END {print (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2}'; }
# many NAME THREADS COMMAND...: the medians over several runs of both figures.
many() {
  local run figures
  figures=$(for run in $(seq "$runs"); do once "$1$run" "${@:2}"; done)
  echo "$(cut -d' ' -f1 <<<"$figures" | median) $(cut -d' ' -f2 <<<"$figures" | median)"
}
declare -A quiet
# row WHAT THREADS SHARE 'STEP RUN': a line of the table.
row() {
  awk -v what="$1" -v threads="$2" -v share="$3" -v now="$4" -v quiet="${quiet[$2]}" 'BEGIN {
    split(now, n); split(quiet, q)
    printf "| %s | %s | %.4f | %.2f | %.2f | %.2f |\n", what, threads, n[1], n[1] * share / q[1], n[2], n[2] * share / q[2]}'
}

echo '| beside | threads | step, s | / fair | whole run, s | / fair |'
echo '|---|---|---|---|---|---|'
for threads in 1 2; do
  quiet[$threads]=$(many quiet "$threads" "$@")
  row 'nothing' "$threads" 1 "${quiet[$threads]}"
done
for load in 1 4; do
  for _ in $(seq "$load"); do
    (while :; do :; done) &
    loops+=($!)
  done
  for threads in 1 2; do
    share=$(awk -v t="$threads" -v l="$load" -v n="$cpus" 'BEGIN {s = n / (t + l); print s < 1 ? s : 1}')
    row "$load busy loop(s)" "$threads" "$share" "$(many busy "$threads" "$@")"
  done
  kill "${loops[@]}"
  wait "${loops[@]}" 2>/dev/null || true
  loops=()
done
for threads in 1 2; do
  share=$(awk -v t="$threads" -v n="$cpus" 'BEGIN {s = n / (2 * t); print s < 1 ? s : 1}')
  many other "$threads" "$@" >/dev/null &
  other=$!
  row 'a second run of the same' "$threads" "$share" "$(many one "$threads" "$@")"
  wait "$other"
done

# A quota of one CPU: version 2 or version 1 of control groups.
if [[ -w /sys/fs/cgroup/cgroup.procs && -e /sys/fs/cgroup/cgroup.controllers ]]; then
  group=/sys/fs/cgroup/rearm_quota
  mkdir -p "$group" && echo '100000 100000' >"$group/cpu.max" || group=
elif [[ -w /sys/fs/cgroup/cpu/cgroup.procs ]]; then
  group=/sys/fs/cgroup/cpu/rearm_quota
  mkdir -p "$group" && echo 100000 >"$group/cpu.cfs_quota_us" || group=
fi
if [[ -n $group ]]; then
  in_quota() { bash -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" "$@"; }
  # The quota lets a step run at full speed and then stops the process: the whole run tells, not the median step.
  quiet[0]=${quiet[1]} # by default as many threads as the quota allows
  row 'a quota of one CPU' 1 1 "$(many quota 1 in_quota "$@")"
  row 'a quota of one CPU' 2 "$(awk -v one="${quiet[1]}" -v two="${quiet[2]}" 'BEGIN {split(one, a); split(two, b); print b[2] / a[2]}')" \
    "$(many quota 2 in_quota "$@")"
  row 'a quota of one CPU, default' 0 1 "$(many quota 0 in_quota "$@")"
else
  echo 'no control groups to write: the quota was not tried' >&2
fi
