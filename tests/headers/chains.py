"""chains.py INCLUDE FOLDER [HEADER...]: writes sources into FOLDER, that together compile every header of INCLUDE but
those named alone, and prints them.

A header compiles alone if it does so where nothing stands before it that it does not include itself, or nothing that it
could make use of. So one source can do for a chain of headers. A header X is added to a chain if what stands there, and
X does not include, gives X nothing:
- of rearm's headers, none declares (without indentation, so at namespace scope, or as a macro) a name that X has, unless
  one that X includes has that name as well;
- of libraries' headers, X includes all itself, unless all names of libraries in X occur in what it includes.
"""

import pathlib
import re
import sys

root, out = map(pathlib.Path, sys.argv[1:3])
headers = {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.suffix in (".hpp", ".cuh")}
for name in sys.argv[3:]:
    del headers[name]


def names(text, pattern=r"[A-Za-z_]\w*"):
    return set(re.findall(pattern, re.sub(r'//.*|"[^"\n]*"|^ *#include.*', "", text, flags=re.M)))


def union(sets):
    return set().union(*sets)


foreign = r"\b(?:std|Eigen|nlohmann|r123|cub)(?:::\w+)+|(?<!\w)::\w+|\b(?:cu|cblas|nccl|omp_|MPI_|_)\w+|\b[A-Z][A-Z0-9]*_[A-Z0-9_]+"
direct = {h: set(re.findall(r"^ *#include <(.+?)>", text, re.M)) for h, text in headers.items()}
used = {h: names(text) for h, text in headers.items()}
borrowed = {h: names(text, foreign) for h, text in headers.items()}
declared = {h: names("".join(re.findall(r"^[^ \n].*\n", text, re.M))) for h, text in headers.items()}
included = {}  # of rearm's, itself among them
for header in headers:
    seen, rest = set(), [header]
    while rest:
        if (name := rest.pop()) not in seen:
            seen.add(name)
            rest += direct[name] & headers.keys()
    included[header] = seen
libraries = {h: union(direct[x] for x in included[h]) - headers.keys() for h in headers}
provided = {h: union(used[x] for x in included[h] - {h}) for h in headers}
new = {h: borrowed[h] - union(borrowed[x] for x in included[h] - {h}) for h in headers}

chains = []  # (headers in their order, all that they include, libraries' headers)
for header in sorted(headers, key=lambda h: (len(included[h]), h)):
    own = included[header]
    fits = [c for c in chains if header not in c[1] and c[0][0][-4:] == header[-4:]
            and (not new[header] or c[2] <= libraries[header])
            and not union(declared[x] for x in c[1] - own) & (used[header] - provided[header])]
    chain = max(fits, key=lambda c: len(c[1]), default=None)
    if chain is None:
        chain = ([], set(), set())
        chains.append(chain)
    chain[0].append(header)
    chain[1].update(own)
    chain[2].update(libraries[header])

for chain, _, _ in chains:
    source = out / (chain[-1] + (".cu" if chain[-1].endswith(".cuh") else ".cpp"))
    text = "".join(f"#include <{header}>\n" for header in chain)
    source.parent.mkdir(parents=True, exist_ok=True)
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    print(source)
