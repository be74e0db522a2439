"""Run a ``separate_*`` method: whiten, solve, return to axes and units, and report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import xarray as xr

from arpes_ml_plugins.errors import DataError, DistributionWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.apply import Cube, map_mixture
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.gaps_run import mended, usable_pixels
from arpes_ml_plugins.methods.goodness_run import (
    chi2_of_pixels,
    noise_of_values,
    solve_incomplete,
)
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.shift_run import (
    AUTO,
    BY_COMPONENT,
    aligned,
    doubts,
    is_by_component,
    is_common,
    shift_apart,
)

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.component_shifts import ComponentShifts
    from arpes_ml_plugins.separation.energy_shift import Shifts
    from arpes_ml_plugins.separation.separated import Separated
    from arpes_ml_plugins.separation.solvers import Solver
    from arpes_ml_plugins.separation.value_noise import ValueNoise
    from arpes_ml_plugins.separation.whiten import Whitened

    Alignment: TypeAlias = Shifts | ComponentShifts

__all__ = ["LABELS", "OUTPUTS", "TOO_MUCH", "TOO_MUCH_OF_VALUES", "run", "whitened"]

UNLIKE = 0.1  # sine of the angle between a family and the data
CHANCE = 2.0  # times the distance that noise explains
TOO_MUCH = 1.3  # of chi^2 per degree of freedom: something is left in the residual
WORTH = 0.98  # of chi^2 without shifts: what may be left after they are undone
FITS = 1.07  # of chi^2: nothing that is worth a doubt
TOO_MUCH_OF_VALUES = 1.15  # the same with the noise of each value, which is known better
OUTPUTS = {
    "spectra": "spectra",
    "spectra_stderr": "spectra",
    "maps": "maps",
    "maps_stderr": "maps",
    "reconstruction": "data",
    "residual": "data",
    "residual_chi2": "space",
    "library_distance": "component",
    "status": "text",
}


SHIFTS = {"shift": "space", "shift_stderr": "space"}
"""Of methods that can correct shifts."""
LABELS = {"label": "space"}
"""Of methods that group pixels."""


def run(
    method: str,
    setup: Setup,
    solver: Solver,
    steps: int,
    device: str,
    seed: int,
    progress: ProgressOption,
    more: Mapping[str, str] = MappingProxyType({}),
) -> xr.Dataset:
    """Separate with ``solver``, put the result on its axes, and warn unless its status is "ok".

    ``more``: outputs beyond those of all methods.
    """
    outputs = OUTPUTS | (_shift_outputs(setup) if _with_shifts(setup) else {}) | dict(more)
    result = map_mixture(
        setup.data,
        setup.channels,
        partial(_separate, setup=setup, solver=solver, seed=seed),
        outputs,
        components=setup.components,
        method=method,
        device=device,
        steps=steps,
        progress=progress,
        used=setup.used,
    )
    status = result["status"]
    if status.chunks is None and status.item() != "ok":
        warn(f"{method}: {status.item()}", DistributionWarning)
    return result


def _shift_outputs(setup: Setup) -> dict[str, str]:
    return dict.fromkeys(SHIFTS, "maps") if setup.shift == BY_COMPONENT else SHIFTS


def _with_shifts(setup: Setup) -> bool:
    return setup.library is not None or setup.shift is not None


def _separate(cube: Cube, setup: Setup, solver: Solver, seed: int) -> dict[str, Any]:
    noise = noise_of_values(cube, setup)
    cube, hot = mended(cube, setup, noise)
    straight, alignment, told = aligned(cube, setup)
    result = _solved(cube, straight, alignment, setup, solver, seed, noise)
    if _doubtful(alignment, setup):
        still = alignment.none(alignment.stderr, alignment.step)
        other = _solved(cube, cube, still, setup, solver, seed, noise)
        if _misfit(result) > WORTH * _misfit(other):
            result, alignment, told = other, still, None
    undone = alignment if alignment is not None and alignment.found else None
    if told is not None and (undone is not None or _misfit(result) > FITS):
        result["status"] = _also(told, result["status"])
    if is_common(undone) and not setup.known:
        result["status"] = _also(result["status"], doubts(result, undone, setup))
    if (apart := shift_apart(cube, setup, alignment)) is not None:
        result["status"] = _also(result["status"], apart)
    if hot:
        result["status"] = _also(result["status"], f"{hot} hot values were left out")
    return result | (_shifts(alignment, cube, setup) if _with_shifts(setup) else {})


def _doubtful(alignment: Alignment | None, setup: Setup) -> TypeGuard[Shifts]:
    """Whether common shifts must show what they are worth."""
    tried = setup.known > 0 and setup.shift in (AUTO, BY_COMPONENT)
    return tried and is_common(alignment) and alignment.found


def _solved(
    cube: Cube,
    straight: Cube,
    alignment: Alignment | None,
    setup: Setup,
    solver: Solver,
    seed: int,
    noise: ValueNoise | None,
) -> dict[str, Any]:
    """The result of a solver for aligned data, where the data are."""
    from arpes_ml_plugins.separation.separated import maps_of, uncertainty

    data, complete = whitened(straight, setup, noise, summed=solver.summed)
    found = solver.separate(data, straight.report)
    data = data.without_details()
    sources = maps_of(data, found.spectra) if found.sources is None else found.sources
    errors = uncertainty(data, found, sources, seed)
    return _in_units(cube, straight, alignment, data, found, sources, errors, complete, setup)


def _misfit(result: dict[str, Any]) -> float:
    return float(result["residual_chi2"].nanmean())


def _also(status: str, more: str) -> str:
    return "; ".join(part for part in (status, more) if part != "ok")


def _shifts(alignment: Alignment | None, cube: Cube, setup: Setup) -> dict[str, torch.Tensor]:
    import torch

    space = cube.values.shape[1:]
    shape = (len(setup.components), *space) if setup.shift == BY_COMPONENT else space
    both = [cube.values.new_full(shape, x) for x in (0.0, float("nan"))]  # not looked for
    if alignment is not None:
        each = (alignment.shift, alignment.stderr)
        both = [part.reshape(*part.shape[:-1], *space).expand(shape) for part in each]
    seen = cube.valid.any(0)
    return {n: torch.where(seen, p, float("nan")) for n, p in zip(SHIFTS, both, strict=True)}


def whitened(
    cube: Cube, setup: Setup, by_value: ValueNoise | None, *, summed: bool = False
) -> tuple[Whitened, torch.Tensor]:
    """The data over their noise, and the pixels ``(*space)`` that were used, complete or filled.

    ``summed``: also sums of pixels, where single ones show little.
    """
    import torch

    from arpes_ml_plugins.separation.whiten import whiten

    values = cube.values
    complete = usable_pixels(cube)
    n = len(setup.components)
    if int(complete.sum()) < max(n, 2):
        raise DataError(
            f"only {int(complete.sum())} pixels have values in most channels, too few for {n} "
            f"components; fill the missing values, or select channels without them"
        )
    given = None if setup.noise is None else torch.from_numpy(setup.noise).to(values)
    ready = whiten(
        values,
        complete,
        noise=given,
        by_value=by_value,
        transform=setup.transform,
        scales=setup.scales,
        common=setup.common_noise,
        nonnegative=False if setup.common_noise else setup.nonnegative,
        summed=summed,
    )
    if int(ready.kept.sum()) < n:
        raise DataError(
            f"only {int(ready.kept.sum())} channels change from pixel to pixel, too few for {n} "
            f"components; check the selection"
        )
    return ready, complete


def _in_units(
    original: Cube,
    cube: Cube,
    alignment: Alignment | None,
    ready: Whitened,
    found: Separated,
    sources: torch.Tensor,
    errors: tuple[torch.Tensor, torch.Tensor],
    complete: torch.Tensor,
    setup: Setup,
) -> dict[str, Any]:
    """Spectra of largest value 1, maps in the unit of the data, and the residual."""
    import torch

    values, noise = cube.values, ready.noise[ready.kept][:, None]
    n, space = found.spectra.shape[1], complete.shape
    whole, flat = complete.flatten(), values.flatten(1)
    spectra = values.new_zeros(len(values), n)
    spectra[ready.kept] = found.spectra * noise
    # A channel that is stuck may be brighter than all others: it does not set the scale.
    top = spectra.gather(0, spectra.abs().argmax(0, keepdim=True))[0]
    top = torch.where(top == 0, 1.0, top)
    seen = cube.valid.flatten(1).any(1)
    constant = ~ready.kept & seen
    zero = constant & (flat == 0).all(1)
    if bool(constant.any()):  # no noise, no weight: what the maps explain of them
        spectra[constant] = flat[constant][:, whole] @ torch.linalg.pinv(sources)
    maps = values.new_full((n, whole.numel()), float("nan"))
    maps[:, whole] = sources * top[:, None]
    spectra = spectra / top
    if is_by_component(alignment):  # the shifts of a pixel change how alike its spectra are
        every = torch.where(ready.kept, ready.noise, float("inf"))
        own = original.values.flatten(1)[:, whole]
        maps[:, whole] = alignment.at(whole).maps(
            own, spectra, every, nonnegative=ready.nonnegative
        )
    maps[:, ~cube.valid[seen].all(0).flatten()] = float("nan")  # solved for from what is there
    spectra_error = torch.zeros_like(spectra)
    spectra_error[ready.kept] = errors[0] * noise / top.abs()
    maps_error = torch.full_like(maps, float("nan"))
    maps_error[:, whole] = errors[1] * top.abs()[:, None]
    if ready.by_value is not None:  # no count, where one more could have been
        total = maps.nansum(1)
        spectra_error[zero] = torch.where(total > 0, ready.by_value.gain / total, 0.0)
    solve_incomplete(maps, maps_error, cube, spectra, ready)

    spectra[~seen] = spectra_error[~seen] = float("nan")
    order = _order(maps, spectra, setup)
    spectra, maps = spectra[:, order], maps[order]
    model = spectra @ maps if alignment is None else alignment.model(spectra, maps)
    model.masked_fill_(~cube.valid.flatten(1), float("nan"))
    residual = original.values.flatten(1) - model
    chi2 = chi2_of_pixels(residual, spectra, maps, model, ready)
    chi2 = torch.where(maps[0].isnan(), float("nan"), chi2)
    distance = torch.full_like(top, float("nan"))
    if found.match is not None:
        distance[: len(found.match.distance)] = found.match.distance
    labels = {} if found.labels is None else {"label": _labels(found.labels, whole, order)}
    return labels | {
        "spectra": spectra.mT,
        "spectra_stderr": spectra_error[:, order].mT,
        "maps": maps.reshape(n, *space),
        "maps_stderr": maps_error[order].reshape(n, *space),
        "reconstruction": model,
        "residual": residual,
        "residual_chi2": chi2,
        "library_distance": distance[order],
        "status": _status(
            found,
            float(chi2.nanmean()),
            setup,
            _left_out(constant, zero, ~seen, ready),
            TOO_MUCH if ready.by_value is None else TOO_MUCH_OF_VALUES,
        ),
    }


def _labels(labels: torch.Tensor, whole: torch.Tensor, order: list[int]) -> torch.Tensor:
    """Number of the component of each pixel, counted from 1 in the order shown; NaN beyond."""
    import torch

    place = torch.tensor(order, device=labels.device).argsort() + 1
    result = torch.full(whole.shape, float("nan"), dtype=torch.float64, device=labels.device)
    result[whole] = place[labels].to(result)
    return result


def _order(maps: torch.Tensor, spectra: torch.Tensor, setup: Setup) -> list[int]:
    """The library's order, then the others by falling intensity."""
    known = setup.known
    strength = maps.square().nansum(1) * spectra.square().nansum(0)
    free = strength[known:].argsort(descending=True) + known
    return [*range(known), *(int(i) for i in free)]


