#!/usr/bin/env python3
"""snippets.py OUT.cpp: the C++ of README.md and docs/ as one source, started from the root of the repository.

A whole program or template stands in a namespace of its own, a fragment in a function that has what the text takes for granted.
docs/operators/<name>.md lists functions without their types (check.py looks for them in the headers), and
docs/a_model_of_your_own.md has the code of an example; other blocks must compile.
"""
import glob
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/site"))
from pages import blocks  # noqa: E402

GRANTED = """
using B = rearm::CpuBackend<float>;
#define GRANTED \\
  rearm::Context<B>& ctx, const rearm::Dataset& data, rearm::Parameter<B>& weight, rearm::Parameter<B>& slope, \\
      rearm::ConstView<float> features
"""


def main(out):
    includes, body, n = {"#include <rearm/rearm.hpp>", "#include <fstream>"}, [], 0
    for path in ["README.md", *sorted(glob.glob("docs/**/*.md", recursive=True))]:
        listing = path.startswith("docs/operators/") and not path.endswith("README.md")
        if listing or path == "docs/a_model_of_your_own.md":
            continue
        for line, language, text in blocks(path):
            if language != "cpp":
                continue
            n += 1
            lines = text.splitlines()
            includes.update(x for x in lines if x.startswith("#include"))
            lines = ["" if x.startswith("#include") else x for x in lines]
            whole = "int main" in text or text.startswith("template")
            body.append(f"namespace block_{n} {{" if whole else f"void block_{n}(GRANTED) {{ {{")
            body += [f'#line {line} "{path}"', *lines, "}" if whole else "} }"]
    if n < 5:
        sys.exit(f"only {n} blocks of C++ were found")
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join([*sorted(includes), GRANTED, *body, ""]))


if __name__ == "__main__":
    main(sys.argv[1])
