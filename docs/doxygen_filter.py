#!/usr/bin/env python3
"""doxygen_filter.py FILE: a Markdown page of the repository as doxygen 1.9 needs it, on standard output.

GitHub names headings by their text, doxygen by numbers of its own, and it tells pages apart by their file's name alone. So
headings get their names, links become links to doxygen's pages, and a link to what doxygen does not show leaves its text.
Run from the root of the repository (docs/Doxyfile). tests/docs/check.py uses the functions below.
"""
import os
import re
import sys

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]*(?:\([^()]*\))?[^()\s]*)\)")
CODE = re.compile(r"(`+)(?:(?!\1).)+?\1")
SHOWN = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/", "include/")  # INPUT
COPIED = ("LICENSE", "examples/quickstart.cpp", "examples/custom_model.cpp")  # HTML_EXTRA_FILES


def slug(heading):
    """What GitHub calls a heading."""
    text = LINK.sub(r"\2", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")


def lines_of(text):
    """(number, line, language of the code block it stands in or None) of each line; indented code is 'indented'."""
    fence = language = None
    blank = True
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(```+)\s*([\w+]*)", line)
        if mark and fence is None:
            fence, language = mark[1], mark[2]
            yield number, line, "fence"
        elif mark and line.strip() == fence:
            fence = language = None
            yield number, line, "fence"
        elif fence is None and line.startswith("    ") and blank:
            yield number, line, "indented"
            continue  # the next indented line belongs to it
        else:
            yield number, line, language if fence else None
        blank = line.strip() == ""


def headings(text):
    """(number, level, slug) of each heading, repeated slugs numbered."""
    seen = {}
    for number, line, code in lines_of(text):
        mark = re.match(r"(#+) (.*)", line) if code is None else None
        if not mark:
            continue
        name = slug(mark[2])
        count = seen.get(name, 0)
        seen[name] = count + 1
        yield number, len(mark[1]), name if count == 0 else f"{name}-{count}"


def page(path):
    """The name of doxygen's page of a Markdown file."""
    return "index" if path == "README.md" else re.sub(r"\W", "_", os.path.splitext(path)[0])


def filtered(path, text):
    names = {number: (level, name) for number, level, name in headings(text)}
    code = []  # spans of code of the line at hand, of which \0n\0 is the n-th
    below = set()  # pages that the navigation has under this one

    def restored(text):
        return re.sub("\0(\\d+)\0", lambda m: code[int(m[1])], text)

    def link(match):
        image, label, target = match.groups()
        if image or re.match(r"\w+:", target):
            return match[0]
        file, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        folder = os.path.dirname(path)
        if folder and path.endswith("/README.md") and not anchor and os.path.dirname(file) == folder and file not in below:
            below.add(file)
            return '@subpage {} "{}"'.format(page(file), restored(label).replace("`", ""))
        if file.endswith(".md") and file.startswith(SHOWN):
            place = f"{page(file)}.html" + (f"#{page(file)}_{anchor}" if anchor else "")
        elif file.startswith("include/") and os.path.isfile(file):
            return '@ref {} "{}"'.format(file[8:], restored(label).replace("`", ""))
        elif file in COPIED:
            place = os.path.basename(file)
        else:
            return label
        return f'<a href="{place}">{label}</a>'

    def prose(line):
        """Links outside code, and what doxygen would take for a command."""
        code.clear()
        line = CODE.sub(lambda m: code.append(m[0]) or f"\0{len(code) - 1}\0", line)
        return restored(LINK.sub(link, re.sub(r"@(?=[A-Za-z])", r"\\@", line)))

    for number, line, language in lines_of(text):
        if number in names:
            level, name = names[number]
            name = page(path) if level == 1 else f"{page(path)}_{name}"
            yield line if name == "index" else f"{line} {{#{name}}}"
        else:
            yield line if language else prose(line)


if __name__ == "__main__":
    path = os.path.relpath(sys.argv[1])
    with open(path, encoding="utf-8") as f:
        print("\n".join(filtered(path, f.read())))