def _status(
    found: Separated,
    chi2: float,
    setup: Setup,
    left_out: list[str],
    limit: float,
) -> str:
    """Everything that is wrong or unusual, in words; otherwise "ok"."""
    notes = [*found.notes, *_of_families(found, [str(name) for name in setup.components])]
    if chi2 > limit:
        causes = [
            *["thresholds of the algorithm that shrink the maps"] * (found.sources is not None),
            *["pixels that are mixtures of the clusters"] * (found.labels is not None),
            "missing components",
            *["wrong families"] * (setup.known > 0),
            "or more noise than estimated",
        ]
        notes.append(
            f"chi^2 per degree of freedom is {chi2:.2g}, above {limit:g}: the components do not "
            f"explain the data within their noise (possible causes: {', '.join(causes)})"
        )
    return "; ".join([*notes, *left_out]) or "ok"


def _left_out(
    constant: torch.Tensor, zero: torch.Tensor, empty: torch.Tensor, ready: Whitened
) -> list[str]:
    """Notes on channels that took no part. Of counts, zeros are as good as other numbers."""
    kinds = {
        "constant channel{}": constant & ~zero,
        "channel{} of nothing but zeros": zero & (ready.by_value is None),
        "channel{} without values": empty,
    }
    notes = []
    for kind, channels in kinds.items():
        number = int(channels.sum())
        what, verb = (kind.format("s"), "were") if number > 1 else (kind.format(""), "was")
        if number:
            notes.append(f"{number} {what} {verb} left out")
    return notes


