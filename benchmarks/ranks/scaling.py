#!/usr/bin/env python3
"""scaling.py PROGRAM [--ranks 1,2] [--users 20000,50000,100000] [--epochs 1]: steps of LightGCN by several ranks on this machine.

PROGRAM is `rearm`, built with MPI. Data are random: ten train pairs a user, a tenth as many items as users, the worst case for
what ranks must send. Every rank has one thread. Prints what was measured, fits

    seconds = (seconds of one rank) / R + bytes sent / bandwidth + latency

to the runs of several ranks, compares the bytes with what they should be on average, and predicts larger data on more machines.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

WIDTH, LAYERS, BATCH, PAIRS = 64, 3, 4096, 10
ROW = 4 * WIDTH  # bytes


def expected_bytes(users, items, ranks):
    """What a rank sends in a step. In each layer, forward and backward, the rows of others that each rank's block reads; in the
    first backward those of them alone that the batch names. The initial and the propagated rows at each rank's positions of the
    batch, and their gradients back."""
    others = 1 - 1 / ranks
    user_read, item_read = 1 - others**PAIRS, -math.expm1(-PAIRS * users / (ranks * items))

    def distinct(batch):
        return users * -math.expm1(-batch / users), items * -math.expm1(-2 * batch / items)

    batch_users, batch_items = distinct(BATCH)
    layers = (2 * LAYERS - 1) * (users * user_read + items * item_read) + batch_users * user_read + batch_items * item_read
    return (layers + 4 * sum(distinct(BATCH / ranks))) * others * ROW


def measure(program, folder, users, ranks, epochs):
    data = os.path.join(folder, str(users))
    if not os.path.exists(data):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "serving", "random_pairs.py")
        subprocess.run([sys.executable, script, str(users), str(users // 10), data], check=True)
    out = os.path.join(folder, f"{users}-{ranks}")
    launcher = ["mpirun", "-n", str(ranks), "--oversubscribe"] + (["--allow-run-as-root"] if os.geteuid() == 0 else [])
    command = [program, "train", data, "--model", "light_gcn", "--epochs", str(epochs), "--batch-size", str(BATCH)]
    command += ["--n-layers", str(LAYERS), "--threads", "1", "--negatives", "exclude_train", "--out", out]
    run = subprocess.run((launcher if ranks > 1 else []) + command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}: {run.stdout}{run.stderr}")
    with open(os.path.join(out, "result.json")) as f:
        result = json.load(f)
    return result["step_seconds_median"], result.get("step_bytes_sent", 0), result["peak_rss_bytes"]


def fit(rows):
    """Bandwidth and latency of least squares: rows of (bytes, seconds beside the computation)."""
    n = len(rows)
    mean_x, mean_y = sum(x for x, _ in rows) / n, sum(y for _, y in rows) / n
    slope = sum((x - mean_x) * (y - mean_y) for x, y in rows) / sum((x - mean_x) ** 2 for x, _ in rows)
    return 1 / slope, mean_y - slope * mean_x


def numbers(text):
    return [int(x) for x in text.split(",")]


parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--ranks", type=numbers, default=[1, 2])
parser.add_argument("--users", type=numbers, default=[20000, 50000, 100000])
parser.add_argument("--epochs", type=int, default=1)
args = parser.parse_args()
if len(args.users) < 2 or max(args.ranks) < 2:
    parser.error("a fit needs two sizes and more than one rank")
alone, beside = {}, []
print("| users | ranks | seconds a step | sent by rank 0, MB | expected, MB | peak of rank 0, MB |\n|" + "---|" * 6)
with tempfile.TemporaryDirectory() as folder:
    for users in args.users:
        for ranks in sorted({1, *args.ranks}):
            seconds, sent, peak = measure(args.program, folder, users, ranks, args.epochs)
            expected = expected_bytes(users, users // 10, ranks) if ranks > 1 else 0
            print(f"| {users:,} | {ranks} | {seconds:.4f} | {sent / 1e6:.1f} | {expected / 1e6:.1f} | {peak / 1e6:.0f} |", flush=True)
            if ranks == 1:
                alone[users] = seconds
            else:
                beside.append((sent, seconds - alone[users] / ranks))
bandwidth, latency = fit(beside)
print(f"\nfitted: bandwidth {bandwidth / 1e9:.2f} GB/s, latency {1e3 * latency:.1f} ms a step\n")
largest = max(alone)
users, items = 10**7, 10**6
whole = alone[largest] * users / largest
print(f"*Predicted*, {users:,} users, {items:,} items, {PAIRS} pairs a user; one rank with one such thread a machine; {whole:.1f} s a step by one:\n")
print("| machines | sent by each, GB | seconds a step at 25 Gbit/s | at 100 Gbit/s |\n|---|---|---|---|")
for ranks in (4, 16, 64):
    sent = expected_bytes(users, items, ranks)
    cells = [f"{whole / ranks + sent / (gbit * 1e9 / 8) + max(latency, 0):.2f}" for gbit in (25, 100)]
    print(f"| {ranks} | {sent / 1e9:.2f} | " + " | ".join(cells) + " |")
