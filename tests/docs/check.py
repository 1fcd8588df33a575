#!/usr/bin/env python3
"""check.py WHAT [FOLDER]: whether the documents of the repository hold, started from its root. WHAT is

links    every relative link of a Markdown file leads to a file that is there, and to a heading if it names one; files that are
         named in code are there, too
version  the version is the same in version.hpp, CITATION.cff, CHANGELOG.md and the README's CMake lines
code     the C++ of docs/a_model_of_your_own.md stands in examples/custom_model.cpp, and functions that the pages of operators
         list are declared
pictures the numbers that plots are made of stand in docs/benchmarks.md
languages every block of code is of a language that a test compiles, runs or reads (JSON and Python are read here), or marked as text
html     every link of the pages in FOLDER (of `./run docs`) leads somewhere, no page fetches from elsewhere, and no Markdown is left in one
"""
import ast
import csv
import glob
import html.parser
import json
import os
import re
import subprocess
import sys
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/site"))
from pages import CODE, LINK, blocks, headings, lines_of  # noqa: E402

problems = []


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def documents():
    return ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *sorted(glob.glob("docs/**/*.md", recursive=True))]


def links():
    known = {path: {name for _, _, name in headings(read(path))} for path in documents()}
    for path in documents():
        for number, line, language in lines_of(read(path)):
            where = f"{path}:{number}"
            if language is None:
                for span in CODE.finditer(line) if path != "CHANGELOG.md" else ():
                    name = span[0].strip("`")
                    if re.fullmatch(r"(benchmarks|cmake|docs|examples|include|tests)/[\w./-]+\.\w+", name) and not os.path.exists(name):
                        problems.append(f"{where}: there is no {name}")
                for match in LINK.finditer(CODE.sub(lambda m: "`" * len(m[0]), line)):
                    check_link(where, path, match[3], known)


def check_link(where, path, target, known):
    if re.match(r"\w+:", target):
        return
    file, _, anchor = target.partition("#")
    file = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
    if not os.path.exists(file):
        problems.append(f"{where}: there is no {file}")
    elif anchor and anchor not in known.get(file, ()):
        problems.append(f"{where}: {file} has no heading #{anchor}")


