"""The program: its commands, and how it ends."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, shell_complete

from arpes_ml_plugins.cli.console import any_character, encodable, leave_broken_pipes, say, tell
from arpes_ml_plugins.cli.run import RunGroup, find_method
from arpes_ml_plugins.cli.threads import share_the_machine
from arpes_ml_plugins.errors import ArpesMLError
from arpes_ml_plugins.plugins.manager import plugins

__all__ = ["main"]

PROGRAM = "arpes-ml"
COMPLETION_VARIABLE = "_ARPES_ML_COMPLETE"
INTERRUPTED = 130
NOBODY_READS = 141
EXIT_STATUS = """\b
Exit status:
  0    everything was done, or finished before
  1    a file could not be read, processed or written; the others were processed
  2    the command line is wrong; nothing was done
  130  interrupted (Ctrl-C); no file is left half written
  141  the program that reads the output has closed it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status.

    Without ``arguments`` it is the program itself, whose process belongs to it.
    """
    if arguments is None:
        share_the_machine()
    words = list(sys.argv[1:] if arguments is None else arguments)
    with any_character():
        try:
            return _run(words)
        except BrokenPipeError:
            leave_broken_pipes()
            return NOBODY_READS


def _run(words: list[str]) -> int:
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        return shell_complete(arpes_ml, {}, PROGRAM, COMPLETION_VARIABLE, instruction)
    try:
        with arpes_ml.make_context(PROGRAM, words) as ctx:
            status = arpes_ml.invoke(ctx)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        _explain(error)
        return error.exit_code
    except BrokenPipeError:
        raise
    except (ArpesMLError, OSError, TypeError) as error:
        tell(str(error))
        return 1
    except SystemExit as stop:  # the demonstration without PyARPES
        tell(str(stop.code))
        return 1
    except KeyboardInterrupt:
        tell("interrupted; no file was written")
        return INTERRUPTED


def _explain(error: click.ClickException) -> None:
    ctx = getattr(error, "ctx", None)
    if ctx is None:
        tell(error.format_message())
    elif error.format_message() == ctx.get_help():  # called without arguments
        sys.stderr.write(f"{ctx.get_help()}\n")
    else:
        tell(f"{error.format_message()}\n{ctx.get_usage()}\nTry: {ctx.command_path} --help")


class _Program(click.Group):
    def get_help(self, ctx: click.Context) -> str:
        return encodable(super().get_help(ctx))


@click.group(
    cls=_Program,
    epilog=EXIT_STATUS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(metadata.version("arpes-ml-plugins"), message="%(version)s")
def arpes_ml() -> None:
    """Denoise, continue and separate ARPES data in files.

    For example: arpes-ml run denoise cut.nc clean.nc
    """


@arpes_ml.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for the pictures and the result.",
)
def demo(output: Path) -> None:
    """Denoise PyARPES's example cut and draw the result."""
    import matplotlib as mpl

    from arpes_ml_plugins.demo import run_demo

    mpl.use("Agg")
    run_demo(output, sys.stdout)


class _MethodName(click.ParamType):  # type: ignore[type-arg]
    name = "method"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = [m for m in plugins().methods if m.name.startswith(incomplete)]
        return [CompletionItem(method.name, help=method.summary) for method in names]


@arpes_ml.command()
@click.argument("name", required=False, type=_MethodName())
def methods(name: str | None) -> None:
    """List the methods, or explain the one called NAME."""
    if name is not None:
        method = find_method(name)
        say(f"{method.name}{method.signature}\n\n{inspect.getdoc(method.function)}")
        return
    for method in plugins().methods:
        say(f"{method.name:24} {method.summary}")


@arpes_ml.group(cls=RunGroup, epilog=EXIT_STATUS, short_help="Apply a method to files.")
def run(**_: Any) -> None:
    """Apply a method to files: IN OUT, or IN... --out FOLDER.

    Each method has its own options (arpes-ml run denoise --help). The output is netCDF; "-" is
    stdin or stdout. With --out, folders are searched for files at any depth, and what is finished
    already is skipped, so that the same command continues after an interruption.
    """
