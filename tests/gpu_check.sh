#!/usr/bin/env bash
# Builds and checks the CUDA backend on a machine with an NVIDIA GPU, and writes one report.
#
#   tests/gpu_check.sh [REPORT]         default: build/gpu_report.md; exit status 1 when any step failed
#   tests/gpu_check.sh --collect DIR    on a machine that has the packages: fill DIR with what the other one needs
#
# Needed there: a GPU with its driver, the CUDA toolkit (12.4 or newer), cmake 3.25, ninja, g++ and python3; no network.
# PyTorch (with numpy) for python3, compute-sanitizer and ncu are used where they are. Without a GPU everything is
# built, for sm_90, and the rest SKIPPED. What else has to come along is --collect's DIR, about 13 MB:
#   include/        Random123, nlohmann, CLI, doctest, benchmark, eigen3/Eigen (no BLAS is carried)
#   lib/            Google Benchmark's shared library; lib/cmake/*: packages that point to all these
#   shared/         parity and parity_paper, where ../shared has them
# Carry DIR with the checkout, for instance as build/deps, and set REARM_DEPS to it.
#
# Environment:
#   REARM_DEPS            that folder; empty: the packages are installed
#   REARM_PARITY_DIR      reference numbers (REARM_DEPS/shared/parity or ../shared/parity)
#   REARM_CHECK_DATA      folder with a data set to train on for a few epochs; empty: SKIPPED
#   REARM_CHECK_SECONDS   for everything (570): a step that would start later is SKIPPED, one that runs then is stopped
#   REARM_CHECK_SCALE     factor on the steps' own limits (1), for slow machines
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
  for folder in Random123 nlohmann CLI doctest benchmark; do cp -rL "$include/$folder" "$to/include/"; done
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
bin=$build/bin
deps=${REARM_DEPS-}
all_seconds=${REARM_CHECK_SECONDS:-570}
scale=${REARM_CHECK_SCALE:-1}
[[ -z $deps ]] || deps=$(cd -- "$deps" && pwd) || exit 2
if [[ -n $deps && -d $deps/shared ]]; then export REARM_SHARED_DIR=${REARM_SHARED_DIR:-$deps/shared}; fi
parity=${REARM_PARITY_DIR:-${REARM_SHARED_DIR:-$root/../shared}/parity}
mkdir -p "$logs"
cd -- "$root" || exit 2
exec </dev/null
failed=0

say() { printf '%s\n' "$@" >>"$report"; }
result() { # result STATUS NAME SECONDS [REASON]
  say "" "## $1: $2 ($3 s)${4:+: $4}"
  printf '%s: %s (%s s)%s\n' "$1" "$2" "$3" "${4:+: $4}"
}

