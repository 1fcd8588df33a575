#!/usr/bin/env bash
# kills.sh PROGRAM DIR [KILLS [ARGS...]]: a run on the data of DIR that is killed (SIGKILL) at KILLS random moments, each time
# continued with --resume, beside one that is not; ARGS go to `rearm train`. Every other round begins anew, so that first
# epochs are hit as well, and one in eight starts over with --overwrite. Prints what must all be 0: continuations that were
# refused or that failed, files that cannot be read, gaps in metrics.jsonl, results whose metrics are not those of their best
# epoch, temporaries left, rounds that ended in other bits.
set -euo pipefail
program=$1 data=$2 kills=${3:-300}
shift $(($# < 3 ? $# : 3))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/cache"
arguments=(train "$data" --cache "$work/cache" --epochs 6 --threads 1 "$@")
train() { "$program" "${arguments[@]}" --out "$1" "${@:2}" >"$work/out" 2>"$work/err"; }

# begun RUN: something of a run is there, so that --resume takes it.
begun() { [[ -e $1/config.toml || -e $1/.lock || -e $1/.next || -e $1/checkpoint.safetensors ]]; }

train "$work/whole"
start=$(date +%s%N)
train "$work/timed"
length=$((($(date +%s%N) - start) / 1000000))
echo "an undisturbed run takes $length ms"

tensors() { tail -c +$((9 + $(od -An -t u8 -N 8 "$1"))) "$1" | sha256sum; }
want=$(tensors "$work/whole/model.safetensors") want_last=$(tensors "$work/whole/checkpoint.safetensors")
killed=0 rounds=0 refused=0 unreadable=0 gaps=0 stale=0 left=0 other=0
while ((killed < kills)); do
  run=$work/run
  rm -rf "$run"
  how=
  ((rounds % 8 != 7)) || { cp -r "$work/whole" "$run" && how=--overwrite; }
  for ((attempt = 0; ; ++attempt)); do
    begun "$run" || how=
    # shellcheck disable=SC2086
    "$program" "${arguments[@]}" --out "$run" $how >"$work/out" 2>"$work/err" &
    pid=$!
    # Moments over the whole of a run, so that few rounds need many continuations.
    limit=$((RANDOM % (length + 1)))
    sleep "$(printf '%d.%03d' $((limit / 1000)) $((limit % 1000)))"
    if kill -9 $pid 2>/dev/null; then
      status=0
      wait $pid 2>/dev/null || status=$?
      if ((status == 137)); then ((++killed)); elif ((status != 0)); then ((++refused)) && cat "$work/err"; fi
    else
      wait $pid || { ((++refused)) && cat "$work/err"; }
    fi
    # An overwriting run is begun again until it has taken the place of the earlier one.
    [[ $how != --overwrite || -e $run/.next/commit ]] && how=--resume
    cmp -s "$run/checkpoint.safetensors" "$work/whole/checkpoint.safetensors" || how=--resume
    if [[ -e $run/result.json ]]; then
      python3 - "$run" <<'PY' || ((++stale))
import json, sys
r = json.load(open(sys.argv[1] + '/result.json'))
lines = [json.loads(line) for line in open(sys.argv[1] + '/metrics.jsonl')]
sys.exit(lines[r['best_epoch']]['valid'] != r['valid'])
PY
    fi
    if [[ -e $run/model.safetensors ]] && ! "$program" recommend "$run/model.safetensors" --users 0 >/dev/null 2>&1; then
      ((++unreadable))
    fi
    ((attempt < 3 && killed < kills)) || break
  done
  how=
  ! begun "$run" || how=--resume
  # shellcheck disable=SC2086
  train "$run" $how || { ((++refused)) && cat "$work/err"; }
  [[ $(tensors "$run/model.safetensors") == "$want" && $(tensors "$run/checkpoint.safetensors") == "$want_last" ]] || ((++other))
  [[ $(wc -l <"$run/metrics.jsonl") == 6 ]] || ((++gaps))
  [[ -z $(find "$run" -name '.*' -not -path "$run") ]] || ((++left))
  ((++rounds))
done
echo "$killed kills in $rounds rounds: $refused refused or failed, $unreadable unreadable, $gaps gaps, $stale results not of their best epoch, $left with files left over, $other with other bits"
((refused + unreadable + gaps + stale + left + other == 0))
