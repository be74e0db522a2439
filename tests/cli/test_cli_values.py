"""Values of options, from text to what a parameter is annotated with."""

from __future__ import annotations

import inspect
import math
import typing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arpes_ml_plugins.cli.values import kinds_of, read_value

KINDS = ("bool", "int", "float", "str", "None", "sequence", "other")
PIECES = st.sampled_from(
    ["(", "[", "{", "}", ")", "-", "1", "e9", ",", "'", "j", "\0", "#", "\\", "none"]
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=300).map("".join)),
    st.frozensets(st.sampled_from(KINDS), min_size=1),
)
@example("{[]}", frozenset({"int"}))
@example("{[]: 1}", frozenset({"other"}))
@example("1" * 400 + "+1j", frozenset({"float"}))
@example("'\\d'", frozenset({"str"}))
@example("\ud800", frozenset({"str"}))
def test_any_text_is_a_value_or_refused(text, kinds):
    value, refusal = None, ""
    try:
        value = read_value(text, kinds)
    except ValueError as error:
        refusal = str(error)
    assert len(refusal) < 200
    if kinds <= {"int", "None"}:
        assert value is None or type(value) is int
    if kinds == {"str"}:
        assert refusal or type(value) is str


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        ("3", "int", 3),
        ("3", "float None", 3),
        ("nan", "float", pytest.approx(math.nan, nan_ok=True)),
        ("None", "str None", None),
        ("none", "str", "none"),
        ("5", "str", "5"),
        ("'a b'", "str", "a b"),
        ("no", "bool str", False),
        ("eV,phi", "sequence None", ("eV", "phi")),
        ("eV", "sequence None", ("eV",)),
        ("ky,phi", "str sequence None", ("ky", "phi")),
        ("1", "str sequence None", "1"),
        ("('eV', 'phi')", "sequence None", ("eV", "phi")),
        ("{'momentum': 'ky'}", "other sequence None", {"momentum": "ky"}),
        ("0.1", "str bool float", 0.1),
    ],
)
def test_values(text, kinds, expected):
    assert read_value(text, frozenset(kinds.split())) == expected


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("float | None", "float None"),
        (float | None, "float None"),
        (typing.Optional[int], "int None"),  # noqa: UP045
        (typing.Union[str, bool], "str bool"),  # noqa: UP007
        ("Optional[Sequence[str]]", "sequence None"),
        ("Mapping[str, list[int | str]] | Sequence[str]", "other sequence"),
        ("np.random.Generator", "other"),
        ("list[", "other"),
    ],
)
def test_kinds_of_annotations(annotation, expected):
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    assert kinds_of(parameter) == set(expected.split())
