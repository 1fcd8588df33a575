#!/usr/bin/env python3
"""Table, fitted exponents and plot of `./run bench --scaling --benchmark_out=RESULTS.json`.

  plot_scaling.py RESULTS.json [PLOT.svg]        needs numpy; matplotlib for the plot
"""
import json
import sys

import numpy as np

runs = [run for run in json.load(open(sys.argv[1]))["benchmarks"] if "users" in run]
users = np.array([run["users"] for run in runs])
columns = {"step, ms": [run["median_ms"] for run in runs], "peak memory, MB": [run["process_peak_MB"] for run in runs]}
print("| users | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
for i, n in enumerate(users):
    print(f"| {n:,.0f} | " + " | ".join(f"{values[i]:,.0f}" for values in columns.values()) + " |")
large = users >= 1e5
for name, values in columns.items():
    if large.sum() > 1:
        exponent = np.polyfit(np.log(users[large]), np.log(np.array(values)[large]), 1)[0]
        print(f"{name}: grows with exponent {exponent:.2f} from {users[large][0]:,.0f} users on")
if len(sys.argv) > 2:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
    for axis, (name, values) in zip(axes, columns.items()):
        axis.loglog(users, values, "o-")
        axis.loglog(users, values[0] * users / users[0], "--", color="grey", label="linear")
        axis.set_xlabel("users")
        axis.set_ylabel(name)
        axis.legend()
        axis.grid(True, which="both", alpha=0.3)
    figure.tight_layout()
    figure.savefig(sys.argv[2])
