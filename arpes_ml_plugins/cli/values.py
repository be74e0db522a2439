"""Parse values of parameters from the command line."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["WORDS", "Kinds", "kinds_of", "read_value"]

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""Words for True and False."""
Kinds = frozenset[str]
"""Names of the types a parameter takes: those of :data:`KNOWN`, or ``"other"``."""
KNOWN = {
    "bool": "bool",
    "int": "int",
    "integer": "int",
    "float": "float",
    "str": "str",
    "None": "None",
    "NoneType": "None",
    "Sequence": "sequence",
    "list": "sequence",
    "tuple": "sequence",
}
LONGEST = 10_000
LARGEST = 2**63
NOTHING = object()


def kinds_of(parameter: inspect.Parameter) -> Kinds:
    """Types that the annotation names, or that of the default if there is no annotation.

    Examples
    --------
    >>> sorted(kinds_of(inspect.Parameter("gain", 3, annotation="float | None")))
    ['None', 'float']
    """
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        if parameter.default in (inspect.Parameter.empty, None):
            return frozenset({"other"})
        return frozenset({KNOWN.get(type(parameter.default).__name__, "other")})
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    kinds = {KNOWN.get(name, "other") for name in _names(text)}
    return frozenset(kinds or {"other"})


def _names(text: str) -> Iterator[str]:
    """Names of the types of a union, without what they hold: ``Sequence`` of ``Sequence[str]``."""
    optional = re.fullmatch(r"(?:typing\.)?Optional\[(.*)\]", text)
    if optional:
        yield "None"
        text = optional[1]
    union = re.fullmatch(r"(?:typing\.)?Union\[(.*)\]", text)
    separator = "," if union else "|"
    text = union[1] if union else text
    while "[" in text:
        text, before = re.sub(r"\[[^\[\]]*\]", "", text), text
        if text == before:  # brackets that do not close
            return
    for name in text.split(separator):
        yield name.strip().rpartition(".")[2]


def read_value(text: str, kinds: Kinds) -> Any:
    """The value meant by ``text``: a Python literal, or the text itself where text is meant.

    Names separated by commas are a sequence where one is expected.

    Raises
    ------
    ValueError
        It is nothing that a parameter of these types can take.
    """
    if len(text) > LONGEST:
        raise ValueError(f"expected at most {LONGEST} characters, got {len(text)}")
    if "\0" in text:
        raise ValueError(f"{_short(text)} contains a NUL character, which no value can")
    if "None" in kinds and text.lower() == "none":
        return None
    value = _literal(text)
    if "str" in kinds and kinds <= {"str", "None"}:
        return value if isinstance(value, str) else text
    if value is NOTHING:
        return _word(text, kinds)
    if "str" in kinds and kinds <= {"str", "sequence", "None"}:
        return value if isinstance(value, (str, list, tuple)) else text
    _check_size(value)
    if kinds <= {"int", "float", "bool", "None"} and not _fits(value, kinds):
        raise ValueError(f"expected {_expected(kinds)}, got {_short(text)}")
    return value


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd backslashes in quoted text
            return ast.literal_eval(text)
    except (RecursionError, MemoryError):
        raise ValueError(f"{_short(text)} is nested too deeply") from None
    except (ValueError, SyntaxError, TypeError, ArithmeticError) as error:
        if "integer string conversion" in str(error):
            raise ValueError(f"the number {_short(text)} has too many digits") from None
        return NOTHING


def _word(text: str, kinds: Kinds) -> Any:
    """Text that is no Python literal."""
    if "bool" in kinds and text.lower() in WORDS:
        return WORDS[text.lower()]
    if "float" in kinds:
        try:
            return float(text)  # nan, inf
        except ValueError:
            pass
    if "sequence" in kinds and not re.search(r"[\[\](){}'\"]", text):
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        return text if "str" in kinds and len(names) < 2 else names
    if kinds & {"str", "other"}:
        return text
    raise ValueError(f"expected {_expected(kinds)}, got {_short(text)}")


def _fits(value: Any, kinds: Kinds) -> bool:
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, int):
        return bool(kinds & {"int", "float"})
    return isinstance(value, float) and "float" in kinds


def _expected(kinds: Kinds) -> str:
    words = {
        "bool": "true or false",
        "int": "a whole number",
        "float": "a number",
        "sequence": "names separated by commas",
        "None": "none",
    }
    return " or ".join(word for kind, word in words.items() if kind in kinds)


def _check_size(value: Any) -> None:
    """Integers beyond 64 bits would overflow somewhere in the middle of the work."""
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ValueError(f"the number {_short(str(value))} is too large: expected below 2**63")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple, set)):
        for item in value:
            _check_size(item)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
