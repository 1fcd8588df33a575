#!/usr/bin/env python3
"""Tables, fitted exponents and plot of `./run bench --scaling --benchmark_out=RESULTS.json`.

  plot_scaling.py RESULTS [PLOT.svg]     RESULTS: that file, or a table like docs/images/scaling.csv
Needs numpy, and matplotlib for the plot (Debian: python3-matplotlib has both).
"""
import csv
import json
import sys

import numpy as np

MEASURED = {"step": ("median_ms", 1e-3, "s"), "peak memory": ("process_peak_MB", 1e-3, "GB")}
# What is swept, and from which size on an exponent is fitted.
SWEEPS = {"users": 1e5, "items": 1e5, "interactions": 2e6}


def read(path):
    """{sweep: (sizes, {"step": seconds, "peak memory": GB})}"""
    rows = []
    with open(path) as f:
        if path.endswith(".csv"):
            for row in csv.DictReader(f):
                rows.append((row["sweep"], float(row["size"]), [float(row["seconds"]), float(row["GB"])]))
        else:
            for run in json.load(f)["benchmarks"]:
                for sweep in SWEEPS:
                    if sweep in run:
                        rows.append((sweep, run[sweep], [run[key] * scale for key, scale, _ in MEASURED.values()]))
    tables = {}
    for sweep in SWEEPS:
        chosen = [(size, values) for name, size, values in rows if name == sweep]
        if chosen:
            columns = zip(*(values for _, values in chosen))
            tables[sweep] = np.array([size for size, _ in chosen]), dict(zip(MEASURED, map(np.array, columns)))
    return tables


def report(tables):
    for sweep, (sizes, columns) in tables.items():
        print(f"| {sweep} | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
        for i, n in enumerate(sizes):
            cells = [f"{values[i]:.3g} {MEASURED[name][2]}" for name, values in columns.items()]
            print(f"| {n:,.0f} | " + " | ".join(cells) + " |")
        large = sizes >= SWEEPS[sweep]
        for name, values in columns.items():
            if large.sum() > 1:
                exponent = np.polyfit(np.log(sizes[large]), np.log(values[large]), 1)[0]
                print(f"{name}: grows with exponent {exponent:.2f} from {sizes[large][0]:,.0f} {sweep} on")
        print()


def plot(tables, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    def short(n, _=None):
        return f"{n / 1e6:g} M" if n >= 1e6 else f"{n / 1e3:g} k"

    matplotlib.rcParams.update({"svg.hashsalt": "rearm", "font.size": 11})
    figure, axes = plt.subplots(len(MEASURED), len(tables), figsize=(4.2 * len(tables), 7), squeeze=False)
    for column, (sweep, (sizes, columns)) in zip(axes.T, tables.items()):
        for axis, (name, values) in zip(column, columns.items()):
            axis.loglog(sizes, values, "o-", color="#1f6fb4", label="measured")
            first = int(np.argmax(sizes >= SWEEPS[sweep]))  # the line of slope 1 through the first fitted point
            fitted = sizes[first:]
            axis.loglog(fitted, values[first] * fitted / fitted[0], "--", color="#b0532a", label="slope 1")
            axis.xaxis.set_major_locator(FixedLocator(sizes))
            axis.xaxis.set_major_formatter(FuncFormatter(short))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_xlabel(sweep)
            axis.set_ylabel(f"{name}, {MEASURED[name][2]}")
            axis.legend(loc="upper left")
            axis.grid(True, alpha=0.3)
    figure.tight_layout()
    # White behind it, so that it can be read on a dark page, too; no date, so that the same numbers give the same file.
    figure.savefig(path, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    results = read(sys.argv[1])
    report(results)
    if len(sys.argv) == 3:
        plot(results, sys.argv[2])
