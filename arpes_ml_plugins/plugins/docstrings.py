"""Read the parts of docstrings in numpydoc's format."""

from __future__ import annotations

import re

__all__ = ["documented_parameters", "first_sentence", "parameter_notes", "section_of"]

HEADING = r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: : (.+))?"


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
    return list(parameter_notes(documentation))


def parameter_notes(documentation: str) -> dict[str, tuple[str, str]]:
    """Type and text of each documented parameter, by its name.

    Examples
    --------
    >>> parameter_notes('''Do it.
    ...
    ... Parameters
    ... ----------
    ... width, height : float, optional
    ...     In pixels. More is slower.
    ... ''')["height"]
    ('float, optional', 'In pixels. More is slower.')
    """
    notes: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    for line in section_of(documentation, "Parameters").splitlines():
        heading = re.fullmatch(HEADING, line)
        if heading:
            names = [name.lstrip("*") for name in heading[1].split(", ")]
            notes |= dict.fromkeys(names, (heading[2] or "", ""))
        for name in () if heading else names:
            kind, text = notes[name]
            notes[name] = (kind, f"{text} {line.strip()}".strip())
    return notes


def first_sentence(text: str) -> str:
    """The first sentence, without the marks of reStructuredText.

    Examples
    --------
    >>> first_sentence("``None`` leaves it to :func:`~pkg.denoise`, e.g. for counts. Slower.")
    'None leaves it to denoise, e.g. for counts.'
    """
    sentence = re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!cf\.)\s+(?=[^a-z])", text)[0]
    sentence = re.sub(r":\w+:`~(?:\w+\.)*(\w+)`", r"\1", sentence)
    sentence = re.sub(r":\w+:`([^`]*)`", r"\1", sentence)
    return re.sub(r" ?\[\d+\]_|`", "", sentence)
