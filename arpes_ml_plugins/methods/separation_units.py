"""Return what a solver found to the axes, the order and the units of the data."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from arpes_ml_plugins.labelled.apply import Cube
from arpes_ml_plugins.methods.blocks_run import FIT
from arpes_ml_plugins.methods.goodness_run import deviations
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.separation_status import (
    TOO_MUCH,
    TOO_MUCH_OF_VALUES,
    left_out,
    of_sums,
    status_of,
)
from arpes_ml_plugins.methods.shift_run import is_by_component

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.component_shifts import ComponentShifts
    from arpes_ml_plugins.separation.energy_shift import Shifts
    from arpes_ml_plugins.separation.separated import Separated, Uncertainty
    from arpes_ml_plugins.separation.whiten import Whitened

    Alignment: TypeAlias = Shifts | ComponentShifts

__all__ = ["ORDER", "in_units"]

ORDER = "order"
"""Number of each component shown, among those of the solver."""


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
    import torch

    from arpes_ml_plugins.separation.pixel_maps import PixelMaps, map_in_pieces

    values, valid, noise = cube.values.flatten(1), cube.valid.flatten(1), ready.noise[ready.kept]
    n, space, whole = found.spectra.shape[1], complete.shape, complete.flatten()

    def with_unit(spectra: torch.Tensor) -> torch.Tensor:  # (..., k, n) to (..., m, n)
        wide = spectra.new_zeros(*spectra.shape[:-2], len(values), n)
        wide[..., ready.kept, :] = spectra * noise[:, None]
        return wide

    spectra = with_unit(found.spectra)
    # A channel that is stuck may be brighter than all others: it does not set the scale.
    top = spectra.gather(0, spectra.abs().argmax(0, keepdim=True))[0]
    top = torch.where(top == 0, 1.0, top)
    seen = valid.any(1)
    constant = ~ready.kept & seen
    zero = constant & (values == 0).all(1)
    if bool(constant.any()):  # no noise, no weight: what the maps explain of them
        spectra[constant] = values[constant][:, whole] @ torch.linalg.pinv(sources)
    spectra, maps = spectra / top, sources * top[:, None]
    spectra_error = with_unit(errors.stderr) / top.abs()
    if is_by_component(alignment):  # the shifts of a pixel change how alike its spectra are
        every = torch.where(ready.kept, ready.noise, float("inf"))
        own = original.values.flatten(1)[:, whole]
        maps = alignment.at(whole).maps(own, spectra, every, nonnegative=ready.nonnegative)
    if ready.by_value is not None:  # no count, where one more could have been
        total = maps.sum(1)
        spectra_error[zero] = torch.where(total > 0, ready.by_value.gain / total, 0.0)
    order = _order(maps, spectra, setup)
    spectra, maps, spectra_error = spectra[:, order], maps[order], spectra_error[:, order]
    each = deviations(setup, values)
    known = PixelMaps(
        spectra.clone(),
        torch.where(ready.kept, ready.noise, 0.0),
        seen,
        ready.by_value,
        ready.nonnegative,
        (with_unit(errors.halves) / top)[..., order],
        errors.share,
        variances=None if each is None else each.flatten(1).square(),
    )
    all_maps = values.new_full((n, whole.numel()), float("nan"))
    if known.variances is None or is_by_component(alignment):  # otherwise solved for with weights
        all_maps[:, whole] = maps
    all_maps[:, ~valid[seen].all(0)] = float("nan")  # solved for from what is there
    mapped = map_in_pieces(
        known,
        values,
        valid,
        maps=all_maps,
        original=original.values.flatten(1),
        shifted=None if alignment is None else partial(_shifted, alignment),
    )
    spectra[~seen] = spectra_error[~seen] = float("nan")
    distance = torch.full_like(top, float("nan"))
    if found.match is not None:
        distance[: len(found.match.distance)] = found.match.distance
    labels = {} if found.labels is None else {"label": _labels(found.labels, whole, order)}
    notes = left_out(constant, zero, ~seen, ready)
    if setup.known:
        notes += of_sums(mapped.residual, mapped.model, spectra.nan_to_num(), setup)
    return labels | {
        "spectra": spectra.mT,
        "spectra_stderr": spectra_error.mT,
        "maps": mapped.maps.reshape(n, *space),
        "maps_stderr": mapped.errors.reshape(n, *space),
        "reconstruction": mapped.model,
        "residual": mapped.residual,
        "residual_chi2": mapped.chi2,
        "library_distance": distance[order],
        ORDER: order,
        FIT: replace(known, variances=None).to("cpu"),
        "status": status_of(
            found,
            float(mapped.chi2.nanmean()),
            setup,
            notes,
            TOO_MUCH if ready.by_value is None else TOO_MUCH_OF_VALUES,
        ),
    }


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
