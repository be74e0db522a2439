"""``unmix``: map components whose spectra are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.apply import Cube, map_mixture
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.blocks_run import (
    FIT,
    in_pieces,
    may_be_mapped_in_pieces,
    one_above_another,
    sticking_out,
    without_hot,
)
from arpes_ml_plugins.methods.gaps_run import without_dead
from arpes_ml_plugins.methods.given_spectra import given_spectra
from arpes_ml_plugins.methods.goodness_run import bent, saturated
from arpes_ml_plugins.methods.separation_input import SEPARATION, Setup
from arpes_ml_plugins.methods.separation_run import OUTPUTS
from arpes_ml_plugins.methods.separation_status import (
    channels_left_out,
    hot_left_out,
    largest_chi2,
    of_chi2,
    of_sums,
    warn_of_status,
)
from arpes_ml_plugins.parameters import documented

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from arpes_ml_plugins.separation.known_spectra import Measured

__all__ = ["unmix"]

SIGNIFICANT = 5.0  # standard deviations of chi^2
ALIKE = 0.995  # cosine between spectra whose maps cannot be told apart
MAPPED = {name: kind for name, kind in OUTPUTS.items() if name != "library_distance"}


@documented(**SEPARATION)
def unmix(
    data: xr.DataArray | xr.Dataset,
    *,
    spectra: xr.DataArray | Mapping[str, xr.DataArray],
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Map components whose spectra are all known: weighted least squares, pixel by pixel.

    Use it to find spectra that were separated in one map again in another map, in the pixels that
    a ``mask=`` left out, or in a single line of pixels. Only the maps are fitted.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy axis; all other dimensions are pixels, one or more. Missing
        values are left out of the fit.
    spectra : xarray.DataArray or mapping of str to xarray.DataArray
        ``result.spectra`` of a separation, along ``component`` and energy; or one spectrum per
        name. They are interpolated to the energies of the data.
    {noise}
    nonnegative : bool, optional
        Whether maps are forced not to be negative. Default: True if neither the spectra nor,
        beyond their noise, the data are negative.
    channels : sequence of str, optional
        More dimensions that belong to the spectrum. Default: all that ``spectra`` have.
    {mask}
    {device}
    rng : int, numpy.random.Generator or torch.Generator, optional
        Without effect: nothing is random.
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        ``spectra`` (component, energy) as given, but with a largest value of 1, and
        ``spectra_stderr``, zero; ``maps`` (component, space), in the unit of the data, and
        ``maps_stderr`` by the noise; ``reconstruction`` and ``residual``, shape of the data;
        ``residual_chi2`` (space), chi^2 per degree of freedom, 1 where the residual is noise;
        ``status``: "ok", or the reasons for doubt. Errors are those of the measurement; a
        spectrum that is wrong or missing shows in ``residual_chi2``.

    Raises
    ------
    {raises}

    Warns
    -----
    {warns}

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((24, 24, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(24, 24, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> parts = image[:12].S.separate_gmca(n_components=2)
    >>> others = image[12:].S.unmix(spectra=parts.spectra)
    >>> dict(others.maps.sizes), others.status.item()
    ({'component': 2, 'y': 12, 'x': 24}, 'ok')
    """
    setup, rows, names = given_spectra(
        data, dims, channels, noise, nonnegative, mask, spectra, least_pixels=1
    )
    options: dict[str, Any] = {
        "method": "unmix", "steps": 1, "device": device, "progress": progress
    }  # fmt: skip
    if may_be_mapped_in_pieces(setup):
        result, _ = in_pieces(
            replace(setup, components=names),
            partial(_unmixed, spectra=rows, tiles=True),
            partial(_mapped, spectra=rows),
            MAPPED,
            **options,
        )
    else:
        result = map_mixture(
            setup.data,
            setup.channels,
            partial(_without_fit, setup=setup, spectra=rows),
            MAPPED,
            components=names,
            used=setup.used,
            **options,
        )
    warn_of_status(result, "unmix")
    return result


def _without_fit(cube: Cube, setup: Setup, spectra: NDArray[np.floating]) -> dict[str, Any]:
    found = _unmixed(cube, setup, spectra)
    del found[FIT]
    return found


