#!/usr/bin/env bash
# tests/fuzz/run.sh [SECONDS] [TARGET...]: gives readers of files inputs that libFuzzer makes of those in corpus/, each target
# for SECONDS (20), three to a CPU at a time; without a name all of them. Fails where one does, and says which input does it.
# Before: cmake --preset fuzz && cmake --build --preset fuzz --target rearm_fuzz
set -uo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
build=$here/../../build/fuzz program=$build/bin/rearm_fuzz
seconds=${1:-20}
shift || true
(($#)) || mapfile -t all < <("$program")
(($#)) || set -- "${all[@]}"
(($#)) || exit 2
# What targets write and read lies in memory, where there is a folder for it.
work=$(mktemp -d -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" rearm_fuzz.XXXXXX)
trap 'rm -rf -- "$work"' EXIT
export TMPDIR=$work ASAN_OPTIONS=quarantine_size_mb=8:max_malloc_fill_size=0:malloc_context_size=6

fuzz() {
  local target=$1 found=$build/fuzz/$1
  mkdir -p "$found" "$work/$target"
  cp -- "$here/corpus/$target"/* "$work/$target"
  "$program" "$target" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=512 -malloc_limit_mb=64 \
    -print_final_stats=1 -print_funcs=0 -artifact_prefix="$found/" "$work/$target" &>"$found/log"
  local status=$?
  stat() { sed -n "s/^stat::$1: *//p" "$found/log"; }
  if ((status == 0)); then
    printf '%-13s %9s inputs, peak %4s MB\n' "$target" "$(stat number_of_executed_units)" "$(stat peak_rss_mb)"
  else
    printf '%-13s FAILED: %s; to run it once: %s %s FILE\n' "$target" \
      "$(sed -n 's/.*Test unit written to //p' "$found/log" | tail -1)" "$program" "$target" >&2
    grep -av '^#[0-9]*[[:space:]]' "$found/log" | tail -40 >&2
  fi
  return $status
}

status=0 running=0 at_once=$((3 * $(nproc)))
for target in "$@"; do
  ((running < at_once)) || { wait -n || status=1; ((--running)); }
  fuzz "$target" &
  ((++running))
done
while ((running-- > 0)); do wait -n || status=1; done
exit $status
