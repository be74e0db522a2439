"""Return what a solver found to the axes, the order and the units of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from arpes_ml_plugins.labelled.apply import Cube
from arpes_ml_plugins.methods.blocks_run import FIT
from arpes_ml_plugins.methods.goodness_run import ENOUGH, deviations
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.separation_status import (
    largest_chi2,
    left_out,
    of_gaps,
    of_pixels,
    of_regions,
    of_shared_noise,
    of_structure,
    of_sums,
    status_of,
)
from arpes_ml_plugins.methods.shift_run import is_by_component

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.component_shifts import ComponentShifts
    from arpes_ml_plugins.separation.energy_shift import Shifts
    from arpes_ml_plugins.separation.pixel_maps import Mapped, PixelMaps
    from arpes_ml_plugins.separation.separated import Separated, Uncertainty
    from arpes_ml_plugins.separation.whiten import Whitened

    Alignment: TypeAlias = Shifts | ComponentShifts

__all__ = ["ORDER", "in_units"]

ORDER = "order"
"""Number of each component shown, among those of the solver."""
UNKNOWN = 0.02  # measured share of what shows a value of a spectrum: no more than noise of maps


def in_units(
    original: Cube,
    cube: Cube,
    alignment: Alignment | None,
    ready: Whitened,
    found: Separated,
    sources: torch.Tensor,
    errors: Uncertainty,
    complete: torch.Tensor,
    setup: Setup,
) -> dict[str, Any]:
    """Spectra of largest value 1, maps in the unit of the data, and the residual."""
    seen, whole = cube.valid.flatten(1).any(1), complete.flatten()
    shown = _components(original, cube, alignment, ready, found, sources, errors, whole, setup)
    known = _known(shown, cube, ready, errors, setup)
    mapped = _mapped(known, shown, original, cube, alignment, whole)
    unseen = ~seen[:, None]
    spectra, stderr = (x.masked_fill(unseen, float("nan")) for x in (shown.spectra, shown.stderr))
    notes = left_out(shown.constant, shown.zero, ~seen, ready)
    notes += of_gaps(shown.share < UNKNOWN, [str(name) for name in setup.components])
    notes += of_shared_noise(ready.neighbours.correlation)
    freedom = int(ready.kept.sum()) - len(setup.components)
    left = of_pixels(mapped.chi2, freedom) or of_regions(
        mapped.chi2.reshape(cube.values.shape[1:]), freedom
    )
    if setup.known:
        left += of_sums(mapped.residual, mapped.model, spectra.nan_to_num(), setup)
    limit = largest_chi2(by_value=ready.by_value is not None)
    if not (left or float(mapped.chi2.nanmean()) > limit or _rough(found, alignment)):
        some = slice(None, None, max(1, mapped.residual.shape[1] // ENOUGH))
        own = mapped.residual[:, some], mapped.model[:, some], mapped.errors[:, some]
        left = of_structure(*known.at(some).over_noise(*own))
    notes += left
    distance = spectra.new_full(spectra.shape[1:], float("nan"))
    if found.match is not None:
        distance[: len(found.match.distance)] = found.match.distance
    labels = {} if found.labels is None else {"label": _labels(found.labels, whole, shown.order)}
    return labels | {
        "spectra": spectra.mT,
        "spectra_stderr": stderr.mT,
        "maps": mapped.maps.reshape(-1, *complete.shape),
        "maps_stderr": mapped.errors.reshape(-1, *complete.shape),
        "reconstruction": mapped.model,
        "residual": mapped.residual,
        "residual_chi2": mapped.chi2,
        "library_distance": distance[shown.order],
        ORDER: shown.order,
        FIT: replace(known, variances=None).to("cpu"),
        "status": status_of(
            found,
            float(mapped.chi2.nanmean()),
            mapped.residual,
            setup,
            notes,
            limit,
        ),
    }


def _rough(found: Separated, alignment: Alignment | None) -> bool:
    """Whether the model is known to leave a structure: maps or shifts that are not quite those of
    the data.
    """
    shifted = alignment is not None and alignment.found
    return shifted or found.labels is not None or found.sources is not None


@dataclass(frozen=True)
class _Components:
    """Components in the order shown, spectra of largest value 1."""

    spectra: torch.Tensor
    """``(m, n)``."""
    stderr: torch.Tensor
    maps: torch.Tensor
    """``(n, t)``, of the complete pixels."""
    halves: torch.Tensor
    """``(splits, 2, m, n)``: spectra from halves of the pixels."""
    order: list[int]
    """Number of each component, among those of the solver."""
    constant: torch.Tensor
    """``(m,)`` bool: channels without noise, and therefore without weight."""
    zero: torch.Tensor
    """``(m,)`` bool: those of them that are zero."""
    share: torch.Tensor
    """``(m, n)``: of what shows each value of the spectra, how much was measured."""


def _components(
    original: Cube,
    cube: Cube,
    alignment: Alignment | None,
    ready: Whitened,
    found: Separated,
    sources: torch.Tensor,
    errors: Uncertainty,
    whole: torch.Tensor,
    setup: Setup,
) -> _Components:
    import torch

    values = cube.values.flatten(1)
    spectra = _with_unit(found.spectra, ready)
    # A channel that is stuck may be brighter than all others: it does not set the scale.
    top = spectra.gather(0, spectra.abs().argmax(0, keepdim=True))[0]
    top = torch.where(top == 0, 1.0, top)
    constant = ~ready.kept & cube.valid.flatten(1).any(1)
    zero = constant & (values == 0).all(1)
    if bool(constant.any()):  # what the maps explain of them
        spectra[constant] = values[constant][:, whole] @ torch.linalg.pinv(sources)
    spectra, maps = spectra / top, sources * top[:, None]
    stderr = _with_unit(errors.stderr, ready) / top.abs()
    share = _measured(cube, maps, found, whole)
    stderr = stderr / share.clamp(min=UNKNOWN**2)
    if is_by_component(alignment):  # the shifts of a pixel change how alike its spectra are
        every = torch.where(ready.kept, ready.noise, float("inf"))
        own = original.values.flatten(1)[:, whole]
        maps = alignment.at(whole).maps(own, spectra, every, nonnegative=ready.nonnegative)
    if ready.by_value is not None:  # no count, where one more could have been
        total = maps.sum(1)
        stderr[zero] = torch.where(total > 0, ready.by_value.gain / total, 0.0)
    order = _order(maps, spectra, setup)
    halves = _with_unit(errors.halves, ready) / top
    return _Components(
        spectra[:, order],
        stderr[:, order],
        maps[order],
        halves[..., order],
        order,
        constant,
        zero,
        share[:, order],
    )


def _measured(
    cube: Cube, maps: torch.Tensor, found: Separated, whole: torch.Tensor
) -> torch.Tensor:
    """Share of what shows each value of the spectra ``(m, n)`` that was measured.

    Halves of the pixels have filled values in common, and average these with measured ones: their
    differences are too small by the square root of this share twice.
    """
    from arpes_ml_plugins.separation.gaps import measured_share

    seen = cube.valid.flatten(1)[:, whole]
    if bool((seen == seen[:, :1]).all()):
        return maps.new_ones(len(seen), len(maps))
    share = measured_share(seen, maps)
    share[~seen.any(1)] = 1.0
    share[:, : len(found.families)] = 1.0  # families know what was not measured
    return share


def _with_unit(spectra: torch.Tensor, ready: Whitened) -> torch.Tensor:
    """Spectra ``(..., k, n)`` of channels with weight, as ``(..., m, n)`` in the data's unit."""
    wide = spectra.new_zeros(*spectra.shape[:-2], len(ready.kept), spectra.shape[-1])
    wide[..., ready.kept, :] = spectra * ready.noise[ready.kept][:, None]
    return wide


