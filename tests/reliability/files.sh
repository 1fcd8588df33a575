#!/usr/bin/env bash
# files.sh PROGRAM DIR [ARGS...]: files that cannot be read or written. PROGRAM is `rearm`, DIR a folder of data, ARGS go to
# `rearm train`. A run begun anew, one that is continued and one with --overwrite each meet
#   every single write, sync, rename, reading, opening and making of a folder that fails (faults.c, preloaded);
#   full disks with 4, 8, ... KB left (a tmpfs), and disks that cannot be written (the same, read-only);
#   folders and files that belong to somebody else (as the user nobody).
# Each time the exit status must be the documented one, with one line that names the path; what was there before must be whole,
# or replaced as a whole; nothing may be left over; and the run must go on to the bits of one that met nothing. Prints what does
# not hold, and how often each was tried. What only the superuser can arrange is skipped, visibly, for others.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath -- "$1") data=$(realpath -- "$2")
shift 2
work=$(mktemp -d)
finish() {
  ! mountpoint -q "$work/disk" || umount "$work/disk"
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM
chmod 755 "$work"
cc -shared -fPIC -o "$work/faults.so" "$here/faults.c" -ldl
mkdir "$work/disk" "$work/in" "$work/at"
cp -r "$data" "$work/in/data"
printf '[train]\nepochs = 4\n' >"$work/in/settings.toml"
printf '0 1\n2\n' >"$work/in/users.txt"
arguments=(train "$work/in/data" --config "$work/in/settings.toml" --threads 1 "$@")
root=$work/at as=() fault= counted=$work/at failures=0 tried=0 kind= what=

# run ARGS...: the program meets `fault`; sets `status`. What it printed is in $work/said and $work/err.
run() {
  status=0
  FAULT_PATH=$counted FAULT=$fault FAULT_LOG=${log-} LD_PRELOAD=${counted:+$work/faults.so} timeout 60 "${as[@]}" "$program" "$@" \
    >"$work/said" 2>"$work/err" || status=$?
}
train() { run "${arguments[@]}" --out "$root/run" --cache "$root/cache" "$@"; }
fail() {
  echo "FAILED: $kind, $what: $1; exit status $status" >&2
  tail -n 1 "$work/err" | sed 's/^/    /' >&2
  failures=$((failures + 1))
}
tensors() { tail -c +$((9 + $(od -An -t u8 -N 8 "$1"))) "$1" | sha256sum; }
contents() { (cd -- "$1" 2>/dev/null && sha256sum config.toml metrics.jsonl model.safetensors checkpoint.safetensors result.json 2>&1) || true; }
left_over() { find "$root" -name '.*' ! -path "$root" "$@" 2>/dev/null; }

# prepare: the folder as it is before a run of this kind.
prepare() {
  rm -rf "$root/run" "$root/cache"
  [[ ! -e $work/before/$kind ]] || cp -rp "$work/before/$kind/." "$root"
}
how_to_begin() {
  case $kind in anew) ;; continued) echo --resume ;; overwriting) echo --overwrite ;; esac
}
# check_refusal WHERE: the exit status, and one line that names a path below WHERE.
check_refusal() {
  local right=2
  ! grep -q 'train pairs; features' "$work/said" || right=1
  ((status == right)) || fail "status $right is documented"
  [[ $(grep -c '^rearm: ' "$work/err") == 1 && $(tail -n 1 "$work/err") == "rearm: "*"$1"* ]] || fail 'no single line that names the path'
  ! grep -qE 'filesystem error|basic_|iostream|std::' "$work/err" || fail 'the error has no type of its own'
}
# check_folder: what a run that met a fault has left, and how it goes on.
check_folder() {
  local before after how=--resume
  # One that was refused has left nothing, or the graphs it had built.
  [[ -e $root/run/config.toml || -e $root/run/.lock || -e $root/run/.next ]] || how=
  tried=$((tried + 1))
  if ((status != 0)); then check_refusal "$root"; fi
  before=$(contents "$work/before/$kind/run")
  after=$(contents "$root/run")
  if [[ -e $root/run/.next/commit ]]; then
    [[ -z $(left_over ! -path "$root/run/.next*") ]] || fail "left over: $(left_over)"
  else
    [[ -z $(left_over) ]] || fail "left over: $(left_over)"
    if [[ $kind != anew && $after != "$before" ]]; then
      ((status != 2)) || fail 'the run was refused, and what was there is changed'
      ! cmp -s "$root/run/model.safetensors" "$work/before/overwriting/run/model.safetensors" || fail 'half of the earlier run is left'
    fi
    [[ $kind != overwriting || $after != "$before" ]] || how=--overwrite
  fi
  # shellcheck disable=SC2034
  local status_before=$status fault= counted=
  if [[ -e $root/run/model.safetensors ]]; then
    run recommend "$root/run/model.safetensors" --users 0
    ((status == 0)) || fail 'the model cannot be read'
  fi
  # shellcheck disable=SC2086
  train $how
  ((status == 0)) || { fail 'the run does not go on'; return; }
  [[ $(tensors "$root/run/model.safetensors") == "$want" && $(tensors "$root/run/checkpoint.safetensors") == "$want_last" ]] || fail 'other bits'
  [[ $(wc -l <"$root/run/metrics.jsonl") == 4 ]] || fail 'gaps in metrics.jsonl'
  [[ -e $root/run/result.json ]] || fail 'no result.json'
  [[ -z $(left_over) ]] || fail "left over at the end: $(left_over)"
}

