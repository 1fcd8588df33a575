#!/usr/bin/env python3
"""Bars of test R@20: plot_models.py TABLE.csv PLOT.svg

Needs matplotlib (Debian: python3-matplotlib). docs/images/tiktok.csv holds the numbers of docs/benchmarks.md (Real data: TikTok).
"""
import csv
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLORS = {"before": "#1f6fb4", "here": "#b0b0b0"}
LABELS = {"before": "settings: the model's defaults, or Baby's", "here": "settings found on this data's validation split"}

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as f:
        rows = sorted(csv.DictReader(f), key=lambda row: float(row["recall@20"]))
    matplotlib.rcParams.update({"svg.hashsalt": "rearm", "font.size": 10})
    figure, axis = plt.subplots(figsize=(7, 4.2))
    for settings, color in COLORS.items():
        chosen = [i for i, row in enumerate(rows) if row["settings"] == settings]
        values = [float(rows[i]["recall@20"]) for i in chosen]
        bars = axis.barh(chosen, values, color=color, label=LABELS[settings])
        axis.bar_label(bars, [f"{v:.4f}" for v in values], padding=3, fontsize=9)
    axis.set_yticks(range(len(rows)), [row["model"] for row in rows])
    axis.set_xlim(0, 0.118)
    axis.set_xlabel("test recall@20, TikTok, original image and audio features, one seed")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(sys.argv[2], facecolor="white", metadata={"Date": None})
