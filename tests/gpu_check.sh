#!/usr/bin/env bash
# Builds and checks the CUDA backend on a machine with an NVIDIA GPU, and writes one report.
#
#   tests/gpu_check.sh [REPORT]         default: build/gpu_report.md; exit status 1 when any step failed
#   tests/gpu_check.sh --collect DIR    on a machine that has the packages: fill DIR with what the other one needs
#
# Needed there: a GPU with its driver, the CUDA toolkit (12.4 or newer), cmake 3.25, ninja, g++ and python3; no network.
# PyTorch (with numpy) for python3, compute-sanitizer and ncu are used where they are. Without a GPU everything is
# built, for sm_90, and the rest SKIPPED. What else has to come along is --collect's DIR, about 13 MB:
#   include/        Random123, nlohmann, CLI, toml++, doctest, benchmark, eigen3/Eigen (no BLAS is carried)
#   lib/            Google Benchmark's shared library; lib/cmake/*: packages that point to all these
#   shared/         parity and parity_paper, where ../shared has them
# Carry DIR with the checkout, for instance as build/deps, and set REARM_DEPS to it. Beside REPORT (name.md) lies
# name_logs.tgz afterwards: all output of every step, the results and what ncu recorded.
#
# Environment:
#   REARM_DEPS            that folder; empty: the packages are installed
#   REARM_PARITY_DIR      reference numbers (REARM_DEPS/shared/parity or ../shared/parity)
#   REARM_CHECK_DATA      folder with a data set to train on for a few epochs; empty: SKIPPED
#   REARM_CHECK_BIN       folder of rearm_tests_cuda, rearm, compare_backends and rearm_benchmarks_cuda, built elsewhere
#                         (cmake --preset cuda -D REARM_NATIVE=OFF -D CMAKE_CUDA_ARCHITECTURES=90): taken where they run,
#                         which saves the build, so that everything has its turn
#   REARM_CHECK_PART      1: build, tests, what is timed; 2: what looks closer; empty: both. Each fits into ten minutes
#   REARM_CHECK_SECONDS   for everything (570): a step that would start later is SKIPPED, one that runs then is stopped
#   REARM_CHECK_SCALE     factor on the steps' own limits (1, whole), for slow machines
#   REARM_CHECK_STEPS     regular expression: of the steps after the build only those whose name it finds (all)
#   REARM_CHECK_COMMIT    what the report says it checked, where the checkout comes without git
# shellcheck disable=SC2317 # the parts below are called by name
set -uo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# package NAME VERSION TARGET INCLUDE [LIBRARY]: a CMake package below $to, its paths relative to itself.
package() {
  local folder=$to/lib/cmake/$1 kind=INTERFACE
  [[ -z ${5-} ]] || kind=SHARED
  mkdir -p "$folder"
  {
    echo "get_filename_component(root \"\${CMAKE_CURRENT_LIST_DIR}/../../..\" ABSOLUTE)"
    echo "if(NOT TARGET $3)"
    echo "  add_library($3 $kind IMPORTED)"
    echo "  set_target_properties($3 PROPERTIES INTERFACE_INCLUDE_DIRECTORIES \"\${root}/$4\")"
    if [[ -n ${5-} ]]; then
      echo "  find_package(Threads REQUIRED)"
      echo "  set_target_properties($3 PROPERTIES IMPORTED_LOCATION \"\${root}/$5\""
      echo "    INTERFACE_LINK_LIBRARIES Threads::Threads)"
    fi
    echo "endif()"
  } >"$folder/$1Config.cmake"
  printf 'set(PACKAGE_VERSION %s)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n' "$2" >"$folder/$1ConfigVersion.cmake"
}

collect() {
  set -e
  local to=$1 include=${REARM_COLLECT_INCLUDE:-/usr/include} library soname folder
  mkdir -p "$to/include/eigen3" "$to/lib" "$to/shared"
  for folder in Random123 nlohmann CLI toml++ doctest benchmark; do cp -rL "$include/$folder" "$to/include/"; done
  cp -rL "$include/eigen3/Eigen" "$to/include/eigen3/"
  library=$(readlink -f "$(g++ -print-file-name=libbenchmark.so)")
  soname=$(objdump -p "$library" | awk '$1 == "SONAME" { print $2 }')
  cp "$library" "$to/lib/$soname" # one plain file: links may be lost on the way
  package doctest 2.4 doctest::doctest include
  package nlohmann_json 3.11 nlohmann_json::nlohmann_json include
  package CLI11 2.3 CLI11::CLI11 include
  package Eigen3 3.4.0 Eigen3::Eigen include/eigen3
  package benchmark 1.7 benchmark::benchmark include "lib/$soname"
  for folder in parity parity_paper; do
    if [[ -d $root/../shared/$folder ]]; then cp -rL "$root/../shared/$folder" "$to/shared/"; fi
  done
  du -sh "$to"
}

