"""Run jobs one after another: read, run, write. Skip finished ones, report failures."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arpes_ml_plugins.cli.console import say, tell
from arpes_ml_plugins.cli.plan import STREAM, Job, is_zarr
from arpes_ml_plugins.errors import ArpesMLError, AxisError, DataError

if TYPE_CHECKING:
    import xarray as xr

    from arpes_ml_plugins.plugins.registry import Method

__all__ = ["Task", "run_all"]

EXPECTED = (ArpesMLError, OSError, TypeError, ValueError)
"""Errors whose message is enough; any other comes with its traceback."""
NOT_COMPARED = ("data", "progress", "device", "dims", "out")
"""Parameters that do not distinguish two results, or that are compared by the axes they mean."""


@dataclass(frozen=True)
class Task:
    """The task for every file."""

    method: Method
    parameters: Mapping[str, Any]
    variable: str | None
    overwrite: bool
    into_folder: bool


def run_all(task: Task, jobs: Sequence[Job]) -> int:
    """Run the jobs; the exit status is 0, or 1 if one failed, or 130 after Ctrl-C."""
    counts = dict.fromkeys(("written", "skipped", "failed"), 0)
    try:
        for number, job in enumerate(jobs, 1):
            if len(jobs) > 1:
                tell(f"[{number}/{len(jobs)}] {job.source}")
            status, output = _told(task, job)
            _deliver(output)
            counts[status] += 1
    except KeyboardInterrupt:
        begun = f"; {counts['written']} of {len(jobs)} files were" if len(jobs) > 1 else ""
        tell(f"interrupted{begun or '; no file was'} written")
        return 130
    if len(jobs) > 1:
        tell(", ".join(f"{count} {what}" for what, count in counts.items() if count))
    return 1 if counts["failed"] else 0


def _told(task: Task, job: Job) -> tuple[str, str | bytes]:
    """Run the job; return its outcome and what to write to stdout.

    Errors and warnings go to stderr, with the name of the file.
    """
    try:
        with _warnings_about(job.source):
            return _run(task, job)
    except EXPECTED as error:
        named = not task.into_folder or str(job.source) in str(error)
        tell((str(error) if named else f"{job.source}: {error}") + _on_command_line(error))
    except (Exception, SystemExit) as error:  # a plugin's code: anything may happen
        traceback.print_exception(error)
        tell(f"{job.source}: {type(error).__name__}")
    return "failed", ""


def _on_command_line(error: BaseException) -> str:
    """How to write here what an error recommends for Python."""
    if isinstance(error, AxisError) and "dims=" in str(error):
        return ". On the command line: --dims NAME,NAME"
    return ""


def _deliver(output: str | bytes) -> None:
    """Here and not where errors of a file are caught: a reader that went away ends the program."""
    if isinstance(output, bytes):
        sys.stdout.buffer.write(output)
        sys.stdout.buffer.flush()
    elif output:
        say(output)


@contextlib.contextmanager
def _warnings_about(source: Path) -> Iterator[None]:
    """Each warning on one line, and again for every file: entering resets what was shown."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        tell(f"warning: {source}: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _run(task: Task, job: Job) -> tuple[str, str | bytes]:
    from arpes_ml_plugins.plugins.call import public_function

    in_place = job.source != STREAM and job.source.resolve() == job.target.resolve()
    if task.method.resumable and is_zarr(job.target) and not in_place:
        data = _chosen(_read(job.source), task.variable, job.source)
        with _set_aside(job.target) if task.overwrite else contextlib.nullcontext():
            public_function(task.method)(data, **task.parameters, out=job.target)
        return "written", f"written: {job.target}"
    _check_target(task, job)
    data = _chosen(_read(job.source), task.variable, job.source)
    if task.into_folder and job.target.exists() and not task.overwrite:
        if _is_finished(task, data, job.target):
            return "skipped", f"finished before: {job.target}"
        raise FileExistsError(
            f"{job.target} exists and is not the result of this method with these parameters on "
            f"this file; --overwrite replaces it"
        )
    with _stdout_kept(job.target == STREAM):
        result = public_function(task.method)(data, **task.parameters)
    return "written", _write(result, job.target)


@contextlib.contextmanager
def _set_aside(folder: Path) -> Iterator[None]:
    """Put a folder of this name away, to be deleted after the block, or restored if that fails."""
    if not folder.exists():
        yield
        return
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    old = folder.rename(beside / folder.name)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        old.rename(folder)
        beside.rmdir()
        raise
    shutil.rmtree(beside)


