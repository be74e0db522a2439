"""What a docstring in numpydoc's form documents."""

from __future__ import annotations

import re

__all__ = ["documented_parameters", "section_of"]


def section_of(documentation: str, title: str) -> str:
    """The text under a title with a line of hyphens as long, up to the next title.

    ``documentation`` is as :func:`inspect.getdoc` returns it, without indentation.
    """
    heading = rf"^{title}\n-{{{len(title)}}}\n"
    found = re.search(rf"{heading}(.*?)(?=^\S[^\n]*\n-{{3,}}$|\Z)", documentation, re.M | re.S)
    return found[1].strip("\n") if found else ""


def documented_parameters(documentation: str) -> list[str]:
    """Names of the parameters that have a heading of their own, or share one, in order.

    Examples
    --------
    >>> documented_parameters('''Do it.
    ...
    ... Parameters
    ... ----------
    ... data : array
    ...     What is done, within the limits of width.
    ... height, depth : float
    ...     In pixels.
    ...
    ... Returns
    ... -------
    ... width : float
    ... ''')
    ['data', 'height', 'depth']
    """
    names: list[str] = []
    for line in section_of(documentation, "Parameters").splitlines():
        heading = re.fullmatch(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: : .+)?", line)
        if heading:
            names += [name.lstrip("*") for name in heading[1].split(", ")]
    return names