if [[ ${1-} == --collect ]]; then
  collect "${2:?a folder to fill}"
  exit
fi

report=$(realpath -m -- "${1:-$root/build/gpu_report.md}")
logs=$root/build/gpu_check
build=$logs/build
bin=${REARM_CHECK_BIN:-$build/bin}
deps=${REARM_DEPS-}
all_seconds=${REARM_CHECK_SECONDS:-570}
scale=${REARM_CHECK_SCALE:-1}
[[ -z $deps ]] || deps=$(cd -- "$deps" && pwd) || exit 2
if [[ -n $deps && -d $deps/shared ]]; then export REARM_SHARED_DIR=${REARM_SHARED_DIR:-$deps/shared}; fi
parity=${REARM_PARITY_DIR:-${REARM_SHARED_DIR:-$root/../shared}/parity}
mkdir -p "$logs"
cd -- "$root" || exit 2
exec </dev/null
for folder in /usr/local/cuda/bin /opt/nvidia/nsight-compute/*; do
  if [[ -d $folder ]]; then PATH=$PATH:$folder; fi # compilers and tools that nobody put on the path
done
failed=0

say() { printf '%s\n' "$@" >>"$report"; }
result() { # result STATUS NAME SECONDS [REASON]
  say "" "## $1: $2 ($3 s)${4:+: $4}"
  printf '%s: %s (%s s)%s\n' "$1" "$2" "$3" "${4:+: $4}"
}

# excerpt LOG LINES: its end and, before that, where it first speaks of an error: one thing that goes wrong on a device
# takes everything after it along.
excerpt() {
  local first
  first=$(grep -nEm 1 'ERROR|FAILED|[Ee]rror:|terminate called|Traceback|Killed|[Ff]ault' "$1" | cut -d: -f1)
  if [[ -n $first ]] && ((first + $2 <= $(wc -l <"$1"))); then
    tail -n "+$((first > 5 ? first - 5 : 1))" "$1" | grep -vE '^[0-9.]+ s: ' | head -n 30 # not how long cases took
    echo '[...]'
  fi
  tail -n "$2" "$1"
}

# step NAME LIMIT COMMAND...: runs it with the limit; its last lines go to the report, all of them to $logs. Shown are
# 25 lines, or $lines. A command says with status 77 that it could not check anything. With $may_stop, to be stopped is no
# failure of what is checked: INCOMPLETE.
step() {
  local name=$1 limit=$(($2 * scale)) log=$logs/${1//[^A-Za-z0-9]/_}.log left=$((all_seconds - SECONDS)) start status
  local shown=${lines:-25}
  shift 2
  if [[ ! $name =~ ${REARM_CHECK_STEPS:-.} && $name != @(device|programs|configure|build) ]]; then
    result SKIPPED "$name" 0 'not among REARM_CHECK_STEPS'
    return 1
  fi
  if ((left < 5)); then
    result SKIPPED "$name" 0 "no time is left"
    return 1
  fi
  ((limit < left)) || limit=$left
  start=$SECONDS
  REARM_STEP_SECONDS=$limit timeout -k 5 "$limit" "$@" >"$log" 2>&1
  status=$?
  case $status in
    0) result PASS "$name" $((SECONDS - start)) ;;
    77) result SKIPPED "$name" $((SECONDS - start)) "$(tail -n 1 "$log")" ;;
    124 | 137)
      if [[ -n ${may_stop-} ]]; then
        result INCOMPLETE "$name" $((SECONDS - start)) "stopped after $limit s"
        status=77
      else
        result FAIL "$name" $((SECONDS - start)) "stopped after $limit s"
      fi
      ;;
    *) result FAIL "$name" $((SECONDS - start)) "exit status $status" ;;
  esac
  say '```'
  if ((status == 0 || status == 77)); then tail -n "$shown" "$log"; else excerpt "$log" 45; fi | cut -c1-240 >>"$report"
  say '```'
  ((status == 0 || status == 77)) && return 0
  failed=1
  return 1
}
# on_device NAME LIMIT PART...: a step that needs a device.
on_device() {
  if ((device)); then
    step "$1" "$2" bash "$root/tests/gpu_check.sh" --part "${@:3}"
  else
    result SKIPPED "$1" 0 'no device'
  fi
}

# need PROGRAM: status 77 where it was not built, which has its own line in the report.
need() {
  [[ -x $bin/$1 ]] || {
    echo "$1 was not built"
    exit 77
  }
}
device_info() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv
  nvcc --version | tail -n 2
  cmake --version | head -n 1
  g++ --version | head -n 1
  echo "$(nproc) processors"
}
# configure OPTIONS...: where nvcc came without cuBLAS and cuSPARSE, with those of python3's packages, which have no
# names to link by.
configure() {
  cmake "$@" && return
  local status=$? from library
  from=$(python3 -c 'import glob, nvidia, os
found = [f for p in nvidia.__path__ for f in glob.glob(p + "/cu*/lib/libcusparse.so.*")]
print(os.path.dirname(os.path.dirname(max(found))))') || return "$status"
  mkdir -p "$logs/libraries"
  for library in "$from"/lib/lib{cublas,cublasLt,cusparse,nvJitLink}.so.*; do
    ln -sf "$library" "$logs/libraries/"
    ln -sf "$library" "$logs/libraries/$(basename "${library%%.so.*}").so"
  done
  echo "again, with the libraries of $from"
  cmake "$@" -D "CMAKE_CUDA_FLAGS=-isystem=$from/include" -D "CUDA_cublas_LIBRARY=$logs/libraries/libcublas.so" \
    -D "CUDA_cublasLt_LIBRARY=$logs/libraries/libcublasLt.so" \
    -D "CUDA_cusparse_LIBRARY=$logs/libraries/libcusparse.so" \
    -D "CUDA_nvJitLink_LIBRARY=$logs/libraries/libnvJitLink.so"
}
# checked STATUS OUTPUT: the status of a run of the tests, given what they printed. No case at all is a failure, and
# so is a program that skips them because it does not see the device that is there.
checked() {
  local skipped cases
  if grep -q '^REARM-SKIPPED:.*no CUDA device' "$2"; then
    echo 'the program sees no CUDA device, nvidia-smi does'
    return 4
  fi
  (($1 == 0)) || return "$1"
  cases=$(sed -nE 's/.*test cases: *([0-9]+) .*/\1/p' "$2" | tail -n 1)
  if [[ -z $cases ]] || ((cases == 0)); then
    echo 'no case ran'
    return 3
  fi
  skipped=$(grep -c '^REARM-SKIPPED:' "$2")
  ((skipped == 0)) || echo "$skipped cases found nothing to check (REARM-SKIPPED)"
  ((skipped < cases)) || return 77
}
# tests FILES [UNDER...]: doctest cases of the source files.
tests() {
  local files=$1
  shift
  need rearm_tests_cuda
  "$@" "$bin/rearm_tests_cuda" --no-colors --duration=true --source-file="$files" 2>&1 | tee "$logs/tests.out"
  checked "${PIPESTATUS[0]}" "$logs/tests.out"
}
# All cases but parity's, by folder and side by side: an error that leaves a process without its device, or a case that
# hangs, costs those behind it in the same folder. A group that fails runs again with every launch waited for, so that
# the error is that of the call which names it.
all_tests() {
  local -A folders=([autodiff]='*/autodiff/*' [models]='*/models/*' [train]='*/train/*' [device]='*/device_test.cu'
    [contexts]='*/contexts_test.cu' [graphs]='*/graph_builders_test.cu')
  local names=("${!folders[@]}" others) name status failed=0
  local others="${folders[*]} */parity/*" end=$((SECONDS + REARM_STEP_SECONDS - 6))
  local seconds=$((REARM_STEP_SECONDS * 2 / 3))
  need rearm_tests_cuda
  for name in "${names[@]}"; do
    local choice=(--source-file="${folders[$name]-*}")
    [[ $name != others ]] || choice+=(--source-file-exclude="${others// /,}")
    {
      # By lines: what it printed must not be lost with a program that is stopped.
      timeout --foreground -k 2 "$seconds" stdbuf -oL "$bin/rearm_tests_cuda" --no-colors --duration=true "${choice[@]}"
      echo "$?" >"$logs/tests_$name.status"
    } >"$logs/tests_$name.out" 2>&1 &
  done
  wait
  for name in "${names[@]}"; do
    status=$(cat "$logs/tests_$name.status")
    echo "== $name, exit status $status"
    checked "$status" "$logs/tests_$name.out"
    status=$?
    if ((status == 0 || status == 77)); then
      grep -E 'test cases:|assertions:' "$logs/tests_$name.out"
    else
      failed=1
      excerpt "$logs/tests_$name.out" 15
      local choice=(--source-file="${folders[$name]-*}")
      [[ $name != others ]] || choice+=(--source-file-exclude="${others// /,}")
      seconds=$((end - SECONDS))
      if ((seconds < 3)); then continue; fi
      echo "== $name again, every launch waited for"
      CUDA_LAUNCH_BLOCKING=1 timeout --foreground -k 2 "$seconds" stdbuf -oL "$bin/rearm_tests_cuda" --no-colors \
        --abort-after=3 "${choice[@]}" >"$logs/tests_${name}_waiting.out" 2>&1
      echo "exit status $?"
      excerpt "$logs/tests_${name}_waiting.out" 15
    fi
  done
  echo 'the slowest cases:'
  cat "$logs"/tests_*.out | grep -E '^[0-9.]+ s: ' | sort -rn | head -n 5
  return "$failed"
}
parity_tests() {
  if [[ ! -d $parity ]]; then
    echo "no reference numbers in $parity"
    return 77
  fi
  REARM_PARITY_DIR=$parity tests '*/parity/*'
}
sanitized() { # sanitized TOOL FILES [OPTIONS...]
  local tool=$1 files=$2 status
  if ! command -v compute-sanitizer >/dev/null; then
    echo 'there is no compute-sanitizer'
    return 77
  fi
  shift 2
  tests "$files" compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 20 "$@" && return
  status=$?
  grep -qi 'device not supported' "$logs/tests.out" || return "$status"
  echo 'compute-sanitizer does not support the device as it is seen here'
  return 77
}
table() { # table RESULTS.json: what matters of Google Benchmark's results
  python3 - "$1" <<'PYTHON'
import json, sys
results = json.load(open(sys.argv[1]))
print(", ".join(f"{k}: {results['context'][k]}" for k in results["context"] if k in
                ("device", "dense products", "sparse products", "sgemm", "triad", "gather of 26,495 rows")))
names = "median_ms", "floor_ms", "largest_term_ms", "x_floor", "launches", "arena_MB", "device_used_MB", "train_ms", "valid_ms"
print(f"{'row':<52}" + "".join(f"{n:>15}" for n in names))
for row in results["benchmarks"]:
    print(f"{row['name']:<52}" + "".join(f"{row[n]:15.4g}" if n in row else f"{'':15}" for n in names))
sys.exit(not results["benchmarks"] or any(row.get("error_occurred") for row in results["benchmarks"]))
PYTHON
}
bench() { # bench NAME FILTER [ARGS...]
  local name=$1 filter=$2
  shift 2
  need rearm_benchmarks_cuda
  rm -f "$logs/$name.json"
  "$bin/rearm_benchmarks_cuda" --benchmark_filter="$filter" --benchmark_min_time=0.3 \
    --benchmark_out="$logs/$name.json" --benchmark_out_format=json "$@" >"$logs/$name.out" 2>&1 || {
    local status=$?
    tail -n 20 "$logs/$name.out"
    return "$status"
  }
  table "$logs/$name.json"
}
peer() { # peer NAME [ARGS...]: PyTorch beside bench's results of that name
  if ! python3 -c 'import numpy, sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo 'python3 has no PyTorch that sees the device'
    return 77
  fi
  if [[ $1 == fp32 && ! -f $logs/fp32.json ]]; then # part 2 on a fresh machine
    bench fp32 'train_step/reference/trainable/baby/' --export="$logs/shape" >/dev/null
  fi
  if [[ ! -f $logs/shape/shape.json || ! -f $logs/$1.json ]]; then
    echo 'the benchmark left nothing to compare with'
    return 77
  fi
  local out
  out=$(python3 benchmarks/peers/torch_step.py "$logs/shape" --device cuda --ours "$logs/$1.json" "${@:2}" 2>&1)
  local status=$?
  echo "$out"
  if ((status == 0)) && grep -E '^SKIPPED' <<<"$out"; then return 77; fi
  return "$status"
}
# The losses of the two backends must agree; how they drift apart epoch by epoch is for the reader.
compare() {
  need compare_backends
  "$bin/compare_backends" --synthetic "$@" | tee "$logs/compare.out"
  ((PIPESTATUS[0] == 0)) || return 1
  awk '$1 ~ /^[0-9]+$/ && NF == 6 { n++; if ($4 !~ /^[0-9.]+e-(0[3-9]|[1-9][0-9])$/ && $4 !~ /^0\.0e/) far++ }
    END { if (!n || far) print "error: losses of " n + 0 " epochs, " far + 0 " that differ by 1 % or more"
          exit !n || far }' "$logs/compare.out"
}
training() {
  if [[ -z ${REARM_CHECK_DATA-} ]]; then
    echo 'REARM_CHECK_DATA is not set'
    return 77
  fi
  need rearm
  "$bin/rearm" train "$REARM_CHECK_DATA" --backend cuda --epochs 5 --out "$logs/run" --overwrite
}
profile() { # the kernels of a step and a bit, the largest by time
  if ! command -v ncu >/dev/null; then
    echo 'there is no ncu'
    return 77
  fi
  need rearm_benchmarks_cuda
  rm -f "$logs/ncu.csv"
  # The kernels of a replayed graph one by one. All these metrics come from a single pass on sm_90: nothing is run
  # again, so caches are as the step leaves them.
  ncu --clock-control none --cache-control none --graph-profiling node --profile-from-start off --launch-count 350 \
    --kill yes --csv --print-units base --log-file "$logs/ncu.csv" --metrics "gpu__time_duration.sum,\
gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed,sm__inst_issued.avg.pct_of_peak_sustained_elapsed,\
sm__inst_executed_pipe_fma.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active,\
launch__registers_per_thread" \
    "$bin/rearm_benchmarks_cuda" --benchmark_filter='train_step/reference/trainable/baby/' --benchmark_min_time=0.01
  [[ -s $logs/ncu.csv ]] || return 1
  python3 - "$logs/ncu.csv" <<'PYTHON' # ncu ends a program that it kills with a status of its own
import collections, csv, sys
launches = collections.defaultdict(dict)
lines = [line for line in open(sys.argv[1]) if line.startswith('"')]
for row in csv.DictReader(lines):
    if row["ID"].isdigit():
        launches[row["ID"], row["Kernel Name"]][row["Metric Name"]] = (row["Metric Value"], row["Metric Unit"])
if not launches:
    last = "".join(open(sys.argv[1]).readlines()[-3:])
    print("ncu recorded no kernel: " + " ".join(last.split()))
    sys.exit(77 if "Failed to initialize the profiler" in last or "ERR_NVGPUCTRPERM" in last else 1)
scale = {"ns": 1e-3, "nsecond": 1e-3, "us": 1, "usecond": 1, "ms": 1e3, "msecond": 1e3, "second": 1e6, "s": 1e6}
def microseconds(metrics):
    value, unit = metrics["gpu__time_duration.sum"]
    return float(value.replace(",", "")) * scale[unit]
total, longest, count = collections.Counter(), {}, collections.Counter()
for (_, name), metrics in launches.items():
    total[name] += microseconds(metrics)
    count[name] += 1
    if name not in longest or microseconds(metrics) > microseconds(longest[name]):
        longest[name] = metrics
print(f"{len(launches)} launches, {sum(total.values()):.0f} us; the three largest and their longest launch:")
largest = total.most_common(20)
for name, time in largest[:3]:
    print(f"{time:.0f} us in {count[name]} launches: {name[:160]}")
    for metric, (value, unit) in sorted(longest[name].items()):
        print(f"    {metric} {value} {unit}")
print("and the next:")
for name, time in largest[3:]:
    print(f"{time:6.0f} us in {count[name]:3} launches: {name[:120]}")
PYTHON
}
if [[ ${1-} == --part ]]; then
  shift
  "$@"
  exit
