#!/usr/bin/env python3
"""commands.py SOURCE BUILD WORK: runs every line of the ```sh blocks of README.md, CONTRIBUTING.md and docs/ in a copy of SOURCE in
WORK (which is written over), with the programs that are built in BUILD.

What stands for a folder in the text is replaced by a small data set, long trainings are cut off after an epoch, and what CMake and
ctest would do is looked up, not done. Lines that need more than that are listed in SKIPPED, with the reason; any other line that
fails, fails the test.
"""
import array
import glob
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "docs/site"))
from pages import blocks  # noqa: E402

SKIPPED = [
    (r"^git clone ", "the address is the reader's"),
    (r"^\./run test\b", "CI runs it"),
    (r"^bash \.ci/run\b", "it is what runs this"),
    (r"^\./run docs\b", "a step of CI"),
    (r"\brearm_benchmarks\b|^\./run bench\b", "benchmarks take minutes; their flags are looked up"),
    (r"\bcuda\b|^tests/gpu_check\.sh", "needs the CUDA Toolkit or a GPU"),
    (r"^g\+\+ .*emulated_cuda|^\./compare ", "minutes of compiling"),
    (r"^tests/reliability/", "minutes to hours"),
    (r"^tests/fuzz/|rearm_fuzz", "a step of CI"),
    (r"^tensorboard\b", "a program of others"),
    (r"plot_(scaling|models)\.py", "needs matplotlib; check.py compares the tables"),
]
# What stands for something in the text: a folder, a file, a model.
PLACEHOLDERS = [
    (r"path/to/prefix\b", "prefix"),
    (r"path/to/tiktok\b|\bTIKTOK\b", "small/tiktok"),
    (r"path/to/(folder|baby)\b|\bBABY(4096)?\b|\bDIR\b", "small/baby"),
    (r"\bMODEL\b", "light_gcn"),
    (r"random_pairs\.py 100000 50000", "random_pairs.py 200 100"),
]
USERS = ["A1KKE3VV5RKV6", "A2IDCSC6NVONIZ"] + [f"U{n}" for n in range(62)]
ITEMS = ["B000056OV0"] + [f"I{n:09}" for n in range(39)]


def write_npy(path, shape, values, dtype):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        f.write(array.array({"<i8": "q", "<f4": "f"}[dtype], values).tobytes())


def noise(n, seed):
    """Numbers that look random."""
    return [((i * 7919 + seed * 104729) * 2654435761 % 2**32) / 2**32 - 0.5 for i in range(n)]


def write_sources():
    """Amazon's files of each category, by the names that the text has, a table, and folders of pairs."""
    reviews = [
        {"reviewerID": USERS[u], "asin": ITEMS[(u * 7 + k * (3 + u % 5)) % len(ITEMS)], "overall": 5.0, "unixReviewTime": 1000 * u + k}
        for u in range(len(USERS))
        for k in range(12)
    ]
    for category in ("Baby", "Sports_and_Outdoors", "Clothing_Shoes_and_Jewelry"):
        with gzip.open(f"reviews_{category}_5.json.gz", "wt") as f:
            f.writelines(json.dumps(review) + "\n" for review in reviews)
        with open(f"image_features_{category}.b", "wb") as f:
            for i, item in enumerate(ITEMS):
                f.write(item.encode() + array.array("f", noise(4096, i)).tobytes())
    with open("ratings.csv", "w", encoding="utf-8") as f:
        f.writelines(["user,item,rating,timestamp\n", *("{reviewerID},{asin},{overall},{unixReviewTime}\n".format(**r) for r in reviews)])
    pairs = sorted({(USERS.index(r["reviewerID"]), ITEMS.index(r["asin"])) for r in reviews})
    for folder, modalities, gap in (("small/tiktok", ("image", "audio"), 1), ("data/shop", ("image",), 3), ("data/tiktok", ("image", "audio"), 1)):
        os.makedirs(folder)
        for split, at in (("valid", 0), ("test", 1), ("train", None)):
            chosen = [p for n, p in enumerate(pairs) if (n % 6 == at if at is not None else n % 6 > 1)]
            write_npy(f"{folder}/{split}.npy", (2, len(chosen)), [u * gap for u, _ in chosen] + [i for _, i in chosen], "<i8")
        for m, modality in enumerate(modalities):
            write_npy(f"{folder}/{modality}_feat.npy", (len(ITEMS), 8), noise(8 * len(ITEMS), m), "<f4")
    run("rearm prepare reviews_Baby_5.json.gz --features image=image_features_Baby.b --out small/baby")
    with open("small/baby/items.tsv", encoding="utf-8") as f:
        n = len(f.readlines()) - 1
    write_npy("small/baby/text_feat.npy", (n, 8), noise(8 * n, 99), "<f4")
    with open("short.toml", "w", encoding="utf-8") as f:
        f.write("[train]\nepochs = 1\n")


