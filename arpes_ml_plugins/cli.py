"""arpes-ml: denoise ARPES data from the command line."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arpes_ml_plugins.errors import ArpesMLError

if TYPE_CHECKING:
    from arpes_ml_plugins.plugins.registry import Method

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = _parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = parser.parse_known_args(words)
    if rest and options.command is not _run:
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    if options.command is _run and any(word.startswith("-") for word in words[1:4]):
        parser.error("METHOD, INPUT and OUTPUT come first, then the method's parameters")
    try:
        options.command(options, rest)
    except (ArpesMLError, OSError, TypeError) as error:
        print(f"arpes-ml: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\narpes-ml: interrupted; no file was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="arpes-ml", description=__doc__)
    version = metadata.version("arpes-ml-plugins")
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="denoise PyARPES's example cut and draw the result")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), metavar="FOLDER")
    demo.set_defaults(command=_demo)
    methods = commands.add_parser("methods", help="list the methods, or explain one")
    methods.add_argument("name", nargs="?")
    methods.set_defaults(command=_methods)
    run = commands.add_parser(
        "run",
        help="apply a method to a netCDF file",
        epilog="Then any parameters of the method (see: arpes-ml methods METHOD), for example "
        "--iterations 300 --rng 1 --dims \"('eV', 'phi')\"",
    )
    run.add_argument("method")
    run.add_argument("input", type=Path)
    run.add_argument("output", type=Path)
    run.set_defaults(command=_run)
    return parser


def _demo(options: argparse.Namespace, rest: list[str]) -> None:
    import matplotlib

    from arpes_ml_plugins.demo import run_demo

    matplotlib.use("Agg")
    run_demo(options.output, sys.stdout)


def _methods(options: argparse.Namespace, rest: list[str]) -> None:
    import inspect

    from arpes_ml_plugins.plugins.manager import plugins

    if options.name:
        method = plugins().methods[options.name]
        print(f"{method.name}{method.signature}\n\n{inspect.getdoc(method.function)}")
        return
    for method in plugins().methods:
        print(f"{method.name:24} {method.summary}")


def _run(options: argparse.Namespace, rest: list[str]) -> None:
    from arpes_ml_plugins.labelled.files import load, save
    from arpes_ml_plugins.plugins.call import public_function
    from arpes_ml_plugins.plugins.manager import plugins

    function = public_function(plugins().methods[options.method])
    parameters = _parameters(rest, plugins().methods[options.method])
    if not options.output.resolve().parent.is_dir() or options.output.is_dir():
        raise FileNotFoundError(f"cannot write {options.output}: not a file in an existing folder")
    save(function(load(options.input), **{"progress": True, **parameters}), options.output)
    print(f"written: {options.output}")


def _parameters(words: list[str], method: Method) -> dict[str, Any]:
    """``--name value`` pairs; values are Python literals, anything else is a string."""
    parameters: dict[str, Any] = {}
    pairs = iter(words)
    for word in pairs:
        option, equals, value = word.partition("=")
        if not option.startswith("--"):
            raise TypeError(f"expected --parameter value, got {word!r}")
        if not equals:
            try:
                value = next(pairs)
            except StopIteration:
                raise TypeError(f"parameter {option} has no value") from None
        name = option[2:].replace("-", "_")
        known = method.signature.parameters.get(name)
        flag = known is not None and (known.default is True or known.default is False)
        parameters[name] = _flag(option, value) if flag else _literal(value)
    return parameters


def _flag(option: str, text: str) -> bool:
    words = dict.fromkeys(("true", "yes", "on"), True)
    words |= dict.fromkeys(("false", "no", "off"), False)
    if text.lower() not in words:
        raise TypeError(f"{option} must be one of {', '.join(words)}, got {text!r}")
    return words[text.lower()]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