fi

mkdir -p "$(dirname -- "$report")"
rm -f "$logs"/*.log "$logs"/*.out "$logs"/*.status
: >"$report"
commit=${REARM_CHECK_COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
say "# GPU check" "" "$(date -u +%Y-%m-%dT%H:%MZ), commit $commit"
device=0
architecture=90
if command -v nvidia-smi >/dev/null && [[ $(nvidia-smi -L 2>&1) == *'GPU '* ]]; then
  device=1
  architecture=native
  on_device 'device' 30 device_info
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
  if [[ $capability =~ ^[0-9]{2,3}$ ]]; then architecture=$capability; fi
else
  result SKIPPED 'device' 0 'no device'
fi

programs=(rearm_tests_cuda rearm_program compare_backends rearm_benchmarks_cuda)
if [[ -n ${REARM_CHECK_BIN-} ]] && bin=$(cd -- "$REARM_CHECK_BIN" && pwd) && export REARM_CHECK_BIN=$bin &&
  step 'programs' 60 "$bin/rearm_tests_cuda" --list-test-cases --no-intro; then
  echo "taking the programs in $bin"
else
  unset REARM_CHECK_BIN
  bin=$build/bin
  configure=(--preset cuda -B "$build" -D "CMAKE_CUDA_ARCHITECTURES=$architecture" -D REARM_INSTALL=OFF -D REARM_TEST_UNITY=OFF)
  [[ -z $deps ]] || configure+=(-D "CMAKE_PREFIX_PATH=$deps")
  rm -rf "$build/CMakeCache.txt" "${programs[@]/#/$bin/}" "$bin/rearm" # none of an earlier build is to be checked
  step 'configure' 90 bash "$root/tests/gpu_check.sh" --part configure "${configure[@]}"
  # One program that does not build must not keep the others from being made.
  step 'build' 330 cmake --build "$build" --parallel "$(nproc)" --target "${programs[@]}" -- -k 0
fi

part=${REARM_CHECK_PART:-12}
if [[ $part == *1* ]]; then
  rm -f "$logs"/*.json
  on_device 'tests' 180 all_tests
  on_device 'parity' 60 parity_tests
  on_device 'compare_backends, generated data' 60 compare --users 10000
  on_device 'benchmarks' 120 bench fp32 \
    '(train_step/reference/(trainable|trainable-bfloat16|residual)|epoch/reference/trainable|evaluate|graph_build)/baby/' \
    --export="$logs/shape"
  on_device 'benchmarks, TF32 and cuSPARSE' 60 bench tf32 'train_step/reference/trainable/baby/' --tf32 --no-deterministic
  on_device 'benchmarks, one chain' 45 bench chain 'train_step/reference/trainable/baby/' --one-chain
  lines=40 on_device 'operators' 60 bench operators 'op/'
  on_device 'PyTorch' 60 peer fp32 --no-compile
  on_device 'PyTorch, TF32' 60 peer tf32 --tf32 --no-compile
fi
if [[ $part == *2* ]]; then
  lines=60 on_device 'profile' 75 profile
  on_device 'PyTorch, compiled' 120 peer fp32
  on_device 'compare_backends, TF32 and cuSPARSE' 45 compare --tf32 --no-deterministic
  on_device 'training' 60 training
  # Our kernels alone: those of the libraries take long, and what is said of them is not for us to mend. What fails on
  # purpose (cuGetProcAddress, by the libraries) is no error of ours; our own calls are all checked.
  may_stop=1 on_device 'memcheck' 150 sanitized memcheck '*/ops/*,*/eval/*,*/optim/*' --report-api-errors no \
    --kernel-name kns=rearm
  may_stop=1 on_device 'racecheck' 90 sanitized racecheck '*/ops/normalize*,*/ops/losses*,*/ops/sparse*,*/optim/*' \
    --kernel-name kns=rearm
fi

say "" "$SECONDS s in all; $( ((failed)) && echo 'something FAILED' || echo 'nothing failed')"
find "$logs" -maxdepth 1 -type f -printf '%f\n' | tar -czf "${report%.md}_logs.tgz" -C "$logs" -T -
echo "$report"
exit "$failed"
