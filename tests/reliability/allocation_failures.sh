#!/usr/bin/env bash
# allocation_failures.sh [STEP]: a small run once for each of its allocations, or every STEP-th, which gets no memory (tests/run/
# allocation_failure_test.cpp), with the address and leak sanitizers; then without them, where large arrays are mappings. Prints
# how many failed in which part of the run; a crash, a leak (counted after each run) or an exception that is no Error ends it with
# another status than 0. Every allocation takes the first more than an hour, the second twenty minutes.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sources=(tests/run/allocation_failure_test.cpp tests/support/allocator.cpp tests/support/main.cpp)
build() {
  clang++-14 -std=c++20 -O1 -g1 -rdynamic -I. -Iinclude -isystem /usr/include/eigen3 -DREARM_SOURCE_DIR='"."' "$@" \
    "${sources[@]}" -ldl -pthread -o "$work/program"
}
export REARM_EVERY_ALLOCATION=${1:-1} TMPDIR=${TMPDIR:-/dev/shm}
for sanitizer in -fsanitize=address,undefined ''; do
  build ${sanitizer:+$sanitizer -fno-sanitize-recover=all}
  echo "${sanitizer:-no sanitizer}:"
  (time "$work/program" -tc='an allocation that fails*') 2>&1 | grep -E 'MESSAGE|ERROR|values:|:= |Status|Sanitizer|real'
done
