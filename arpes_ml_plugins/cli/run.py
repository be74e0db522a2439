"""``arpes-ml run METHOD``: one command for each registered method."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arpes_ml_plugins.cli.console import encodable
from arpes_ml_plugins.cli.options import (
    given_parameters,
    method_options,
    with_flag_words,
    with_present_names,
)
from arpes_ml_plugins.cli.plan import STREAM, plan
from arpes_ml_plugins.cli.work import Task, run_all
from arpes_ml_plugins.plugins.manager import plugins

if TYPE_CHECKING:
    from arpes_ml_plugins.plugins.registry import Method

__all__ = ["RunGroup", "find_method"]

NOTE = (
    "Values are numbers, text, or Python literals in quotes; --dims eV,phi names several. "
    "@FILE takes the data of a netCDF file. Everything about the method: arpes-ml methods {}"
)


def find_method(name: str) -> Method:
    """The method of this name, which may be written with hyphens.

    Raises
    ------
    click.UsageError
        There is none; the message has the nearest name.
    """
    methods = plugins().methods
    spelt = name.replace("-", "_")
    if spelt in methods:
        return methods[spelt]
    close = difflib.get_close_matches(spelt, [method.name for method in methods], n=1)
    hint = f"did you mean {close[0]!r}?" if close else "arpes-ml methods lists them"
    raise click.UsageError(f"there is no method {name!r}; {hint}")


class RunGroup(click.Group):
    """A group with a command for each method, including those of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [method.name for method in plugins().methods]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name.startswith("-"):
            return None
        try:
            return MethodCommand(find_method(cmd_name))
        except click.UsageError:
            if ctx.resilient_parsing:
                return None
            raise

    def get_help(self, ctx: click.Context) -> str:
        return encodable(super().get_help(ctx))


class MethodCommand(click.Command):
    """Run one method on files."""

    def __init__(self, method: Method) -> None:
        self.method = method
        paths = click.Argument(
            ["paths_"],
            nargs=-1,
            required=True,
            metavar="IN... OUT | IN... --out FOLDER",
            type=click.Path(allow_dash=True, path_type=Path),
        )
        super().__init__(
            method.name,
            callback=self._call,
            params=[paths, *_own_options(), *method_options(method)],
            help=method.summary,
            short_help=method.summary,
            epilog=NOTE.format(method.name),
            context_settings={"token_normalize_func": lambda word: word.replace("_", "-")},
        )

    def get_help(self, ctx: click.Context) -> str:
        return encodable(super().get_help(ctx))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # for the shell, in the middle of a line
            return super().parse_args(ctx, args)
        try:
            args = with_flag_words(with_present_names(args, self.method), self.params)
        except click.UsageError as error:
            error.ctx = ctx
            raise
        return super().parse_args(ctx, args)

    def _call(self, **_: Any) -> int:
        ctx = click.get_current_context()
        own = {name: ctx.params[f"{name}_"] for name in ("paths", "out", "overwrite", "variable")}
        jobs, into_folder = plan(own["paths"], own["out"])
        if jobs[0].target == STREAM and sys.stdout.isatty():
            raise click.UsageError("a netCDF file cannot go to a terminal; use a file or a pipe")
        parameters = {"progress": sys.stderr.isatty(), **given_parameters(ctx, self.method)}
        task = Task(self.method, parameters, own["variable"], own["overwrite"], into_folder)
        return run_all(task, jobs)


def _own_options() -> list[click.Option]:
    """Their names in Python end with an underscore: a parameter of a method may be called so."""
    return [
        click.Option(
            ["out_", "--out"],
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="Write one result per file to this folder; input folders are searched for files.",
        ),
        click.Option(
            ["overwrite_", "--overwrite"],
            is_flag=True,
            help="Replace whatever is there. Otherwise finished results in a FOLDER are skipped, a "
            "single OUT replaces an earlier result, and any other file is an error.",
        ),
        click.Option(
            ["variable_", "--variable"],
            metavar="NAME",
            help="Use this variable of a Dataset, and write only its result.",
        ),
    ]
