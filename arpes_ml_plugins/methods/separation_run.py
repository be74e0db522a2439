"""Run a ``separate_*`` method: whiten, solve, return to axes and units, and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.errors import DataError, DistributionWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.apply import Cube, map_mixture
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.blocks_run import (
    FIT,
    in_pieces,
    may_be_mapped_in_pieces,
    one_above_another,
    shifted_tiles,
    sticking_out,
    without_hot,
)
from arpes_ml_plugins.methods.gaps_run import mended, usable_pixels
from arpes_ml_plugins.methods.goodness_run import noise_of_values
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.separation_status import (
    TOO_MUCH,
    TOO_MUCH_OF_VALUES,
    left_out,
    status_of,
)
from arpes_ml_plugins.methods.shift_run import aligned, doubts

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.energy_shift import Shifts
    from arpes_ml_plugins.separation.pixel_maps import PixelMaps
    from arpes_ml_plugins.separation.separated import Separated, Uncertainty
    from arpes_ml_plugins.separation.solvers import Solver
    from arpes_ml_plugins.separation.value_noise import ValueNoise
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["LABELS", "OUTPUTS", "run", "whitened"]

WORTH = 0.98  # of chi^2 without shifts: what may be left after they are undone
FITS = 1.07  # of chi^2: nothing that is worth a doubt
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
    outputs = OUTPUTS | (SHIFTS if _with_shifts(setup) else {}) | dict(more)
    result = None
    if not solver.whole and may_be_mapped_in_pieces(setup):
        result = _in_pieces(method, setup, solver, steps, device, seed, progress, outputs)
    if result is None:
        result = _together(method, setup, solver, steps, device, seed, progress, outputs)
    status = result["status"]
    if status.chunks is None and status.item() != "ok":
        warn(f"{method}: {status.item()}", DistributionWarning)
    return result


def _together(
    method: str,
    setup: Setup,
    solver: Solver,
    steps: int,
    device: str,
    seed: int,
    progress: ProgressOption,
    outputs: Mapping[str, str],
) -> xr.Dataset:
    """All pixels at once, in memory."""
    return map_mixture(
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


def _in_pieces(
    method: str,
    setup: Setup,
    solver: Solver,
    steps: int,
    device: str,
    seed: int,
    progress: ProgressOption,
    outputs: Mapping[str, str],
) -> xr.Dataset | None:
    """Spectra from a sample; None if it shows shifts, which need neighbours far away."""
    lazy = setup.data.chunks is not None
    result, fit = in_pieces(
        method,
        setup,
        partial(_prepared, solver=solver, seed=seed, lazy=lazy),
        partial(_mapped, shifts=_with_shifts(setup)),
        outputs,
        steps=steps,
        device=device,
        progress=progress,
    )
    return None if not lazy and fit.item().shifted else result


def _with_shifts(setup: Setup) -> bool:
    return setup.library is not None or setup.shift is not None


def _separate(cube: Cube, setup: Setup, solver: Solver, seed: int) -> dict[str, Any]:
    noise = noise_of_values(cube, setup)
    cube, hot = mended(cube, setup, noise)
    straight, alignment, told = aligned(cube, setup)
    result = _solved(cube, straight, alignment, setup, solver, seed, noise)
    if alignment is not None and alignment.found and setup.shift == "auto" and setup.known:
        still = alignment.none(alignment.stderr, alignment.step)
        other = _solved(cube, cube, still, setup, solver, seed, noise)
        if _misfit(result) > WORTH * _misfit(other):
            result, alignment, told = other, still, None
    undone = alignment if alignment is not None and alignment.found else None
    if told is not None and (undone is not None or _misfit(result) > FITS):
        result["status"] = _also(told, result["status"])
    if undone is not None and not setup.known:
        result["status"] = _also(result["status"], doubts(result, undone, setup))
    if hot:
        result["status"] = _also(result["status"], f"{hot} hot values were left out")
    del result[FIT]
    return result | (_shifts(alignment, cube) if _with_shifts(setup) else {})


def _prepared(cube: Cube, setup: Setup, solver: Solver, seed: int, lazy: bool) -> dict[str, Any]:
    """What all pixels have in common, from a sample of tiles."""
    noise = noise_of_values(cube, setup)
    image, hot = mended(one_above_another(cube), setup, noise)
    told = shifted_tiles(image, setup, lazy=lazy)
    tiles = cube.values.shape
    cube = replace(cube, values=image.values.reshape(tiles), valid=image.valid.reshape(tiles))
    result = _solved(cube, cube, None, setup, solver, seed, noise)
    if told is not None and _misfit(result) > FITS:
        result["status"] = _also(told, result["status"])
    if hot:
        result["status"] = _also(result["status"], f"hot values were left out ({hot} of a sample)")
    fit: PixelMaps = result[FIT]
    spiky = not hot and sticking_out(image, fit) is not None
    shifted = told is not None and setup.shift == "auto"
    return result | {FIT: replace(fit, shifted=shifted, spiky=spiky)}


def _mapped(cube: Cube, known: PixelMaps, *, shifts: bool) -> dict[str, Any]:
    """Maps of a band of pixels."""
    from arpes_ml_plugins.separation.pixel_maps import map_in_pieces

    known = known.to(cube.values.device)
    cube = without_hot(cube, known)
    mapped = map_in_pieces(known, cube.values.flatten(1), cube.valid.flatten(1))
    return {
        "maps": mapped.maps,
        "maps_stderr": mapped.errors,
        "reconstruction": mapped.model,
        "residual": mapped.residual,
        "residual_chi2": mapped.chi2,
    } | (_shifts(None, cube) if shifts else {})


def _solved(
    cube: Cube,
    straight: Cube,
    alignment: Shifts | None,
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
    errors = uncertainty(data, found, seed)
    return _in_units(cube, straight, alignment, data, found, sources, errors, complete, setup)


def _misfit(result: dict[str, Any]) -> float:
    return float(result["residual_chi2"].nanmean())


def _also(status: str, more: str) -> str:
    return "; ".join(part for part in (status, more) if part != "ok")


def _shifts(alignment: Shifts | None, cube: Cube) -> dict[str, torch.Tensor]:
    import torch

    space = cube.values.shape[1:]
    zero = cube.values.new_zeros(space)
    both = (zero, zero + float("nan"))  # not looked for
    if alignment is not None:
        both = (alignment.shift.reshape(space), alignment.stderr.reshape(space))
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
    alignment: Shifts | None,
    ready: Whitened,
    found: Separated,
    sources: torch.Tensor,
    errors: Uncertainty,
    complete: torch.Tensor,
    setup: Setup,
) -> dict[str, Any]:
    """Spectra of largest value 1, maps in the unit of the data, and the residual."""
    import torch

    from arpes_ml_plugins.separation.pixel_maps import PixelMaps, map_in_pieces

    values, valid, noise = cube.values.flatten(1), cube.valid.flatten(1), ready.noise[ready.kept]
    n, space, whole = found.spectra.shape[1], complete.shape, complete.flatten()

    def in_units(spectra: torch.Tensor) -> torch.Tensor:  # (..., k, n) to (..., m, n)
        wide = spectra.new_zeros(*spectra.shape[:-2], len(values), n)
        wide[..., ready.kept, :] = spectra * noise[:, None]
        return wide

    spectra = in_units(found.spectra)
    # A channel that is stuck may be brighter than all others: it does not set the scale.
    top = spectra.gather(0, spectra.abs().argmax(0, keepdim=True))[0]
    top = torch.where(top == 0, 1.0, top)
    seen = valid.any(1)
    constant = ~ready.kept & seen
    zero = constant & (values == 0).all(1)
    if bool(constant.any()):  # no noise, no weight: what the maps explain of them
        spectra[constant] = values[constant][:, whole] @ torch.linalg.pinv(sources)
    spectra, maps = spectra / top, sources * top[:, None]
    spectra_error = in_units(errors.stderr) / top.abs()
    if ready.by_value is not None:  # no count, where one more could have been
        total = maps.sum(1)
        spectra_error[zero] = torch.where(total > 0, ready.by_value.gain / total, 0.0)
    order = _order(maps, spectra, setup)
    spectra, maps, spectra_error = spectra[:, order], maps[order], spectra_error[:, order]
    known = PixelMaps(
        spectra.clone(),
        torch.where(ready.kept, ready.noise, 0.0),
        seen,
        ready.by_value,
        ready.nonnegative,
        (in_units(errors.halves) / top)[..., order],
        errors.share,
    )
    all_maps = values.new_full((n, whole.numel()), float("nan"))
    all_maps[:, whole] = maps
    all_maps[:, ~valid[seen].all(0)] = float("nan")  # solved for from what is there
    mapped = map_in_pieces(
        known,
        values,
        valid,
        maps=all_maps,
        original=original.values.flatten(1),
        moved=None if alignment is None else partial(_back, alignment),
    )
    spectra[~seen] = spectra_error[~seen] = float("nan")
    distance = torch.full_like(top, float("nan"))
    if found.match is not None:
        distance[: len(found.match.distance)] = found.match.distance
    labels = {} if found.labels is None else {"label": _labels(found.labels, whole, order)}
    return labels | {
        "spectra": spectra.mT,
        "spectra_stderr": spectra_error.mT,
        "maps": mapped.maps.reshape(n, *space),
        "maps_stderr": mapped.errors.reshape(n, *space),
        "reconstruction": mapped.model,
        "residual": mapped.residual,
        "residual_chi2": mapped.chi2,
        "library_distance": distance[order],
        FIT: known.to("cpu"),
        "status": status_of(
            found,
            float(mapped.chi2.nanmean()),
            setup,
            left_out(constant, zero, ~seen, ready),
            TOO_MUCH if ready.by_value is None else TOO_MUCH_OF_VALUES,
        ),
    }


def _back(alignment: Shifts, model: torch.Tensor, pixels: slice) -> torch.Tensor:
    """A model of some pixels where the data are."""
    return replace(alignment, shift=alignment.shift[pixels]).back(model)


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