kind=anew what='no fault'
counted=
train
((status == 0)) || { fail 'the folder and the arguments do not make a run'; exit 1; }
want=$(tensors "$root/run/model.safetensors") want_last=$(tensors "$root/run/checkpoint.safetensors")
for kind in continued overwriting; do
  rm -rf "$root"/*
  if [[ $kind == continued ]]; then train --epochs 2; else train --seed 77; rm -r "$root/cache"; fi
  mkdir -p "$work/before/$kind"
  cp -rp "$root/." "$work/before/$kind"
done

# Single calls: each fails once with EIO (5), writing from then on with ENOSPC (28), too.
counted=$root
for kind in anew continued overwriting; do
  prepare
  log=$work/log
  rm -f "$log"
  train $(how_to_begin)
  log=
  while read -r call count; do
    for ((number = 1; number <= count; ++number)); do
      for error in 5 '28 on'; do
        [[ $call == write || $error == 5 ]] || continue
        what="$call $number of $count with errno $error" fault="$call $number $error"
        prepare
        train $(how_to_begin)
        fault=
        check_folder
      done
    done
  done <"$work/log"
  echo "$kind: $tried single calls"
  tried=0
done

# Inputs: every reading and opening that fails is said; nothing is made of half a file.
kind='inputs' counted=$work/in
cp "$work/before/continued/run/model.safetensors" "$work/in/model.safetensors"
for command in train 'recommend --users-file' evaluate; do
  case $command in
    train) line=("${arguments[@]}" --out "$root/run") ;;
    evaluate) line=(evaluate "$work/in/model.safetensors" "$work/in/data") ;;
    *) line=(recommend "$work/in/model.safetensors" --users-file "$work/in/users.txt") ;;
  esac
  rm -rf "$root"/* "$work/log"
  log=$work/log fault=
  run "${line[@]}"
  log=
  cp "$work/said" "$work/usual"
  while read -r call count; do
    for ((number = 1; number <= count; ++number)); do
      rm -rf "$root"/*
      what="$command: $call $number of $count" fault="$call $number 5"
      run "${line[@]}"
      tried=$((tried + 1))
      if ((status != 0)); then
        check_refusal "$work/in"
        [[ -z $(find "$root" -type f ! -path '*/cache/*') ]] || fail 'files were made'
      elif ! cmp -s "$work/said" "$work/usual"; then
        fail 'other output'
      fi
    done
  done <"$work/log"
done
fault='' counted=
echo "inputs: $tried single calls"
tried=0

# Standard output on a full disk.
kind=output what=/dev/full
for command in recommend evaluate; do
  line=("$work/in/model.safetensors")
  if [[ $command == recommend ]]; then line+=(--all-users); else line+=("$work/in/data"); fi
  status=0
  "$program" "$command" "${line[@]}" >/dev/full 2>"$work/err" || status=$?
  ((status == 1)) && grep -q 'standard output cannot be written' "$work/err" || fail 'status 1 is documented'
done

if ! mount -t tmpfs -o size=4m tmpfs "$work/disk" 2>/dev/null; then
  echo 'SKIPPED: full and read-only disks: no permission to mount one'
else
  root=$work/disk
  for kind in anew continued overwriting; do
    for ((kilobytes = 0; ; kilobytes += 4)); do
      what="a disk with $kilobytes KB left"
      prepare
      fallocate -l $(($(df --output=avail -B1 "$root" | tail -n 1) - kilobytes * 1024)) "$root/ballast"
      train $(how_to_begin)
      rm "$root/ballast"
      ran=$status
      check_folder
      ((ran != 0)) || break
    done
    what='a read-only disk'
    prepare
    mount -o remount,ro "$root"
    train $(how_to_begin)
    mount -o remount,rw "$root"
    ((status == 2)) || fail 'status 2 is documented'
    check_folder
    echo "$kind: $tried disks, the largest with $kilobytes KB"
    tried=0
  done
  kind='a read-only cache' what='that holds the graphs'
  prepare
  cp -rp "$work/before/continued/cache" "$root/cache"
  mount -o remount,ro "$root"
  run "${arguments[@]}" --out "$work/at/run" --cache "$root/cache"
  ((status == 0)) || fail 'does not train'
  [[ $(tensors "$work/at/run/model.safetensors") == "$want" ]] || fail 'other bits'
  what='that holds none'
  run "${arguments[@]}" --out "$work/at/other" --cache "$root/other"
  check_refusal "$root/other"
  mount -o remount,rw "$root"
  root=$work/at
fi

if ((EUID != 0)) || ! command -v setpriv >/dev/null; then
  echo 'SKIPPED: files of somebody else: only the superuser can become nobody (setpriv)'
else
  as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  refused() { # refused WHERE ARGS...: by `run`, with nothing changed
    local where=$1 before after
    before=$(find "$work/at" "$work/in" -type f -exec sha256sum {} + | sort)
    run "${@:2}"
    ((status == 2)) || fail 'status 2 is documented'
    check_refusal "$where"
    after=$(find "$work/at" "$work/in" -type f -exec sha256sum {} + | sort)
    [[ $before == "$after" ]] || fail 'something was changed'
    [[ -z $(left_over) ]] || fail "left over: $(left_over)"
    tried=$((tried + 1))
  }
  kind=continued
  for file in . config.toml checkpoint.safetensors model.safetensors metrics.jsonl; do
    prepare
    chown -R 65534:65534 "$root/run" "$root/cache"
    what="no permission for $file"
    chown root: "$root/run/$file"
    [[ $file == . ]] || chmod 600 "$root/run/$file"
    refused "$root/run" "${arguments[@]}" --out "$root/run" --cache "$root/cache" --resume
  done
  kind=anew
  prepare
  what='a folder that cannot be made'
  refused "$root/run" "${arguments[@]}" --out "$root/run"
  chown 65534:65534 "$root"
  what='a cache that cannot be written'
  mkdir "$root/cache"
  refused "$root/cache" "${arguments[@]}" --out "$root/run" --cache "$root/cache"
  what='a cache that cannot be looked into'
  chmod 700 "$root/cache"
  refused "$root/cache" "${arguments[@]}" --out "$root/run" --cache "$root/cache"
  kind=inputs
  for file in "$work/in/data"/*.npy "$work/in/data"/*.inter "$work/in/settings.toml"; do
    [[ -e $file ]] || continue
    what="no permission for ${file##*/}"
    chmod 600 "$file"
    refused "$file" "${arguments[@]}" --out "$root/run"
    chmod 644 "$file"
  done
  what='no permission for the model'
  chmod 600 "$work/in/model.safetensors"
  refused "$work/in/model" recommend "$work/in/model.safetensors" --users 0
  refused "$work/in/model" evaluate "$work/in/model.safetensors" "$work/in/data"
  chmod 644 "$work/in/model.safetensors"
  what='no permission for the users'
  chmod 600 "$work/in/users.txt"
  refused "$work/in/users" recommend "$work/in/model.safetensors" --users-file "$work/in/users.txt"
  what='a folder that cannot be looked into'
  chmod 700 "$work/in/data"
  refused "$work/in/data" "${arguments[@]}" --out "$root/run"
  echo "somebody else's: $tried files and folders"
fi
echo "$failures failures"
((failures == 0))