# step NAME LIMIT COMMAND...: runs it with the limit; its last lines go to the report, all of them to $logs. Shown are
# 25 lines, or $lines. A command says with status 77 that it could not check anything.
step() {
  local name=$1 limit=$(($2 * scale)) log=$logs/${1//[^A-Za-z0-9]/_}.log left=$((all_seconds - SECONDS)) start status
  local shown=${lines:-25}
  shift 2
  if ((left < 5)); then
    result SKIPPED "$name" 0 "no time is left"
    return 1
  fi
  ((limit < left)) || limit=$left
  start=$SECONDS
  timeout -k 5 "$limit" "$@" >"$log" 2>&1
  status=$?
  case $status in
    0) result PASS "$name" $((SECONDS - start)) ;;
    77) result SKIPPED "$name" $((SECONDS - start)) "$(tail -n 1 "$log")" ;;
    124 | 137) result FAIL "$name" $((SECONDS - start)) "stopped after $limit s" ;;
    *) result FAIL "$name" $((SECONDS - start)) "exit status $status" ;;
  esac
  say '```'
  ((status == 0 || status == 77)) || shown=60
  tail -n "$shown" "$log" | cut -c1-240 >>"$report"
  say '```'
  ((status == 0 || status == 77)) && return 0
  failed=1
  return 1
}
# on_device NAME LIMIT PART...: a step that needs a device.
on_device() {
  if ((device)); then
    step "$1" "$2" "$root/tests/gpu_check.sh" --part "${@:3}"
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
# tests FILES [UNDER...]: doctest cases of the source files; none at all is a failure.
tests() {
  local files=$1 out
  shift
  need rearm_tests_cuda
  "$@" "$bin/rearm_tests_cuda" --no-colors --source-file="$files" 2>&1 | tee "$logs/tests.out"
  local status=${PIPESTATUS[0]}
  ((status == 0)) || return "$status"
  out=$(grep -c '^REARM-SKIPPED:' "$logs/tests.out")
  ! grep -q 'test cases: *0 ' "$logs/tests.out" || return 3
  ((out == 0)) || echo "$out cases found nothing to check (REARM-SKIPPED above)"
}
parity_tests() {
  if [[ ! -d $parity ]]; then
    echo "no reference numbers in $parity"
    return 77
  fi
  REARM_PARITY_DIR=$parity tests '*/parity/*'
}
sanitized() { # sanitized TOOL FILES
  if ! command -v compute-sanitizer >/dev/null; then
    echo 'there is no compute-sanitizer'
    return 77
  fi
  tests "$2" compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 && return
  local status=$?
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
names = "median_ms", "floor_ms", "x_floor", "launches", "arena_MB", "device_used_MB", "train_ms", "valid_ms"
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
  "$bin/rearm_benchmarks_cuda" --benchmark_filter="$filter" --benchmark_min_time=0.3 \
    --benchmark_out="$logs/$name.json" --benchmark_out_format=json "$@" >"$logs/$name.out" 2>&1 || {
    local status=$?
    tail -n 20 "$logs/$name.out"
    return "$status"
  }
  table "$logs/$name.json"
}
peer() { # peer NAME [ARGS...]: PyTorch beside bench's results of that name
  if ! python3 -c 'import numpy, sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo 'python3 has no PyTorch that sees the device'
    return 77
  fi
  if [[ ! -f $logs/shape/shape.json || ! -f $logs/$1.json ]]; then
    echo 'the benchmark left nothing to compare with'
    return 77
  fi
  python3 benchmarks/peers/torch_step.py "$logs/shape" --device cuda --ours "$logs/$1.json" "${@:2}"
}
compare() {
  need compare_backends
  "$bin/compare_backends" --synthetic "$@"
}
training() {
  if [[ -z ${REARM_CHECK_DATA-} ]]; then
    echo 'REARM_CHECK_DATA is not set'
    return 77
  fi
  need train_amazon
  "$bin/train_amazon" "$REARM_CHECK_DATA" --backend cuda --epochs 5 --out "$logs/run" --overwrite
}
profile() { # the kernels of about one step, the three largest by time
  if ! command -v ncu >/dev/null; then
    echo 'there is no ncu'
    return 77
  fi
  need rearm_benchmarks_cuda
  rm -f "$logs/ncu.csv"
  ncu --clock-control none --profile-from-start off --launch-count 350 --kill yes --csv --log-file "$logs/ncu.csv" \
    --metrics "gpu__time_duration.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed,\
gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active,\
launch__registers_per_thread" \
    "$bin/rearm_benchmarks_cuda" --benchmark_filter='train_step/reference/trainable/baby/' --benchmark_min_time=0.01
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
for name, time in total.most_common(3):
    print(f"{time:.0f} us in {count[name]} launches: {name[:160]}")
    for metric, (value, unit) in sorted(longest[name].items()):
        print(f"    {metric} {value} {unit}")
PYTHON
}
if [[ ${1-} == --part ]]; then
  shift
  "$@"
  exit
fi

mkdir -p "$(dirname -- "$report")"
: >"$report"
say "# GPU check" "" "$(date -u +%Y-%m-%dT%H:%MZ), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
device=0
architecture=90
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU '; then
  device=1
  architecture=native
  on_device 'device' 30 device_info
else
  result SKIPPED 'device' 0 'no device'
fi

configure=(cmake --preset cuda -B "$build" -D "CMAKE_CUDA_ARCHITECTURES=$architecture" -D REARM_INSTALL=OFF)
[[ -z $deps ]] || configure+=(-D "CMAKE_PREFIX_PATH=$deps")
programs=(rearm_tests_cuda train_amazon compare_backends rearm_benchmarks_cuda)
rm -rf "$build/CMakeCache.txt" "${programs[@]/#/$bin/}" # none of an earlier build is to be checked
step 'configure' 90 "${configure[@]}"
# One program that does not build must not keep the others from being made.
step 'build' 330 cmake --build "$build" --parallel "$(nproc)" --target "${programs[@]}" -- -k 0

on_device 'tests' 120 tests '*'
on_device 'parity' 60 parity_tests
on_device 'compare_backends, generated data' 60 compare --users 10000
on_device 'benchmarks' 120 bench fp32 \
  '(train_step/reference/(trainable|trainable-bfloat16|residual)|epoch/reference/trainable|evaluate|graph_build)/baby/' \
  --export="$logs/shape"
on_device 'benchmarks, TF32 and cuSPARSE' 60 bench tf32 'train_step/reference/trainable/baby/' --tf32 --no-deterministic
on_device 'PyTorch' 90 peer fp32
on_device 'PyTorch, TF32' 60 peer tf32 --tf32 --no-compile
on_device 'memcheck' 90 sanitized memcheck '*/ops/*,*/eval/*,*/optim/*'
on_device 'racecheck' 60 sanitized racecheck '*/ops/normalize*,*/ops/losses*,*/ops/sparse*'
on_device 'compare_backends, TF32 and cuSPARSE' 45 compare --tf32 --no-deterministic
on_device 'training' 60 training
lines=40 on_device 'profile' 75 profile

say "" "$SECONDS s in all; $( ((failed)) && echo 'something FAILED' || echo 'nothing failed')"
echo "$report"
exit "$failed"
