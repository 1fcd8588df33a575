#!/usr/bin/env python3
"""Counts, from the machine code, what one thread of each kernel executes. Nothing runs, and no time follows from it.

  count_instructions.py OBJECT [KERNEL] [--trips N,N,...] [--branches CHOICES] [--cuobjdump PROGRAM] [--path]

OBJECT is an object, a cubin or a program that nvcc made for one architecture, with its registers and code; KERNEL a
regular expression for demangled names. cuobjdump is part of the CUDA Toolkit; where that came without, the wheel
nvidia-cuda-cuobjdump of the package index has it.

Counted is one path from the entry to the end. It goes through a loop as often as --trips says, the loops in the order
of their ends (1), past what a short forward branch skips if that holds a call (rare cases of divisions and roots), and
otherwise on to the next instruction. --branches says otherwise: a letter for each remaining conditional branch that the
path meets for the first time, t(aken) or n(ot), n for those behind the last letter. --path shows the branches met.
"""
import argparse
import collections
import re
import shutil
import subprocess
import sys

LINE = re.compile(r"^\s+/\*([0-9a-f]{4,6})\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
RARE = 16  # instructions at most around the call of a rare case
BYTES = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def kernels(cuobjdump, path):
    """(name, registers, bytes of shared memory, [(address, predicate, operation, operands)]) of each kernel"""
    usage = dict(re.findall(r"Function (\S+):\n\s*(REG.*)", run(cuobjdump, "-res-usage", path)))
    for part in re.split(r"^\s*Function : ", run(cuobjdump, "-sass", path), flags=re.M)[1:]:
        name, _, code = part.partition("\n")
        lines = [m.groups() for m in map(LINE.match, code.splitlines()) if m]
        demangled = run("c++filt", name.strip()).strip() if shutil.which("c++filt") else name.strip()
        registers, shared = re.search(r"REG:(\d+).*SHARED:(\d+)", usage[name.strip()]).groups()
        yield demangled, registers, shared, [(int(a, 16), p or "", o, x) for a, p, o, x in lines]


def walk(code, trips, choices, met):
    """The operations of one path."""
    at = {address: i for i, (address, *_) in enumerate(code)}
    rest, chosen, i = {}, {}, 0
    trips, choices = iter(trips), iter(choices)
    while True:
        address, predicate, operation, operands = code[i]
        yield operation
        name = operation.split(".")[0]
        if name == "EXIT" and not predicate:
            return
        target = re.search(r"(0x[0-9a-f]+)", operands) if name == "BRA" else None
        if target is None:
            i += 1
            continue
        there = at[int(target[1], 16)]
        conditional = predicate or "P" in operands.split("0x")[0]
        if there <= i:
            rest.setdefault(address, next(trips, 1) - 1)
            taken, rest[address] = rest[address] > 0, rest[address] - 1
        elif not conditional:
            taken = True
        elif there - i <= RARE and any(o.startswith("CALL") for _, _, o, _ in code[i:there]):
            taken = True
        else:
            if address not in chosen:
                chosen[address] = next(choices, "n")
                met.append(f"{address:#x} to {code[there][0]:#x}: {chosen[address]}")
            taken = chosen[address] == "t"
        i = there if taken else i + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("object")
    parser.add_argument("kernel", nargs="?", default=".")
    parser.add_argument("--trips", default="")
    parser.add_argument("--branches", default="")
    parser.add_argument("--cuobjdump", default="cuobjdump")
    parser.add_argument("--path", action="store_true")
    args = parser.parse_args()
    trips = [int(n) for n in args.trips.split(",") if n]
    found = False
    print(f"{'instructions':>12}{'load B':>8}{'store B':>8}{'fma':>6}{'mma':>6}{'shared':>7}{'mufu':>6}{'regs':>6}  kernel")
    for name, registers, _, code in kernels(args.cuobjdump, args.object):
        if not re.search(args.kernel, name):
            continue
        found, met = True, []
        counts, moved = collections.Counter(), collections.Counter()
        for operation in walk(code, trips, args.branches, met):
            kind, *suffixes = operation.split(".")
            counts[kind] += 1
            if kind in ("LDG", "STG"):
                moved[kind] += next((BYTES[s] for s in suffixes if s in BYTES), 4)
        short = re.sub(r"\(.*", "", re.sub(r"rearm::abi_\w+::", "", name))
        print(f"{sum(counts.values()) - counts['NOP']:12}{moved['LDG']:8}{moved['STG']:8}{counts['FFMA'] + counts['DFMA']:6}"
              f"{counts['HMMA'] + counts['DMMA']:6}{counts['LDS'] + counts['STS']:7}{counts['MUFU']:6}{registers:>6}  {short}")
        if args.path:
            print("\n".join(met))
    sys.exit(not found)


if __name__ == "__main__":
    main()
