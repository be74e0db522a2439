"""``feasible_bands``: how far data determine the spectra and maps of a blind separation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.apply import Cube, map_mixture
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.gaps_run import mended, usable_pixels
from arpes_ml_plugins.methods.given_spectra import given_spectra
from arpes_ml_plugins.methods.goodness_run import noise_of_values
from arpes_ml_plugins.methods.open_run import WIDE
from arpes_ml_plugins.methods.separation_input import SEPARATION, Setup
from arpes_ml_plugins.methods.separation_status import (
    UNLIKE,
    hot_left_out,
    largest_chi2,
    warn_of_status,
)
from arpes_ml_plugins.parameters import documented

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from arpes_ml_plugins.separation.feasible import Feasible

__all__ = ["feasible_bands"]

NOISE = """
        noise : float or xarray.DataArray, optional
            Standard error of the data, one number or one per channel. Default: estimated, for every
            value if the variance is proportional to the intensity, as for counts."""
LEAST_PIXELS = 4  # per component
OUTPUTS = {
    "spectra": "spectra",
    "spectra_lower": "spectra",
    "spectra_upper": "spectra",
    "maps": "maps",
    "maps_lower": "maps",
    "maps_upper": "maps",
    "share": "component",
    "share_lower": "component",
    "share_upper": "component",
    "width": "component",
    "residual_chi2": "space",
    "status": "text",
}


@documented(**SEPARATION | {"noise": NOISE})
def feasible_bands(
    data: xr.DataArray | xr.Dataset,
    *,
    spectra: xr.DataArray | Mapping[str, xr.DataArray],
    noise: float | xr.DataArray | None = None,
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Find all spectra and maps that explain a spectral image as well as those of a separation.

    Spectra and maps can be mixed with each other without any change of the data they explain. The
    only limit, if nothing else is known, is that neither may become negative. The bands are the
    extremes over all such mixtures [1]_, [2]_: where they are narrow, the data determine the
    result of a blind separation; where they are wide, a reference spectrum, a known place of one
    material or a library has to.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities that were separated, not negative beyond their noise.
    spectra : xarray.DataArray or mapping of str to xarray.DataArray
        ``result.spectra`` of a separation of these data, along ``component`` and energy; or one
        spectrum per name.
    {noise}
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
        - ``spectra`` (component, energy): as given, with a largest value of 1; ``spectra_lower``
          and ``spectra_upper``: the band, of spectra with the same sum as ``spectra``, and three
          standard errors of the noise beside;
        - ``maps``, ``maps_lower``, ``maps_upper`` (component, space): the same of the maps, in the
          unit of the data;
        - ``share``, ``share_lower``, ``share_upper`` (component): share of the intensity;
        - ``width`` (component): width of the widest place of the band of the spectrum, without the
          noise beside; above 0.1 the component is called not determined;
        - ``residual_chi2`` (space): chi^2 per degree of freedom, 1 where the residual is noise;
        - ``status``: "ok" if all components are determined, or which are not, and other reasons for
          doubt.

        ``plotting.components`` draws the bands.

    Raises
    ------
    {raises}

    Warns
    -----
    {warns}

    Notes
    -----
    Solutions are those within the signal space of the data that have the same number of components,
    all of them above the noise. No value of a spectrum or a map, and no mean over neighbours, may
    be further below zero than noise explains. Extremes of the shares and of selected values of
    spectra and maps are searched for. For two components they are the exact limits [3]_; for three
    and more they may be local, and other solutions may lie beyond a gap, so that bands can be wider
    than shown.

    A known sum of the maps in each pixel (closure) only sets the scale of the components, and
    leaves the bands as they are.

    References
    ----------
    .. [1] Tauler, J. Chemom. 15, 627 (2001).
    .. [2] Gemperline, Anal. Chem. 71, 5398 (1999).
    .. [3] Lawton and Sylvestre, Technometrics 13, 617 (1971).

    Examples
    --------
    Each line alone somewhere, and each material alone somewhere: determined.

    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((24, 24, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(24, 24, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> result = image.S.separate_gmca(n_components=2)
    >>> bands = image.S.feasible_bands(spectra=result.spectra)
    >>> bands.status.item(), bool((bands.width < 0.05).all())
    ('ok', True)
    """
    setup, rows, names = given_spectra(
        data, dims, channels, noise, None, mask, spectra, each_value=False
    )
    from arpes_ml_plugins.separation.feasible import number_of_objectives

    result = map_mixture(
        setup.data,
        setup.channels,
        partial(_banded, setup=setup, spectra=rows),
        OUTPUTS,
        components=names,
        method="feasible_bands",
        device=device,
        steps=number_of_objectives(len(rows)),
        progress=progress,
        used=setup.used,
    )
    warn_of_status(result, "feasible_bands")
    return result


