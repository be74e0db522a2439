"""Sphinx extension: llms.txt and llms-full.txt, the documentation for language models.

llms.txt lists the pages with their first sentence; llms-full.txt holds the text of the pages and
of all docstrings of the reference, as they were written.
"""

from __future__ import annotations

import inspect
import re
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

SECTIONS = {"reference/": "Reference", "auto_examples/": "Gallery", "": "Pages"}


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        pages = in_order(app)
        folder = Path(app.outdir)
        (folder / "llms.txt").write_text(overview(app, pages), encoding="utf-8")
        (folder / "llms-full.txt").write_text(full_text(app, pages), encoding="utf-8")


def in_order(app: Sphinx) -> list[str]:
    """Names of all pages, as the tables of contents lead to them."""
    after = app.env.toctree_includes
    found: list[str] = []

    def visit(name: str) -> None:
        if name not in found:
            found.append(name)
            for child in after.get(name, []):
                visit(child)

    visit(app.config.root_doc)
    return found


def overview(app: Sphinx, pages: list[str]) -> str:
    root, *others = pages
    lines = [f"# {app.config.project}", "", f"> {first_sentence(app, root)}"]
    for section in reversed(SECTIONS.values()):
        lines += ["", f"## {section}", ""]
        for page in others:
            if section == section_of(page):
                title = app.env.titles[page].astext()
                link = app.builder.get_target_uri(page)
                lines.append(f"- [{title}]({link}): {first_sentence(app, page)}")
    return "\n".join(lines) + "\n"


def section_of(page: str) -> str:
    return next(title for start, title in SECTIONS.items() if page.startswith(start))


def first_sentence(app: Sphinx, page: str) -> str:
    for paragraph in app.env.get_doctree(page).findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section | addnodes.desc_content):  # no side notes
            text = " ".join(paragraph.astext().split())
            return re.split(r"(?<=[.:])\s+(?=[A-Z])", text)[0]
    return app.env.titles[page].astext() + "."


def full_text(app: Sphinx, pages: list[str]) -> str:
    texts = []
    for page in pages:
        reference = page.startswith("reference/")
        text = docstring(page) if reference else source(Path(app.env.doc2path(page)))
        texts.append(text.strip())
    return "\n\n\n".join(texts) + "\n"


def source(file: Path) -> str:
    """What the file says, with the files that it includes."""

    def included(directive: re.Match[str]) -> str:
        return (file.parent / directive[1]).read_text("utf-8")

    return re.sub(r"```\{include\} (\S+)\n```", included, file.read_text("utf-8"))


def docstring(page: str) -> str:
    """Name, signature and docstring of the public object that the page is about."""
    package, *names = page.removeprefix("reference/").split(".")
    thing = reduce(member, names, import_module(package))
    call = str(inspect.signature(thing)) if callable(thing) else ""
    return f"## {'.'.join([package, *names])}{call}\n\n{inspect.getdoc(thing)}"


def member(parent: Any, name: str) -> Any:
    if inspect.ismodule(parent) and not hasattr(parent, name):
        return import_module(f"{parent.__name__}.{name}")
    return getattr(parent, name)
