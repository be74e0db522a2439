"""Run a ``separate_*`` method: whiten, solve, return to axes and units, and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeGuard

import xarray as xr

from arpes_ml_plugins.errors import DataError
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
from arpes_ml_plugins.methods.gaps_run import mended, usable_pixels, without_dead_pixels
from arpes_ml_plugins.methods.goodness_run import bent, evened, noise_and_levels, saturated
from arpes_ml_plugins.methods.left_shifts_run import left_alone
from arpes_ml_plugins.methods.open_run import left_open
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.separation_status import dead_left_out, hot_left_out, warn_of_status
from arpes_ml_plugins.methods.separation_units import ORDER, in_units
from arpes_ml_plugins.methods.shift_run import (
    AUTO,
    BY_COMPONENT,
    against_each_other,
    aligned,
    chemical,
    doubts,
    is_by_component,
    is_common,
    left_apart,
    of_each,
    offset,
    own_shifts,
    undetermined,
    with_energies,
)

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.component_shifts import ComponentShifts
    from arpes_ml_plugins.separation.energy_shift import Shifts
    from arpes_ml_plugins.separation.pixel_maps import PixelMaps
    from arpes_ml_plugins.separation.solvers import Solver
    from arpes_ml_plugins.separation.value_noise import ValueNoise
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["LABELS", "OUTPUTS", "run", "whitened"]

WORTH = 0.98  # of chi^2 without shifts: what may be left after they are undone
SIGNIFICANT = 5.0  # standard deviations
FITS = 1.07  # of chi^2: nothing that is worth a doubt
OPEN = 0.2  # of a spectrum: share of another that may be in a free one beside known spectra
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
    options: dict[str, Any] = {
        "method": method,
        "steps": steps,
        "device": device,
        "progress": progress,
    }
    result = None
    if not solver.whole and may_be_mapped_in_pieces(setup):
        result = _in_pieces(setup, solver, seed, outputs, options)
    if result is None:  # all pixels at once, in memory
        result = map_mixture(
            setup.data,
            setup.channels,
            partial(_separate, setup=setup, solver=solver, seed=seed),
            outputs,
            components=setup.components,
            used=setup.used,
            **options,
        )
    warn_of_status(result, method)
    return result


def _in_pieces(
    setup: Setup,
    solver: Solver,
    seed: int,
    outputs: Mapping[str, str],
    options: Mapping[str, Any],
) -> xr.Dataset | None:
    """Spectra from a sample; None if it shows shifts, which need neighbours far away."""
    lazy = setup.data.chunks is not None
    result, fit = in_pieces(
        setup,
        partial(_prepared, solver=solver, seed=seed, lazy=lazy),
        partial(_mapped, shifts=_with_shifts(setup)),
        outputs,
        **options,
    )
    return None if not lazy and fit.item().shifted else result


def _shift_outputs(setup: Setup) -> dict[str, str]:
    return dict.fromkeys(SHIFTS, "maps") if setup.shift == BY_COMPONENT else SHIFTS


def _with_shifts(setup: Setup) -> bool:
    return setup.library is not None or setup.shift is not None


def _separate(cube: Cube, setup: Setup, solver: Solver, seed: int) -> dict[str, Any]:
    noise, levels = noise_and_levels(cube, setup)
    cube, dead = without_dead_pixels(cube, noise)
    cube, hot = mended(cube, setup, noise)
    straight, alignment, told = aligned(cube, setup, noise)
    result = _solved(cube, straight, alignment, setup, solver, seed, noise)
    if _doubtful(alignment, setup):
        still = alignment.none(alignment.stderr, alignment.step)
        other = _solved(cube, cube, still, setup, solver, seed, noise)
        if not _worth(result["residual_chi2"], other["residual_chi2"]):
            result, alignment, told = other, still, None
    spread = against_each_other(cube, setup, alignment, result)
    own = None
    if spread is not None and setup.shift == AUTO and is_common(alignment):
        own = own_shifts(cube, setup, alignment)
    if own is not None:
        other = _solved(cube, *own[:2], setup, solver, seed, noise)
        if _most_explained(other["residual_chi2"], result["residual_chi2"]):
            result, spread, (_, alignment, told) = other, None, own
    undone = alignment if alignment is not None and alignment.found else None
    lost = is_common(alignment) and alignment.undetermined is not None
    if told is not None and (undone is not None or lost or _misfit(result) > FITS):
        result["status"] = _also(result["status"], told)
    if is_common(alignment) and setup.known:
        result["spectra_stderr"] = with_energies(result, alignment, setup)
    if is_common(undone):
        doubt = chemical(result, undone, setup) if setup.known else doubts(result, undone, setup)
        result["status"] = _also(result["status"], doubt)
    if result["status"] != "ok" and setup.known:
        result["status"] = _also(result["status"], offset(cube, setup, noise))
    notes = (
        left_apart(spread, setup) if spread is not None else None,
        left_alone(cube, setup, result) if alignment is None else None,
        saturated(cube, levels) or (None if undone else bent(result)),
        hot_left_out(hot) if hot else None,
        dead_left_out(dead) if dead else None,
    )
    for note in filter(None, notes):
        result["status"] = _also(result["status"], note)
    del result[FIT]
    each = len(setup.components) if setup.shift == BY_COMPONENT else 0
    if is_by_component(alignment) and not each:
        alignment = alignment.mean(result["maps"].flatten(1))
    if each and spread is not None and is_common(alignment):
        alignment = of_each(alignment, spread, result["maps"].flatten(1))
    return result | (_shifts(alignment, cube, each) if _with_shifts(setup) else {})


def _worth(shifted: torch.Tensor, still: torch.Tensor) -> bool:
    """Whether chi^2 of pixels shows that shifts explain the data, rather than replace components.

    At few counts noise hides what they explain: then that has to be certain, and more than half of
    what is left without.
    """
    left, without = float(shifted.nanmean()), float(still.nanmean())
    return left <= WORTH * without or _most_explained(shifted, still)


def _most_explained(shifted: torch.Tensor, still: torch.Tensor) -> bool:
    """Whether shifts certainly explain more than half of what is left without: less may be that of
    a missing component.
    """
    left, without = float(shifted.nanmean()), float(still.nanmean())
    gain = (still - shifted)[shifted.isfinite() & still.isfinite()]
    certain = float(gain.mean()) > SIGNIFICANT * float(gain.std()) / len(gain) ** 0.5
    return certain and left - 1 < (without - 1) / 2


def _doubtful(alignment: Shifts | ComponentShifts | None, setup: Setup) -> TypeGuard[Shifts]:
    """Whether common shifts must show what they are worth."""
    tried = setup.known > 0 and setup.shift in (AUTO, BY_COMPONENT)
    return tried and is_common(alignment) and alignment.found


def _prepared(cube: Cube, setup: Setup, solver: Solver, seed: int, lazy: bool) -> dict[str, Any]:
    """What all pixels have in common, from a sample of tiles."""
    noise, levels = noise_and_levels(cube, setup)
    cube, dead = without_dead_pixels(cube, noise, first=1)
    image, hot = mended(one_above_another(cube), setup, noise)
    told, shifts = shifted_tiles(image, setup, noise, lazy=lazy)
    tiles = cube.values.shape
    cube = replace(cube, values=image.values.reshape(tiles), valid=image.valid.reshape(tiles))
    result = _solved(cube, cube, None, setup, solver, seed, noise)
    if told is not None and _misfit(result) > FITS:
        result["status"] = _also(result["status"], told)
    lost = None if shifts is None else undetermined(shifts)
    if shifts is not None and lost is not None:
        result["spectra_stderr"] = with_energies(result, shifts, setup)
    dulled = saturated(image, levels) or (bent(result) if told is None else None)
    for note in filter(None, (lost, left_alone(cube, setup, result), dulled)):
        result["status"] = _also(result["status"], note)
    if hot:
        result["status"] = _also(result["status"], f"hot values were left out ({hot} of a sample)")
    if dead:
        result["status"] = _also(result["status"], f"in a sample, {dead_left_out(dead)}")
    fit: PixelMaps = result[FIT]
    spiky = not hot and sticking_out(image, fit.noise, fit.by_value) is not None
    shifted = told is not None and setup.shift == "auto"
    return result | {FIT: replace(fit, shifted=shifted, spiky=spiky)}


def _mapped(cube: Cube, known: PixelMaps, *, shifts: bool) -> dict[str, Any]:
    """Maps of a band of pixels."""
    from arpes_ml_plugins.separation.pixel_maps import map_in_pieces

    known = known.to(cube.values.device)
    cube, _ = without_dead_pixels(cube, known.by_value)
    measured = known.seen.reshape(-1, *[1] * (cube.values.ndim - 1))
    cube = replace(cube, valid=cube.valid & measured)
    if not known.spiky:
        cube = without_hot(cube, known.noise, known.by_value)
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
    alignment: Shifts | ComponentShifts | None,
    setup: Setup,
    solver: Solver,
    seed: int,
    noise: ValueNoise | None,
) -> dict[str, Any]:
    """The result of a solver for aligned data, where the data are."""
    from arpes_ml_plugins.separation.purity import shown_pure
    from arpes_ml_plugins.separation.separated import maps_of, uncertainty

    # Methods that need all pixels at once compare these with each other.
    even, of_even, divided = (straight, setup, None) if solver.whole else evened(straight, setup)
    data, complete = whitened(even, of_even, noise, summed=solver.summed)
    found = solver.separate(data, straight.report)
    free = setup.known < len(setup.components) and found.labels is None and not solver.whole
    mixed = ~shown_pure(data, found.spectra) if free else None
    data = data.without_details()
    sources = maps_of(data, found.spectra) if found.sources is None else found.sources
    if divided is not None:
        sources = sources * divided[complete]
    errors = uncertainty(data, found, seed)
    result = in_units(cube, straight, alignment, data, found, sources, errors, complete, setup)
    order = result.pop(ORDER)
    if mixed is not None:
        mixed, holding = mixed[order], _holding(result)
        if setup.known:  # these are determined by their families, and narrow what others may be
            mixed &= _possible_share(result) > OPEN
            mixed[: setup.known] = holding[: setup.known] = False
        note = left_open(even, data, result["spectra"].mT, mixed, holding, of_even)
        result["status"] = result["status"] if note is None else _also(result["status"], note)
    return result


def _possible_share(result: dict[str, Any]) -> torch.Tensor:
    from arpes_ml_plugins.separation.purity import possible_share

    names = "spectra", "spectra_stderr", "maps", "maps_stderr"
    spectra, errors, *maps = (result[name].nan_to_num() for name in names)
    return possible_share(spectra.mT, errors.mT, *(part.flatten(1) for part in maps))


def _holding(result: dict[str, Any]) -> torch.Tensor:
    """Which spectra hold the lines of another one."""
    from arpes_ml_plugins.separation.held_lines import holds_another

    spectra, errors = result["spectra"].mT, result["spectra_stderr"].mT
    known = spectra.isfinite().all(1) & errors.isfinite().all(1)
    return holds_another(spectra[known], errors[known])


def _misfit(result: dict[str, Any]) -> float:
    return float(result["residual_chi2"].nanmean())


def _also(status: str, more: str) -> str:
    return "; ".join(part for part in (status, more) if part != "ok") or "ok"


def _shifts(
    alignment: Shifts | ComponentShifts | None, cube: Cube, each: int = 0
) -> dict[str, torch.Tensor]:
    """Shifts with their errors, of pixels or of ``each`` component in them."""
    import torch

    space = cube.values.shape[1:]
    shape = (each, *space) if each else space
    both = [cube.values.new_full(shape, x) for x in (0.0, float("nan"))]  # not looked for
    if alignment is not None:
        found = (alignment.shift, alignment.stderr)
        both = [part.reshape(*part.shape[:-1], *space).expand(shape) for part in found]
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
        seen=cube.valid,
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
            f"channels that change from pixel to pixel: {int(ready.kept.sum())}, too few for {n} "
            f"components; check the selection"
        )
    return ready, complete
