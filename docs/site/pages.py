"""The repository's Markdown, and the site that mkdocs makes of it (mkdocs.yml). tests/docs uses the functions of the first part.

README.md is the site's first page. GitHub shows the same pages, so links are what GitHub needs, and become here what the site needs: a
link to a header leads to the API reference, one to another file to a page with its text, and what has neither is named.
"""
import glob
import os
import re

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]*(?:\([^()]*\))?[^()\s]*)\)")
CODE = re.compile(r"(`+)(?:(?!\1).)+?\1")


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


def blocks(path):
    """(line, language, text) of each block of code of a page; the language of indented code is 'indented'."""
    start, block, language = 0, [], None
    with open(path, encoding="utf-8") as f:
        for number, line, now in [*lines_of(f.read()), (0, "", None)]:
            if now in (None, "fence"):
                if block:
                    yield start, language, "\n".join(block)
                block = []
            else:
                start, language = (start if block else number), now
                block.append(line)


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


def with_links(text, replace):
    """The text with each link outside code as replace(image, label, target) has it, unless that is None."""
    code = []  # spans of code of the line at hand, of which \0n\0 is the n-th

    def restored(text):
        return re.sub("\0(\\d+)\0", lambda m: code[int(m[1])], text)

    for _, line, language in lines_of(text):
        if language is None:
            code.clear()
            line = CODE.sub(lambda m: code.append(m[0]) or f"\0{len(code) - 1}\0", line)
            line = restored(LINK.sub(lambda m: replace(m[1], restored(m[2]), m[3]) or m[0], line))
        yield line


# What mkdocs calls, in this order. A path is one from the root of the repository, a place one in the site.

TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LANGUAGES = {".hpp": "cpp", ".cuh": "cpp", ".cpp": "cpp", ".cu": "cpp", ".txt": "cmake", ".py": "python", ".sh": "sh", ".toml": "toml"}
api = {}  # pages of the API reference, which is in build/docs/api before, by path


def path_of(place):
    """The path of a page by its place."""
    return place if place in TOP else os.path.splitext(place)[0][7:] if place.startswith("source/") else f"docs/{place}"


def source_of(path, target):
    """The path to which a link of a page leads, None for one to another host or within the page."""
    file = target.partition("#")[0]
    return None if re.match(r"\w+:", target) or not file else os.path.normpath(os.path.join(os.path.dirname(path), file))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def on_config(config):
    config["mdx_configs"].setdefault("toc", {})["slugify"] = lambda text, _: slug(text)
    for page in glob.glob(os.path.join(ROOT, "build/docs/api/*.html")):
        title = re.search(r"<title>rearm: (\S+) (?:File|Directory) Reference", read(page))
        if title:
            api[title[1]] = os.path.basename(page)


def on_files(files, config):
    from mkdocs.structure.files import File

    for file in list(files):
        if file.abs_src_path.startswith(config["docs_dir"]) and not file.src_uri.endswith((".md", ".svg", ".css")):
            files.remove(file)
    for path in TOP:
        files.append(File(path, ROOT, config["site_dir"], False))
    sources = set()
    for file in files.documentation_pages():
        path = path_of(file.src_uri)
        list(with_links(read(path), lambda _, __, target, path=path: sources.add(source_of(path, target))))
    for path in sorted(sources - {None}):
        if os.path.isfile(os.path.join(ROOT, path)) and path not in api and path not in TOP and not path.startswith("docs/"):
            files.append(File(f"source/{path}.md", ROOT, config["site_dir"], False))


def on_nav(nav, files, **_):
    import logging

    listed = {page.file.src_uri for page in nav.pages}
    for file in files.documentation_pages():
        if file.src_uri not in listed and not file.src_uri.startswith("source/"):
            logging.getLogger("mkdocs").warning("docs/site/mkdocs.yml does not name %s", file.src_uri)


def on_page_read_source(page, **_):
    if page.file.src_uri.startswith("source/"):
        path = path_of(page.file.src_uri)
        return f"# {path}\n\n````{LANGUAGES.get(os.path.splitext(path)[1], 'text')}\n{read(path)}\n````\n"


def on_page_markdown(markdown, page, files, **_):
    here = page.file.src_uri
    path = path_of(here)

    def link(image, label, target):
        source = source_of(path, target)
        if source is None:
            return None
        places = (source.removeprefix("docs/"), f"source/{source}.md")
        anchor = target[target.find("#") :] if "#" in target else ""
        if source in api:
            return f"[{label}](site:api/{api[source]}{anchor})"
        for place in places:
            if place in files:
                return f"{image}[{label}]({os.path.relpath(place, os.path.dirname(here) or '.')}{anchor})"
        return f"{label} (in the repository)" if source in label else f"{label} (`{source}` in the repository)"

    return None if here.startswith("source/") else "\n".join(with_links(markdown, link))


def on_post_page(output, page, **_):
    return output.replace('"site:', '"' + "../" * page.url.count("/"))


def on_post_template(output_content, **_):  # 404.html, which a server shows at any address
    return output_content.replace('"site:', '"/')