def version():
    header = read("include/rearm/version.hpp")
    numbers = [re.search(rf"REARM_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    now = ".".join(numbers)

    def expect(where, found, wanted):
        if found != wanted:
            problems.append(f"{where}: {found} but must be {wanted}, from include/rearm/version.hpp")

    expect("include/rearm/version.hpp, REARM_VERSION_STRING", re.search(r'STRING "(.*)"', header)[1], now)
    expect("CITATION.cff, version", re.search(r"^version: (.*)$", read("CITATION.cff"), re.M)[1], now)
    for wanted in re.findall(r"find_package\(rearm ([\d.]+)", read("README.md")):
        expect("README.md, find_package", wanted, ".".join(numbers[:2]))
    # CHANGELOG: what is unreleased belongs to a later version than the newest that is out.
    sections = re.split(r"^## ", read("CHANGELOG.md"), flags=re.M)[1:]
    unreleased = sections[0].startswith("[Unreleased]") and "\n- " in sections[0]
    newest = next(re.match(r"\[([\d.]+)\]", s)[1] for s in sections if s[1].isdigit())
    later = [int(n) for n in numbers] > [int(n) for n in newest.split(".")]
    if unreleased and not later:
        problems.append(f"CHANGELOG.md: has unreleased changes, but include/rearm/version.hpp is still at {newest}, which is out")
    elif not unreleased and not later:
        expect("CHANGELOG.md, newest version", newest, now)


def code():
    example = [line.rstrip() for line in read("examples/custom_model.cpp").splitlines()]
    page, block, start = "docs/a_model_of_your_own.md", [], 0
    n_blocks = 0
    for number, line, language in lines_of(read(page)):
        if language == "fence":
            if block and not any(example[i : i + len(block)] == block for i in range(len(example))):
                problems.append(f"{page}:{start}: this code does not stand in examples/custom_model.cpp as it is")
            n_blocks += bool(block)
            block = []
        elif language == "cpp":
            start = start if block else number
            block.append(line.rstrip())
    if n_blocks < 5:
        problems.append(f"{page}: only {n_blocks} pieces of code were found")
    headers = "".join(read(path) for path in glob.glob("include/rearm/**/*.hpp", recursive=True))
    for path in sorted(glob.glob("docs/operators/*.md")):
        for number, line, language in lines_of(read(path)):
            if language != "cpp" or path.endswith("README.md"):
                continue
            for name in re.findall(r"(?:^|;|\bVar\b|=)\s*([a-z_]\w+)\(", re.sub(r"//.*", "", line)):
                if not re.search(rf"\b{name}\(", headers):
                    problems.append(f"{path}:{number}: no header has {name}(…)")


def pictures():
    rows = [line.replace("*", "") for line in read("docs/benchmarks.md").splitlines() if line.startswith("|")]

    def expect(file, parts):
        if not any(all(re.search(rf"(?<![\w.])(?<!\d,){re.escape(p)}(?!\w|[.,]\d)", row, re.I) for p in parts) for row in rows):
            problems.append(f"{file}: no table of docs/benchmarks.md has a row with {', '.join(parts)}; then draw the plot anew")

    for row in csv.DictReader(read("docs/images/tiktok.csv").splitlines()):
        expect("docs/images/tiktok.csv", [row["model"], row["recall@20"]])
    for row in csv.DictReader(read("docs/images/scaling.csv").splitlines()):
        expect("docs/images/scaling.csv", [f"{int(row['size']):,}", f"{row['seconds']} s", f"{row['GB']} GB"])


# What a test does with a block of code by its language, and on which pages.
HELD_TO = {
    "sh": (r"README|CONTRIBUTING|docs/", "runs, or commands.py says why not"),
    "toml": (r"README|CONTRIBUTING|docs/", "rearm trains or sweeps by it (commands.py)"),
    "cmake": (r"README|docs/a_model_of_your_own", "configures (commands.py)"),
    "cpp": (r"README|docs/", "compiles (snippets.py), stands in an example, or lists functions of a header (check.py code)"),
    "json": (r"", "is JSON"),
    "python": (r"", "is Python; not run, since it needs packages and data of others"),
    "text": (r"", "nothing to run: equations, output"),
}


def languages():
    counts = dict.fromkeys(HELD_TO, 0)
    for path in documents():
        for line, language, text in blocks(path):
            if language not in HELD_TO or not re.match(HELD_TO[language][0], path):
                problems.append(f"{path}:{line}: no test looks at code in '{language}' here; equations and output are 'text'")
                continue
            counts[language] += 1
            try:
                if language == "json":
                    json.loads(text)
                elif language == "python":
                    ast.parse(text)
            except (ValueError, SyntaxError) as error:
                problems.append(f"{path}:{line}: {error}")
    for language, (_, what) in HELD_TO.items():
        print(f"{counts[language]:4} {language:7} {what}")


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.targets, self.fetched = set(), [], []
        self.paragraphs, self.inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names |= {attributes.get("id"), attributes.get("name")}
        for target in filter(None, (attributes.get("href"), attributes.get("src"))):
            self.targets.append(target)
            if tag != "a":
                self.fetched.append(target)
        if tag == "p":
            self.paragraphs.append("")
        self.inside = self.inside or tag == "p"

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "p"

    def handle_data(self, data):
        if self.inside:
            self.paragraphs[-1] += data


def html_pages(folder):
    pages = {os.path.relpath(path, folder): Page(read(path)) for path in glob.glob(f"{folder}/**/*.html", recursive=True)}
    if "index.html" not in pages or "api/index.html" not in pages:
        problems.append(f"{folder}: pages are missing; make them with ./run docs")
    for name, page in pages.items():
        problems.extend(f"{folder}/{name}: fetches {target}" for target in page.fetched if re.match(r"(\w+:)?//", target))
        if not name.startswith("api/"):
            left = re.findall(r"(?m)^\s*(?:[-*] |\d+\. |\||```|#+ ).*", "\n".join(page.paragraphs))
            problems.extend(f"{folder}/{name}: Markdown that the site reads otherwise than GitHub: {line}" for line in left)
        for target in page.targets:
            if re.match(r"\w+:", target):
                continue
            file, _, anchor = urllib.parse.unquote(target).partition("#")
            file = os.path.normpath(os.path.join(os.path.dirname(name), file)) if file and file[0] != "/" else file[1:] or name
            if os.path.isdir(f"{folder}/{file}"):
                file = os.path.join(file, "index.html")
            if not os.path.exists(f"{folder}/{file}"):
                problems.append(f"{folder}/{name}: there is no {file}")
            elif anchor and file in pages and anchor not in pages[file].names:
                problems.append(f"{folder}/{name}: {file} has no #{anchor}")


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    checks = {"links": links, "version": version, "code": code, "pictures": pictures, "languages": languages}
    checks["html"] = lambda: html_pages(sys.argv[2])
    if what not in checks:
        sys.exit(__doc__)
    checks[what]()
    for problem in sorted(set(problems)):
        print(problem)
    sys.exit(1 if problems else 0)