def _known(
    shown: _Components, cube: Cube, ready: Whitened, errors: Uncertainty, setup: Setup
) -> PixelMaps:
    import torch

    from arpes_ml_plugins.separation.pixel_maps import PixelMaps
    from arpes_ml_plugins.separation.shared_channels import variance_by_sharing

    each = deviations(setup, cube.values.flatten(1))
    scaled = shown.spectra[ready.kept] / ready.noise[ready.kept][:, None]
    in_order = len(setup.channels) == 1 and not setup.common_noise
    return PixelMaps(
        shown.spectra,
        torch.where(ready.kept, ready.noise, 0.0),
        cube.valid.flatten(1).any(1),
        ready.by_value,
        ready.nonnegative,
        shown.halves,
        errors.share,
        variances=None if each is None else each.flatten(1).square(),
        sharing=variance_by_sharing(ready.pixels, scaled) if in_order else None,
    )


def _mapped(
    known: PixelMaps,
    shown: _Components,
    original: Cube,
    cube: Cube,
    alignment: Alignment | None,
    whole: torch.Tensor,
) -> Mapped:
    """Maps of all pixels, where the solver has not found them, and what they leave."""
    from arpes_ml_plugins.separation.pixel_maps import map_in_pieces

    values, valid = cube.values.flatten(1), cube.valid.flatten(1)
    maps = values.new_full((len(shown.maps), whole.numel()), float("nan"))
    if known.variances is None or is_by_component(alignment):  # otherwise solved for with weights
        maps[:, whole] = shown.maps
    maps[:, ~valid[known.seen].all(0)] = float("nan")  # solved for from what is there
    return map_in_pieces(
        known,
        values,
        valid,
        maps=maps,
        original=original.values.flatten(1),
        shifted=None if alignment is None else partial(_shifted, alignment),
    )


def _shifted(
    alignment: Alignment, spectra: torch.Tensor, maps: torch.Tensor, pixels: slice
) -> torch.Tensor:
    """A model of some pixels where the data are."""
    return replace(alignment, shift=alignment.shift[..., pixels]).model(spectra, maps)


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