def _banded(cube: Cube, setup: Setup, spectra: NDArray[np.floating]) -> dict[str, Any]:
    import torch

    from arpes_ml_plugins.separation.feasible import feasible

    cube, hot = mended(cube, setup, noise_of_values(cube, setup))
    usable, n = usable_pixels(cube), len(spectra)
    if int(usable.sum()) < LEAST_PIXELS * n:
        raise DataError(
            f"only {int(usable.sum())} pixels have values in most channels, too few for the bands "
            f"of {n} components; expected at least {LEAST_PIXELS * n}"
        )
    found = feasible(
        cube.values,
        usable,
        cube.valid,
        torch.from_numpy(spectra.T.copy()).to(cube.values),
        noise=None if setup.noise is None else torch.from_numpy(setup.noise).to(cube.values),
        report=partial(cube.report, 1, None) if cube.report else None,
    )
    names = [str(name) for name in setup.components]
    return {
        "spectra": spectra,
        "spectra_lower": found.spectra_lower.mT,
        "spectra_upper": found.spectra_upper.mT,
        **{name: getattr(found, name) for name in OUTPUTS if name.startswith(("maps", "share"))},
        "width": found.width,
        "residual_chi2": found.chi2,
        "status": _status(found, names, hot),
    }


def _status(found: Feasible, names: list[str], hot: int) -> str:
    notes = []
    chi2, limit = float(found.chi2.nanmean()), largest_chi2(by_value=found.by_value)
    if chi2 > limit:
        notes.append(
            f"chi^2 per degree of freedom is {chi2:.2g}, above {limit:g}: {len(names)} components "
            f"do not explain the data within their noise (possible causes: missing components, "
            f"shifted energies, or more noise than estimated)"
        )
    for name, outside in zip(names, found.outside.tolist(), strict=True):
        if outside > UNLIKE:
            notes.append(
                f"the spectrum of {name!r} is not in the data (sine of the angle {outside:.2g}, "
                f"above {UNLIKE:g}); the nearest one that is was used"
            )
    if found.needed > found.limit:
        notes.append(
            f"no spectra and maps without negative values explain the data within their noise, so "
            f"values of {found.needed:.2g} instead of {found.limit:.2g} standard errors below zero "
            f"were allowed (possible causes: wrong number of components, shifted energies, a "
            f"background that was subtracted)"
        )
    elif found.given > found.limit:
        notes.append(
            f"the spectra given are not among those that explain the data without negative values, "
            f"which the bands show: with them, values are up to {found.given:.2g} standard errors "
            f"below zero, where noise explains {found.limit:.2g}"
        )
    columns = found.width, found.share_lower, found.share_upper, found.detected
    for name, width, low, high, seen in zip(names, *(c.tolist() for c in columns), strict=True):
        if not seen:
            notes.append(f"{name!r} cannot be told from noise")
        elif width > WIDE:
            notes.append(
                f"{name!r} is not determined: spectra that explain the data equally well differ by "
                f"up to {width:.2g} of its largest value, with {low:.0%} to {high:.0%} of the "
                f"intensity"
            )
    if found.left_out:
        notes.append(
            f"{found.left_out} pixels that the components do not explain do not limit the bands"
        )
    if hot:
        notes.append(hot_left_out(hot))
    return "; ".join(notes) or "ok"
