"""chains.py INCLUDE FOLDER [HEADER...]: writes sources into FOLDER, that together compile every header of INCLUDE but
those named alone, and prints them.

A header compiles alone if it does so where nothing was included but what it includes itself. So one source can do for a
chain of headers, each of which includes the one before, directly or not: half as many sources as headers.
"""

import pathlib
import re
import sys

root, out = map(pathlib.Path, sys.argv[1:3])
headers = {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.suffix in (".hpp", ".cuh")}
for name in sys.argv[3:]:
    del headers[name]
direct = {h: [i for i in re.findall(r"^ *#include <(.+?)>", p.read_text(), re.M) if i in headers] for h, p in headers.items()}
included = {}
for header in headers:
    seen, rest = set(), list(direct[header])
    while rest:
        if (name := rest.pop()) not in seen:
            seen.add(name)
            rest += direct[name]
    included[header] = seen - {header}  # two headers that include each other are no chain

left = sorted(headers, key=lambda h: (len(included[h]), h))
while left:
    chain = [left.pop()]
    for header in reversed(left.copy()):
        if header in included[chain[-1]] and chain[-1] not in included[header]:
            chain.append(header)
            left.remove(header)
    source = out / (chain[0] + (".cu" if chain[0].endswith(".cuh") else ".cpp"))
    text = "".join(f"#include <{header}>\n" for header in reversed(chain))
    source.parent.mkdir(parents=True, exist_ok=True)
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    print(source)