CMAKE = r"""#!/bin/sh
# The build is there: presets are looked up, and installed is what was built.
case $1 in
--install) shift 2 && exec "$REAL_CMAKE" --install "$BUILD" "$@" ;;
esac
for word; do
  if [ "${before-}" = --preset ] && ! grep -q "\"name\": \"$word\"" CMakePresets.json; then
    echo "CMakePresets.json has no preset $word" >&2
    exit 1
  fi
  before=$word
done
"""
CTEST = r"""#!/bin/sh
# ctest --preset NAME ...: there is such a preset, and it has such tests.
grep -q "\"name\": \"$2\"" CMakePresets.json || exit 1
shift 2
"$REAL_CTEST" --test-dir "$LISTED_TESTS" -N "$@" | grep 'Total Tests: [1-9]'
"""


def run(command):
    """Its output where it fails."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"status {done.returncode}\n{done.stdout.decode(errors='replace')[-3000:]}")


def ready(command):
    """The command as it can be run here."""
    for pattern, value in PLACEHOLDERS:
        command = re.sub(pattern, value, command)
    command = re.sub(r"\brearm reproduce .*", r"\g<0> --config short.toml", command)
    train = re.search(r"(?:\./run|\brearm) train(?: ([^-&|;\s]\S*))?", command)
    if train:
        epochs = "--epochs 2" if "--resume" in command else "--epochs 1"
        command = re.sub(r"--epochs \d+", epochs, command)
        if "--epochs" not in command:
            more = f" {epochs}" if train[1] else f" --synthetic {epochs}"
            command = command[: train.end()] + more + command[train.end() :]
    return command


def check_flags(command, source):
    for flag in re.findall(r" --([a-z][\w-]*)", command):
        if not flag.startswith("benchmark_") and f"--{flag}" not in source:
            raise RuntimeError(f"neither benchmarks/main.cpp nor ./run knows --{flag}")


def configure(project):
    run(f"! $REAL_CMAKE -S {project} -B {project}/build -G Ninja -D CMAKE_PREFIX_PATH=$PWD/prefix 2>&1 | tee log | grep -i warning")
    run("grep 'Generating done' log")


def check_cmake_lines():
    """README's CMake lines configure, in each of its three ways, with a build type; the last by what was installed before. So do those
    of a program of one's own model."""
    found = list(blocks("README.md"))
    head, *ways, end = [text for _, language, text in found if language == "cmake"]
    if len(ways) != 3:
        raise RuntimeError(f"{len(ways)} ways to use rearm from CMake instead of three")
    for n, way in enumerate(ways):
        project = f"consumer{n}"
        os.makedirs(f"{project}/third_party")
        os.symlink(os.getcwd(), f"{project}/third_party/rearm")
        way = re.sub(r"GIT_REPOSITORY <.*?> GIT_TAG <.*?>", "SOURCE_DIR ${CMAKE_SOURCE_DIR}/third_party/rearm", way)
        for name, text in (("CMakeLists.txt", [head, way, end]), ("main.cpp", [t for _, l, t in found if l == "cpp"])):
            with open(f"{project}/{name}", "w", encoding="utf-8") as f:
                f.write("\n".join(text) + "\n")
        configure(project)
    os.makedirs("own_model")
    os.symlink(os.getcwd(), "own_model/rearm")
    shutil.copy("examples/custom_model.cpp", "own_model/my_model.cpp")
    (lines,) = [text for _, language, text in blocks("docs/a_model_of_your_own.md") if language == "cmake"]
    with open("own_model/CMakeLists.txt", "w", encoding="utf-8") as f:
        f.write(lines)
    configure("own_model")


