"""Options of the command line from the signature and the docstring of a method."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from arpes_ml_plugins.cli.console import tell
from arpes_ml_plugins.cli.values import WORDS, Kinds, kinds_of, read_value
from arpes_ml_plugins.plugins.docstrings import first_sentence, parameter_notes
from arpes_ml_plugins.plugins.into_store import OUT

if TYPE_CHECKING:
    from arpes_ml_plugins.plugins.registry import Method

__all__ = [
    "OWN",
    "given_parameters",
    "method_options",
    "with_flag_words",
    "with_present_names",
]

OWN = ("out", "overwrite", "variable", "help")
"""Options of every command; a method's parameter of such a name is ``--parameter-NAME``."""


class Value(click.ParamType):  # type: ignore[type-arg]  # generic in new releases only
    """A parameter that takes these kinds of values; ``choices`` are offered, not enforced.

    ``@FILE`` stands for the data in a file, where more than numbers and text is expected.
    """

    name = "value"

    def __init__(self, kinds: Kinds, choices: Sequence[str], mapping: bool = False) -> None:
        self.kinds, self.choices, self.mapping = kinds, choices, mapping

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            if value.startswith("@") and "other" in self.kinds:
                return _data_behind(value[1:], self.mapping)
            return read_value(value, self.kinds)
        except (OSError, ValueError) as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self.choices if word.startswith(incomplete)]


def _data_behind(name: str, mapping: bool) -> Any:
    """The data in a file, or a library that a plugin has registered under this name."""
    from arpes_ml_plugins.labelled.files import load
    from arpes_ml_plugins.plugins.manager import plugins

    libraries = plugins().libraries
    if name in libraries and not Path(name).exists():
        return libraries[name]
    data = load(name)
    variables = getattr(data, "data_vars", None)
    if variables is None:
        return data
    if mapping:
        return dict(variables)
    if len(variables) == 1:
        return next(iter(variables.values()))
    raise ValueError(f"expected a file with a single array, {name} has {', '.join(variables)}")


def method_options(method: Method) -> list[click.Option]:
    """An option for each parameter of the method, with its type, default and first sentence."""
    notes = parameter_notes(inspect.getdoc(method.function) or "")
    # Where the result goes to is an argument of the command.
    without = ("data", OUT) if method.resumable else ("data",)
    parameters = [p for name, p in method.signature.parameters.items() if name not in without]
    return [_option(parameter, *notes.get(parameter.name, ("", ""))) for parameter in parameters]


def _option(parameter: inspect.Parameter, documented: str, text: str) -> click.Option:
    kinds = kinds_of(parameter)
    required = parameter.default is inspect.Parameter.empty
    note = first_sentence(text)
    if parameter.name == "progress":
        note = "Show a progress bar; by default on terminals only."
    elif not required and parameter.default is not None:
        note += f"  [default: {_shown(parameter.default)}]"
    spelling = parameter.name.replace("_", "-")
    spelling = f"parameter-{spelling}" if spelling in OWN else spelling
    declared = [parameter.name, f"--{spelling}"]
    if _is_flag(parameter, kinds):
        declared[1] += f"/--no-{spelling}"
        return click.Option(declared, default=None, required=required, help=note.strip())
    choices = re.findall(r"\"(\w+)\"|\b(None)\b", documented) if documented[:1] == "{" else []
    words = [text or "none" for text, _ in choices]
    annotation = str(parameter.annotation)
    return click.Option(
        declared,
        type=Value(kinds, words, "Mapping[str, xr.DataArray]" in annotation),
        metavar="|".join([*words, *_forms(kinds, annotation, words)]),
        required=required,
        help=note.strip(),
    )


def _is_flag(parameter: inspect.Parameter, kinds: Kinds) -> bool:
    if parameter.name == "progress" or isinstance(parameter.default, bool):
        return True
    return "bool" in kinds and kinds <= {"bool", "None"}


def _forms(kinds: Kinds, annotation: str, choices: Sequence[str]) -> Iterator[str]:
    """Other accepted values: a word for each kind."""
    if "DataArray" in annotation:
        yield "@FILE"
    elif "sequence" in kinds:
        yield "NAMES"
    elif "other" in kinds:
        yield "VALUE"
    if "float" in kinds:
        yield "NUMBER"
    elif "int" in kinds:
        yield "INTEGER"
    if "bool" in kinds:
        yield "yes|no"
    if "str" in kinds and not choices:
        yield "TEXT"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, (str, int, float)):
        return str(default)
    return ",".join(map(str, default)) or "none" if isinstance(default, tuple) else repr(default)


def given_parameters(ctx: click.Context, method: Method) -> dict[str, Any]:
    """The parameters of the method that are on the command line."""
    return {
        name: ctx.params[name]
        for name in method.signature.parameters
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }


def with_present_names(arguments: Sequence[str], method: Method) -> list[str]:
    """Options under their present names; each that has an old one is told on stderr."""
    options = {f"--{old.replace('_', '-')}": old for old in method.formerly}
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    for i, word in enumerate(words[:end]):
        name, equals, value = word.partition("=")
        old = options.get(name.replace("_", "-"))
        if old is not None:
            tell(method.renaming_of(old))
            words[i] = f"--{method.formerly[old].now.replace('_', '-')}{equals}{value}"
    return words


def with_flag_words(arguments: Sequence[str], options: Sequence[click.Parameter]) -> list[str]:
    """``--adapt no`` and ``--adapt=no`` for click ``--no-adapt``; other words unchanged."""
    return list(_rewritten(list(arguments), [o for o in options if isinstance(o, click.Option)]))


def _rewritten(words: list[str], options: Sequence[click.Option]) -> Iterator[str]:
    known = {spelling: option for option in options for spelling in option.opts}
    while words:
        word = words.pop(0)
        if word == "--":
            yield from (word, *words)
            return
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        option = known.get(name)
        if option is None or not option.is_flag or not option.secondary_opts:
            yield word
            if option is not None and not option.is_flag and not equals and words:
                yield words.pop(0)  # its value
            continue
        if not equals:
            value = words.pop(0) if words and _meant_for_flag(words[0]) else "yes"
        if value.lower() == "none":
            continue
        yield name if _flag(name, value) else option.secondary_opts[0]


def _meant_for_flag(word: str) -> bool:
    """Whether a word after a flag is its value; the name of a file is not."""
    if word.lower() in WORDS or word.lower() == "none":
        return True
    return re.fullmatch(r"\w+", word) is not None and not Path(word).exists()


def _flag(name: str, text: str) -> bool:
    if text.lower() not in WORDS:
        raise click.UsageError(
            f"{name} must be one of {', '.join(WORDS)}, got {text[:40]!r} (if that is a file: "
            f"./{text[:40]})"
        )
    return WORDS[text.lower()]
