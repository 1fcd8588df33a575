#!/usr/bin/env python3
"""Tables, fitted exponents and plot of `./run bench --scaling --benchmark_out=RESULTS.json`.

  plot_scaling.py RESULTS.json [PLOT.svg]        needs numpy; matplotlib for the plot
"""
import json
import sys

import numpy as np

benchmarks = json.load(open(sys.argv[1]))["benchmarks"]
measured = {"step, ms": "median_ms", "peak memory, MB": "process_peak_MB"}
# What is swept, and from which size on an exponent is fitted.
sweeps = {"users": 1e5, "items": 1e5, "interactions": 2e6}
tables = {}
for swept, fit_from in sweeps.items():
    runs = [run for run in benchmarks if swept in run]
    if not runs:
        continue
    sizes = np.array([run[swept] for run in runs])
    columns = {name: np.array([run[key] for run in runs]) for name, key in measured.items()}
    tables[swept] = (sizes, columns)
    print(f"| {swept} | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    for i, n in enumerate(sizes):
        print(f"| {n:,.0f} | " + " | ".join(f"{values[i]:,.0f}" for values in columns.values()) + " |")
    large = sizes >= fit_from
    for name, values in columns.items():
        if large.sum() > 1:
            exponent = np.polyfit(np.log(sizes[large]), np.log(values[large]), 1)[0]
            print(f"{name}: grows with exponent {exponent:.2f} from {sizes[large][0]:,.0f} {swept} on")
    print()
if len(sys.argv) > 2:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(tables), figsize=(4.5 * len(tables), 6), squeeze=False)
    for column, (swept, (sizes, columns)) in zip(axes.T, tables.items()):
        for axis, (name, values) in zip(column, columns.items()):
            axis.loglog(sizes, values, "o-")
            axis.loglog(sizes, values[-1] * sizes / sizes[-1], "--", color="grey", label="linear")
            axis.set_xlabel(swept)
            axis.set_ylabel(name)
            axis.legend()
            axis.grid(True, which="both", alpha=0.3)
    figure.tight_layout()
    figure.savefig(sys.argv[2])