def _check_target(task: Task, job: Job) -> None:
    """Refuse to replace measured data or the input, and other formats; results may be replaced."""
    from arpes_ml_plugins.labelled.files import checked_suffix

    if job.target != STREAM:
        checked_suffix(job.target)
    if task.into_folder or task.overwrite or job.target == STREAM or not job.target.exists():
        return
    if job.source != STREAM and job.source.exists() and job.target.samefile(job.source):
        raise FileExistsError(f"{job.target} is the input; --overwrite replaces it")
    if _record_in(job.target) is None:
        raise FileExistsError(
            f"{job.target} exists and is no result of this program; --overwrite replaces it"
        )


def _read(source: Path) -> xr.DataArray | xr.Dataset:
    from arpes_ml_plugins.labelled.files import load

    if source != STREAM:
        return load(source)
    if sys.stdin.isatty():
        raise OSError("expected a netCDF file on stdin, not a terminal")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdin.nc"
        file.write_bytes(sys.stdin.buffer.read())
        try:
            return load(file)
        except OSError:
            raise OSError("expected a netCDF file on stdin, and nothing before or after") from None


def _chosen(
    data: xr.DataArray | xr.Dataset, variable: str | None, source: Path
) -> xr.DataArray | xr.Dataset:
    if variable is None:
        return _with_spectrum(data)
    arrays = getattr(data, "data_vars", {data.name: data} if hasattr(data, "name") else {})
    if variable not in arrays:
        raise DataError(
            f"{source} has no variable {variable!r}; it has {', '.join(map(str, arrays))}"
        )
    return arrays[variable]


def _with_spectrum(data: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    from arpes_ml_plugins.labelled.spectrum import select_spectrum

    try:
        select_spectrum(data)
    except AxisError as error:
        raise AxisError(f"{error}; on the command line: --variable NAME") from None
    return data


def _is_finished(task: Task, data: xr.DataArray | xr.Dataset, target: Path) -> bool:
    """Whether the file is the result of this method for these data and parameters."""
    from arpes_ml_plugins.labelled.provenance import axes_fingerprint, fingerprint
    from arpes_ml_plugins.labelled.recording import written
    from arpes_ml_plugins.labelled.spectrum import select_spectrum
    from arpes_ml_plugins.labelled.units import strip_unit

    record = _record_in(target)
    if record is None or record.get("by") != task.method.name:
        return False
    expected = {
        name: task.parameters.get(name, parameter.default)
        for name, parameter in task.method.signature.parameters.items()
        if name not in NOT_COMPARED and (name in task.parameters or name != "rng")
    }
    recorded = task.method.with_present_names(record.get("parameters", {}))
    array, _ = strip_unit(select_spectrum(data, task.method.example_dims)[0])
    return (
        record.get("parent_hash") == fingerprint(array)
        and record.get("parent_axes") == axes_fingerprint(array)
        and all(name in recorded for name in expected)
        and all(recorded[name] == value for name, value in written(expected, {}).items())
        and _same_axes(task.parameters.get("dims"), record.get("axes", {}))
    )


def _same_axes(given: object, recorded: Mapping[str, str]) -> bool:
    """Whether axes that are given, by role or in the order of the roles, are those recorded."""
    if isinstance(given, Mapping):
        return all(recorded.get(role) == dim for role, dim in given.items())
    return not isinstance(given, (list, tuple)) or list(given) == list(recorded.values())


def _record_in(file: Path) -> Mapping[str, Any] | None:
    """The record of the last step, if the file is a complete result of this package."""
    from arpes_ml_plugins.labelled.files import load
    from arpes_ml_plugins.labelled.provenance import read_provenance

    try:
        record = (read_provenance(load(file)) or {}).get("record")
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "parameters" in record else None


def _stdout_kept(needed: bool) -> contextlib.AbstractContextManager[Any]:
    """Keep the output of ``print`` in a method out of the bytes of its result."""
    return contextlib.redirect_stdout(sys.stderr) if needed else contextlib.nullcontext()


def _write(result: xr.DataArray | xr.Dataset, target: Path) -> str | bytes:
    """Write the file, or return its bytes if they are for stdout."""
    from arpes_ml_plugins.labelled.files import save

    if target != STREAM:
        target.parent.mkdir(parents=True, exist_ok=True)
        save(result, target)
        return f"written: {target}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdout.nc"
        save(result, file)
        return file.read_bytes()
