#!/usr/bin/env bash
# Runs gpu_check.sh without a GPU, to see that it does what it says: dry_run.sh SOURCE WATCHED WORK
# WATCHED is the emulated test program; of the groups contexts and others it runs the first case. The other programs and
# groups, nvidia-smi and compute-sanitizer are stand-ins that print what the real ones print.
set -euo pipefail
source=$(cd -- "$1" && pwd) watched=$(realpath -- "$2")
rm -rf "$3"
mkdir -p "$3/tree/tests" "$3/tree/benchmarks" "$3/bin" "$3/tools"
work=$(cd -- "$3" && pwd)
cp "$source/tests/gpu_check.sh" "$work/tree/tests/"
cp -r "$source/benchmarks/peers" "$work/tree/benchmarks/"

stand_in() { # stand_in FILE: the script on standard input
  { echo '#!/usr/bin/env bash' && cat; } >"$1"
  chmod +x "$1"
}
stand_in "$work/bin/rearm_tests_cuda" <<SCRIPT
case "\$*" in
  *--list-test-cases*) exec '$watched' --list-test-cases ;;
  *exclude*) ;; # the group of all others
  *train/*)
    if [[ -n \${CUDA_LAUNCH_BLOCKING-} ]]; then echo 'ERROR: named by the call itself'; else echo 'ERROR: of a later call'; fi
    exit 1 ;;
  *models/*|*parity*|*device_test*|*graph_builders_test*|*autodiff/*) echo '[doctest] test cases: 1 | 1 passed | 0 failed | 0 skipped'; exit ;;
esac
exec '$watched' "\$@" --first=1 --last=1
SCRIPT
stand_in "$work/bin/compare_backends" <<'SCRIPT'
echo '    0     0.6931472     0.6931472          1.0e-08    0.0100     0.0100'
SCRIPT
stand_in "$work/bin/rearm_benchmarks_cuda" <<'SCRIPT'
for argument; do
  case $argument in --benchmark_out=*) out=${argument#*=} ;; esac
done
echo '{"context": {"device": "none"}, "benchmarks": [{"name": "train_step", "median_ms": 1.5}]}' >"$out"
SCRIPT
stand_in "$work/tools/nvidia-smi" <<'SCRIPT'
case $* in -L) echo 'GPU 0: none' ;; *noheader*) echo 9.0 ;; *) echo name, none ;; esac
SCRIPT
stand_in "$work/tools/compute-sanitizer" <<'SCRIPT'
if [[ $* == *memcheck* ]]; then exec sleep 60; fi
while [[ $1 != */rearm_tests_cuda ]]; do shift; done
exec "$@"
SCRIPT
for tool in nvcc ncu; do # not those of this machine
  echo 'exit 1' | stand_in "$work/tools/$tool"
done

check() { # check PART SECONDS [STEPS]: the status of the check, which writes part PART's files
  PATH=$work/tools:$PATH REARM_CHECK_BIN=$work/bin REARM_CHECK_PART=$1 REARM_CHECK_SECONDS=$2 REARM_CHECK_COMMIT=dry \
    REARM_CHECK_STEPS=${3-.} REARM_PARITY_DIR=$work/bin REARM_CHECK_DATA='' \
    bash "$work/tree/tests/gpu_check.sh" "$work/part$1.md" >"$work/part$1.out" 2>&1
}
expect() { # expect FILE PATTERN...: a line for each
  local file=$1 pattern
  for pattern in "${@:2}"; do
    grep -Eq -- "$pattern" "$file" || {
      echo "no line of $file is like: $pattern"
      cat "$file"
      exit 1
    }
  done
}
if check 1 120; then
  echo 'a group of tests failed and the check did not'
  exit 1
fi
expect "$work/part1.out" '^PASS: programs' '^FAIL: tests' '^PASS: parity' '^PASS: compare_backends' '^PASS: benchmarks \(' \
  '^PASS: benchmarks, TF32' '^PASS: benchmarks, one chain' '^PASS: operators' '^SKIPPED: PyTorch \('
expect "$work/part1.md" 'train, exit status 1' 'of a later call' 'train again, every launch waited for' \
  'named by the call itself' 'device, exit status 0' 'contexts, exit status 0' 'graphs, exit status 0' 'others, exit status 0'
if grep -Eq '^[A-Z]+: (configure|build|profile)' "$work/part1.out"; then
  echo 'part 1 built something, or took a step of part 2'
  exit 1
fi
check 2 15 'memcheck|racecheck' || {
  echo 'a sanitizer that found no time failed the check'
  exit 1
}
expect "$work/part2.out" '^INCOMPLETE: memcheck' '^SKIPPED: profile'
tar -tzf "$work/part1_logs.tgz" >/dev/null
echo 'gpu_check.sh does what it says'