def _unmixed(
    cube: Cube, setup: Setup, spectra: NDArray[np.floating], *, tiles: bool = False
) -> dict[str, Any]:
    import torch

    if not bool(cube.values[cube.valid].any()):
        raise DataError("all values are zero: there is nothing to unmix; check the selection")
    known = torch.from_numpy(spectra.T.copy()).to(cube.values)
    given = setup.noise if setup.each_noise is None else setup.each_noise
    noise = None if given is None else torch.from_numpy(given).to(cube.values)
    options: dict[str, Any] = {
        "noise": noise,
        "nonnegative": setup.nonnegative,
        "in_order": len(setup.channels) == 1,
    }
    fit, hot = _measured(cube, known, options, tiles=tiles)
    dead = _dead_channels(cube, fit)
    if bool(dead.any()):
        cube = replace(cube, valid=cube.valid & ~dead.reshape(-1, *[1] * (cube.valid.ndim - 1)))
        fit, hot = _measured(cube, known, options, tiles=tiles)
        fit = replace(fit, noise=fit.noise.masked_fill(dead[:, None], 0))  # no weight
    mapped = _mapped(cube, fit, spectra)
    if cube.report:
        cube.report(1, None)
    residual = mapped["residual"]
    dulled = saturated(cube, fit.classes) or bent(mapped | {"spectra": known.mT})
    notes = [
        *([hot_left_out(hot)] if hot else []),
        *([channels_left_out(int(dead.sum()))] if bool(dead.any()) else []),
        *([] if dulled is None else [dulled]),
        *of_sums(residual, mapped["reconstruction"], known, setup),
        *_notes(fit, mapped, known, [str(name) for name in setup.components]),
    ]
    return mapped | {
        "spectra": spectra,
        "spectra_stderr": np.zeros_like(spectra),
        "status": "; ".join(notes) or "ok",
        FIT: replace(fit.to("cpu"), classes=None),
    }


def _dead_channels(cube: Cube, fit: Measured) -> torch.Tensor:
    """Channels ``(m,)`` that tell nothing: dead, equally hot, or stuck at a number."""
    from arpes_ml_plugins.separation.known_spectra import FEWEST

    seen = cube.valid.flatten(1)
    dead = without_dead(cube, fit.values).valid.flatten(1).any(1) < seen.any(1)
    if fit.values is None:  # a channel without noise has no weight
        return dead
    values = cube.values.flatten(1)
    first = values.gather(1, seen.to(values).argmax(1, keepdim=True))
    same = ((values == first) | ~seen).all(1) & (first[:, 0] != 0)
    return dead | (same & (seen.sum(1) >= FEWEST))


def _measured(
    cube: Cube,
    spectra: torch.Tensor,
    options: dict[str, Any],
    *,
    tiles: bool,
) -> tuple[Measured, int]:
    """What all pixels have in common, and the number of hot values, which take no part."""
    from arpes_ml_plugins.separation.gaps import MOST_HOT
    from arpes_ml_plugins.separation.known_spectra import measured

    fit = measured(cube.values, cube.valid, spectra, **options)
    image = one_above_another(cube) if tiles else cube
    channels = fit.of_channels
    hot = None if channels is None else sticking_out(image, channels, fit.values)
    if hot is None:
        return fit, 0
    if float(hot.float().mean()) > MOST_HOT:
        return replace(fit, spiky=True), 0
    valid = cube.valid & ~hot.reshape(cube.valid.shape)
    return measured(cube.values, valid, spectra, **options), int(hot.sum())


def _mapped(cube: Cube, fit: Measured, spectra: NDArray[np.floating]) -> dict[str, torch.Tensor]:
    import torch

    from arpes_ml_plugins.separation.known_spectra import unmixed

    known = torch.from_numpy(spectra.T.copy()).to(cube.values)
    fit = fit.to(cube.values.device)
    cool = cube
    if fit.of_channels is not None and not fit.spiky:
        cool = without_hot(cube, fit.of_channels, fit.values)
    found = unmixed(cool.values, cool.valid, known, fit)
    n, space = len(spectra), cube.values.shape[1:]
    model = torch.where(cube.valid.flatten(1), found.model, float("nan"))
    return {
        "maps": found.maps.reshape(n, *space),
        "maps_stderr": found.errors.reshape(n, *space),
        "reconstruction": model,
        "residual": cube.values.flatten(1) - model,
        "residual_chi2": found.chi2.reshape(space),
    }


def _notes(
    fit: Measured, mapped: dict[str, torch.Tensor], spectra: torch.Tensor, names: list[str]
) -> list[str]:
    """What is to be said of the fit."""
    causes = ["missing components", "wrong spectra", "shifted energies"]
    chi2 = float(mapped["residual_chi2"].nanmean())
    number = int(mapped["residual"].isfinite().sum())
    chance = 1 + SIGNIFICANT * (2 / max(number, 1)) ** 0.5
    limit = max(largest_chi2(by_value=fit.values is not None), chance)
    notes = of_chi2(chi2, limit, mapped["residual"], "these spectra", causes)
    notes = [] if fit.from_rest else notes  # chance alone
    unit = spectra / spectra.norm(dim=0)
    cosine = (unit.mT @ unit).abs().triu(1)
    for i, j in (cosine > ALIKE).nonzero().tolist():
        notes.append(
            f"the spectra of {names[i]!r} and {names[j]!r} are nearly the same (cosine above "
            f"{ALIKE:g}), so their maps cannot be told apart"
        )
    if fit.from_rest:
        notes.append(
            "there are few pixels, so the noise was estimated from the residual, and chi^2 is no "
            "test of the spectra"
        )
    return notes