def _of_families(found: Separated, names: list[str]) -> list[str]:
    """Components whose family and data disagree, and which of the two their spectra come from."""
    if found.match is None:
        return []
    present = found.match.present.tolist()
    shown_off = [False] * len(present) if found.off is None else (found.off > UNLIKE).tolist()
    absent = [n for n, p, off in zip(names, present, shown_off, strict=False) if not (p or off)]
    off = [name for name, o in zip(names, shown_off, strict=False) if o]
    by_noise = (CHANCE * found.match.expected).tolist()
    far = {
        name: f"{name!r} (distance {distance:.2f})"
        for name, distance, noise in zip(
            names, found.match.distance.tolist(), by_noise, strict=False
        )
        if distance > max(UNLIKE, noise) and name not in absent
    }
    notes = []
    if absent:
        notes.append(
            f"{_listed(absent)} was not detected: the spectrum shown comes from the library"
            if len(absent) == 1
            else f"{_listed(absent)} were not detected: the spectra shown come from the library"
        )
    if far:
        notes.append(
            f"the data contain no spectrum close to the family of {', of '.join(far.values())}; "
            f"the threshold is {UNLIKE:g}"
        )
    if len(off) == 1:
        notes.append(
            f"the spectrum shown for {off[0]!r} lies outside its family: it comes from the data "
            f"alone"
        )
    elif off:
        notes.append(
            f"the spectra shown for {_listed(off)} lie outside their families: they come from the "
            f"data alone"
        )
    return notes


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
