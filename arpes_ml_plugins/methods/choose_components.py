"""``choose_components``: count the components of a spectral image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.apply import Cube, map_mixture
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.labelled.tiles import TILE_DIMS, sampled
from arpes_ml_plugins.methods.blocks_run import may_be_mapped_in_pieces, one_above_another
from arpes_ml_plugins.methods.gaps_run import mended
from arpes_ml_plugins.methods.goodness_run import evened, noise_and_levels, saturated
from arpes_ml_plugins.methods.separation_input import SEPARATION, Setup, seed_of, setup_of
from arpes_ml_plugins.methods.separation_run import whitened
from arpes_ml_plugins.methods.shift_axis import step_of
from arpes_ml_plugins.methods.shift_run import fewer
from arpes_ml_plugins.parameters import check_count, documented

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.component_count import ComponentCount
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["choose_components"]

OUTPUTS = {
    "chi2": "component",
    "stability": "component",
    "collinearity": "component",
    "recommended": "number",
    "reason": "text",
}
DIMENSION = "n_components"
FEWEST_CHANNELS = 2
WIDTHS = 2.0  # of lines: spectra that are further apart are chemical states
ALIKE = 0.9  # cosine of two spectra without a shift: such a pair needs none
COPY = 0.97  # cosine of two spectra, one of them shifted; each is a mean over several shifts


@documented(**SEPARATION)
def choose_components(
    data: xr.DataArray | xr.Dataset,
    *,
    max_components: int = 10,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Find how many components a spectral image holds, with the evidence.

    Separates the data blindly into 1, 2, ... components: all pixels (of large images a sample of
    tiles) and, twice, two random halves of them. Components are added as long as each lowers the
    misfit by much more than a component of noise does. The recommended number is the largest of
    these for which both halves give the same spectra and no two spectra are nearly the same. This
    takes a few seconds.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy axis; all other dimensions are pixels. Those with missing
        values are left out.
    max_components : int
        Largest number to try. Choose it somewhat larger than the number you expect, so that
        components of noise are seen too. Small data allow fewer.
    {noise}
    {nonnegative}
    {channels}
    {mask}
    {device}
    rng : int, numpy.random.Generator or torch.Generator, optional
        Seed of the blind starts and of the halves.
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        - ``chi2`` (n_components): chi^2 per degree of freedom, 1 if nothing but noise is left;
        - ``stability`` (n_components): smallest cosine between the spectra of two halves;
        - ``collinearity`` (n_components): largest cosine between two spectra, divided by the noise;
        - ``recommended``: the recommended number;
        - ``reason``: the recommendation, the evidence and the thresholds, in words, and whether
          spectra are alike when shifted, or the noise shows that the detector saturates.

        ``plotting.component_count`` draws them.

    Raises
    ------
    {raises}

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((24, 24, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(24, 24, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> image.S.choose_components(max_components=5).recommended.item()
    2
    """
    check_count("max_components", max_components)
    setup = setup_of(data, dims, channels, 1, "none", noise, nonnegative, mask=mask)
    size = int(np.prod([data.sizes[dim] for dim in setup.channels]))
    pixels = data.size // size if setup.used is None else int(setup.used.sum())
    most = int(max(1, min(max_components, size // 2, pixels // 4)))
    if may_be_mapped_in_pieces(setup):  # large, and possibly lazy
        tiles = sampled(setup.data, setup.channels, setup.used)
        setup = replace(setup, data=tiles, used=None)
    return map_mixture(
        setup.data,
        setup.channels,
        partial(_counted, setup=setup, most=most, seed=seed_of(rng)),
        OUTPUTS,
        components=np.arange(1, most + 1),
        method="choose_components",
        device=device,
        steps=most,
        progress=progress,
        dimension=DIMENSION,
        used=setup.used,
    )


def _counted(cube: Cube, setup: Setup, most: int, seed: int) -> dict[str, Any]:
    from arpes_ml_plugins.separation.component_count import count_components
    from arpes_ml_plugins.separation.simulated import measured

    noise, levels = noise_and_levels(cube, setup)
    if TILE_DIMS[0] in setup.data.dims:
        cube = one_above_another(cube)
    dulled = saturated(cube, levels)
    cube, _ = mended(cube, setup, noise)
    even, of_even, _ = evened(cube, setup)
    data, _ = whitened(even, of_even, noise)
    channels, pixels = data.pixels.shape
    if channels < FEWEST_CHANNELS:
        raise DataError(
            f"channels that change from pixel to pixel: {channels}, too few to count components "
            f"in; check the selection"
        )
    limit = max(1, min(most, channels // 2, pixels // 4))
    found = count_components(
        data.pixels,
        limit,
        nonnegative=data.nonnegative,
        seed=seed,
        measure=None if data.by_value is None else partial(measured, data),
        report=cube.report,
    )
    shifted = fewer(cube, setup, noise, found.recommended, [_whole(s, data) for s in found.spectra])
    found = found.with_shifts(*shifted) if shifted else _with_copies(found, data, setup)
    if dulled is not None:
        found = replace(found, reason=f"{found.reason} But {dulled}.")
    found = found.padded(most)
    return {name: getattr(found, name) for name in OUTPUTS}


def _with_copies(found: ComponentCount, data: Whitened, setup: Setup) -> ComponentCount:
    """Add to the reason if lines of spectra are alike but for a shift of about their width."""
    import torch

    from arpes_ml_plugins.separation.shift_doubts import copies_within

    step, spectra = step_of(setup), found.spectra[found.recommended - 1]
    if step is None or found.recommended < 2:
        return found
    whole = _whole(spectra, data)
    lines = _lines(whole, data.kept)
    width = abs(step) * float((lines.norm(dim=0) / lines.diff(dim=0).norm(dim=0)).median())
    if not math.isfinite(width):
        return found
    above = torch.where(data.kept[:, None], whole - whole[data.kept].amin(0), 0.0)
    unit = above / above.norm(dim=0).clamp(min=1e-30)
    still = unit.mT @ unit
    pairs = copies_within(above.mT, step, WIDTHS * width, COPY)
    pairs = [pair for pair in pairs if float(still[pair[:2]]) < ALIKE]
    if not pairs:
        return found
    largest = max(abs(shift) for *_, shift in pairs)
    alike = len({number for first, second, _ in pairs for number in (first, second)})
    dim = setup.channels[0]
    units = setup.data[dim].attrs.get("units", "")
    by = f"{largest:.2g} {units}".strip()
    return replace(
        found,
        reason=f"{found.reason} But {alike} of their spectra are alike when shifted by up to {by} "
        f"along {str(dim)!r}: they may be fewer components whose energies differ from place to "
        f"place, as by charging.",
    )


def _lines(whole: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Spectra ``(m, n)`` without a straight background, which hides how wide their lines are."""
    import torch

    place = torch.linspace(-1, 1, len(whole), dtype=whole.dtype, device="cpu").to(whole)
    straight = torch.linalg.qr(torch.stack([torch.ones_like(place), place], 1)[kept])[0]
    lines = torch.zeros_like(whole)
    lines[kept] = whole[kept] - straight @ (straight.mT @ whole[kept])
    return lines


def _whole(spectra: torch.Tensor, data: Whitened) -> torch.Tensor:
    """Whitened spectra ``(k, n)`` in the unit of the data, zero in channels that do not change."""
    whole = spectra.new_zeros(len(data.noise), spectra.shape[1])
    whole[data.kept] = spectra * data.noise[data.kept][:, None]
    return whole