def prepare_tree(source, build, work):
    shutil.rmtree(work, ignore_errors=True)
    tree = f"{work}/tree"
    left_out = shutil.ignore_patterns(".git", "__pycache__")
    top = {"build", "out", "shared"}
    shutil.copytree(source, tree, symlinks=True, ignore=lambda d, names: left_out(d, names) | (top & set(names) if os.path.samefile(d, source) else set()))
    os.makedirs(f"{tree}/build/release")
    os.symlink(f"{build}/bin", f"{tree}/build/release/bin")
    listed = f"{work}/tests"
    os.makedirs(f"{listed}/tests")
    for file in ("CTestTestfile.cmake", "tests/CTestTestfile.cmake"):
        shutil.copy(f"{build}/{file}", f"{listed}/{file}")
    shims = f"{work}/bin"
    os.makedirs(shims)
    for name, text in (("cmake", CMAKE), ("ctest", CTEST)):
        os.environ["REAL_" + name.upper()] = shutil.which(name)
        with open(f"{shims}/{name}", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(f"{shims}/{name}", 0o755)
    os.environ.update(BUILD=build, LISTED_TESTS=listed, PATH=f"{shims}:{build}/bin:{os.environ['PATH']}")
    os.chdir(tree)


def main(source, build, work):
    source, build, work = map(os.path.abspath, (source, build, work))
    prepare_tree(source, build, work)
    write_sources()
    with open("benchmarks/main.cpp", encoding="utf-8") as main_cpp, open("run", encoding="utf-8") as script:
        flags = main_cpp.read() + script.read()
    ran, failed, skipped = 0, 0, []
    for path in ["README.md", "CONTRIBUTING.md", *sorted(glob.glob("docs/**/*.md", recursive=True))]:
        shutil.rmtree("out", ignore_errors=True)
        for line, language, text in blocks(path):
            commands = []
            if language == "sh":
                commands = [c for c in re.sub(r"\\\n\s*", " ", text).splitlines() if c.strip()]
            elif language == "toml" and "[sweep]" in text:
                with open("whole_sweep.toml", "w", encoding="utf-8") as f:
                    f.write(text)
                program = "custom_model" if "my_model" in text else "rearm"
                commands = [f"{program} sweep whole_sweep.toml small/baby --dry-run"]
                for pattern, value in (("trials = .*", "trials = 2"), ("seeds = .*", "seeds = [2025]"), ("epochs = .*", "epochs = 1")):
                    text = re.sub(rf"(?m)^{pattern}", value, text)
                with open("sweep.toml", "w", encoding="utf-8") as f:
                    f.write(text)
            elif language == "toml":  # a settings file
                with open("settings.toml", "w", encoding="utf-8") as f:
                    f.write(text)
                commands = ["rearm train small/baby --config settings.toml --out out/settings"]
            for command in commands:
                command = re.sub(r"\s+#.*", "", command).strip()
                reason = next((why for pattern, why in SKIPPED if re.search(pattern, command)), None)
                began = time.monotonic()
                try:
                    if reason:
                        skipped.append(f"{path}:{line}: {command}: {reason}")
                        if "benchmarks" in reason:
                            check_flags(command, flags)
                        continue
                    out = re.search(r"\bprepare\b.* --out (\S+)", command)
                    if out and "--overwrite" not in command:  # as the first time
                        shutil.rmtree(out[1], ignore_errors=True)
                    run(ready(command))
                    ran += 1
                    print(f"{time.monotonic() - began:6.2f} s  {path}:{line}: {ready(command)}", flush=True)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    failed += 1
                    print(f"FAILED  {path}:{line}: {command}\n    as {ready(command)}\n    {error}", flush=True)
    try:
        check_cmake_lines()
    except RuntimeError as error:
        failed += 1
        print(f"FAILED  CMake lines: {error}")
    print("\n".join(["skipped:", *skipped]))
    print(f"{ran} commands ran, {failed} failed, {len(skipped)} were skipped")
    if ran < 30:
        print("FAILED  too few commands were found")
    return 1 if failed or ran < 30 else 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
