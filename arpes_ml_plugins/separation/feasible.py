"""Bands of all spectra and maps that explain data equally well without being negative.

Noise makes some values of the right maps negative. A solution is therefore allowed if no value of
its spectra and maps, and no mean of either over neighbours, is below zero by more than noise
explains. Means over neighbours have less noise, so that a grain of one material counts as what it
is, however noisy its pixels are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.separation.cones import SEEN, Cone
from arpes_ml_plugins.separation.iae import farthest_points
from arpes_ml_plugins.separation.least_squares import unit_columns
from arpes_ml_plugins.separation.neighbour_means import means_over_squares
from arpes_ml_plugins.separation.polish import polish_on_pixels
from arpes_ml_plugins.separation.rotations import Objective, Rotations, explore
from arpes_ml_plugins.separation.value_noise import ValueNoise, value_noise
from arpes_ml_plugins.separation.whiten import channel_noise

__all__ = ["Feasible", "feasible", "number_of_objectives"]

MOST_MEANS = 25_000  # pixels; of larger images, the smallest squares are so large
CHANCE = 0.01  # that any value of the right solution is further below zero than is allowed
BESIDE = 3.0  # standard errors of the noise beside the extremes
FLOOR = 1e-6  # standard error of a row over its length: data without noise are not exact either
DEPENDENT = 1e-6  # smallest singular value of spectra of length 1
MISFIT = 8.0  # standard deviations of chi^2: such a pixel does not follow the model
SWEEPS = 20
AT_A_TIME = 50_000  # pixels


@dataclass(frozen=True)
class Feasible:
    """Extremes over all solutions, each spectrum with the sum of the one given."""

    spectra_lower: torch.Tensor  # (m, n)
    spectra_upper: torch.Tensor
    maps: torch.Tensor  # (n, t)
    maps_lower: torch.Tensor
    maps_upper: torch.Tensor
    share: torch.Tensor  # (n,) of the intensity
    share_lower: torch.Tensor
    share_upper: torch.Tensor
    width: torch.Tensor
    """``(n,)``: largest distance of two solutions in one channel."""
    chi2: torch.Tensor  # (t,), per degree of freedom
    detected: torch.Tensor
    """``(n,)`` bool: whether its intensity is more than noise."""
    outside: torch.Tensor
    """``(n,)``: sine of the angle between a spectrum given and the signal space."""
    limit: float
    """Standard errors below zero that noise explains."""
    needed: float
    """The same that had to be allowed: more if there is no other solution."""
    given: float
    """The same that the spectra given need."""
    by_value: bool
    """Whether the noise is that of each value."""
    left_out: int
    """Pixels that the components do not explain."""


def number_of_objectives(components: int) -> int:
    """Extremes that are looked for, one by one."""
    if components < 3:
        return 2 * (components - 1)
    return components * (2 + 4 * _directions(components))


def _directions(components: int) -> int:
    """Channels, and places in the maps: a solution has one degree of freedom less."""
    return 2 * (components - 1)


def feasible(
    cube: torch.Tensor,
    complete: torch.Tensor,
    seen: torch.Tensor,
    spectra: torch.Tensor,
    *,
    noise: torch.Tensor | None = None,
    thorough: bool = True,
    report: Callable[[], None] | None = None,
) -> Feasible:
    """Find the bands of a separation.

    Parameters
    ----------
    cube
        ``(m, *space)``, finite.
    complete
        Pixels to use, ``(*space)``.
    seen
        Values that are not filled in, ``(m, *space)`` bool.
    spectra
        ``(m, n)``, of the separation; only the space that they span matters.
    noise
        ``(m,)``; default measured, for every value if variances are in proportion to intensity.
    thorough
        Without, only the largest shares are looked for, from three components on: bands are
        narrower.
    """
    whole = complete.flatten()
    values: ValueNoise | None = None
    if noise is None:
        noise = channel_noise(cube, complete, seen)
        values = value_noise(cube, seen & complete)
    kept = noise > 0
    if int(kept.sum()) < spectra.shape[1]:
        raise DataError(
            f"channels that change from pixel to pixel: {int(kept.sum())}, too few for "
            f"{spectra.shape[1]} components; check the selection, or give fewer"
        )
    model = _Model.of(
        cube.flatten(1)[kept][:, whole],
        seen.flatten(1)[kept][:, whole],
        spectra[kept],
        noise[kept],
        values and values.at(kept),
    )
    good = torch.zeros_like(whole).masked_scatter(whole, model.explained)
    maps = _cone(*_means_of_maps(model, whole, good.reshape(complete.shape)))
    rows = _cone(*_means_of_spectra(model), above=bool(model.detected.all()))
    tests = spectra.shape[1] * (len(maps.rows) + len(rows.rows))
    limit = float(torch.special.ndtri(torch.tensor(1 - CHANCE / tests, dtype=torch.float64)))
    found = _explored(model, rows, maps, limit, report, thorough)
    return _bands(model, found, spectra, kept, whole, limit, values is not None)


@dataclass(frozen=True)
class _Model:
    """The given separation in the signal space of the data; maps ``(n, t)`` have a mean of 1."""

    spectra: torch.Tensor  # (k, n)
    maps: torch.Tensor  # (n, t)
    spectra_covariance: torch.Tensor  # (k, n, n), of the noise of each channel
    maps_covariance: torch.Tensor  # (t, n * n), of each pixel
    chi2: torch.Tensor  # (t,)
    outside: torch.Tensor  # (n,)
    explained: torch.Tensor
    """``(t,)`` bool: pixels that are mixtures of the components."""
    detected: torch.Tensor
    """``(n,)`` bool: components whose intensity is more than noise."""

    @classmethod
    def of(
        cls,
        data: torch.Tensor,
        seen: torch.Tensor,
        spectra: torch.Tensor,
        noise: torch.Tensor,
        by: ValueNoise | None,
        polish: bool = True,
    ) -> _Model:
        """Of data ``(k, t)``, of which those that are not ``seen`` are filled in."""
        n = spectra.shape[1]
        scaled = spectra / noise[:, None]
        gram = data @ data.mT / (noise[:, None] * noise)
        space = torch.linalg.eigh(gram)[1][:, -n:]
        inside = space @ (space.mT @ scaled)
        outside = (scaled - inside).norm(dim=0) / scaled.norm(dim=0)
        if float(torch.linalg.svdvals(unit_columns(inside))[-1]) < DEPENDENT:
            raise DataError(
                f"the data do not contain {n} independent components of these spectra; check that "
                f"the spectra belong to the data, and give fewer"
            )
        solve = torch.linalg.pinv(inside) / noise  # (n, k), linear: no bias by noise
        inside = inside * noise[:, None]
        maps = solve @ data
        of_noise = _of_noise(data, seen, inside, maps, solve, noise, by)
        maps_covariance, crossed, chi2, spread = of_noise
        own = maps @ maps.mT - maps_covariance.sum(0).reshape(n, n)  # without that of the noise
        inverse = torch.linalg.pinv(own, hermitian=True)
        spectra_covariance = inverse @ crossed @ inverse
        typical = chi2.median().clamp(min=1)
        explained = chi2 <= typical * (1 + MISFIT * spread)
        mean = maps[:, explained].mean(1)
        if bool((mean <= 0).any()) and polish:
            # Spectra that are a little off their space have maps that are far off.
            better = polish_on_pixels(data / noise[:, None], unit_columns(scaled), True, SWEEPS)
            return cls.of(data, seen, better * noise[:, None], noise, by, polish=False)
        if bool((mean <= 0).any()):
            raise DataError(
                f"the map of component {int(mean.argmin()) + 1} of {n} is negative on average: "
                f"either its spectrum is not in the data, or the data are not sums of spectra and "
                f"maps without negative values, which bands need (give a background a component "
                f"instead of subtracting it)"
            )
        total = inside.sum(0) / spectra_covariance.sum(0).diagonal().clamp(min=1e-300).sqrt()
        both = mean[:, None] * mean
        return cls(
            inside * mean,
            maps / mean[:, None],
            spectra_covariance * both * typical,
            maps_covariance / both.flatten() * typical,
            chi2,
            outside,
            explained,
            total > SEEN,
        )


def _of_noise(
    data: torch.Tensor,
    seen: torch.Tensor,
    spectra: torch.Tensor,
    maps: torch.Tensor,
    solve: torch.Tensor,
    noise: torch.Tensor,
    by: ValueNoise | None,
) -> tuple[torch.Tensor, ...]:
    """Covariances ``(t, n * n)`` of the maps ``solve @ data``, ``(k, n, n)`` of the products of
    data and maps, chi^2 per degree of freedom ``(t,)`` and its standard deviation.

    Values that are filled in add nothing: a pixel with half of its values has twice the variance.
    """
    channels, n = spectra.shape
    pairs = (solve[:, None] * solve[None]).reshape(n * n, channels)
    covariance = data.new_empty(data.shape[1], n * n)
    crossed = data.new_zeros(channels, n * n)
    chi2, spread = data.new_empty(data.shape[1]), data.new_empty(data.shape[1])
    for start in range(0, data.shape[1], AT_A_TIME):
        part = slice(start, start + AT_A_TIME)
        fitted = spectra @ maps[:, part]
        variance = noise.square()[:, None] if by is None else by.cautious(fitted)
        variance = variance.expand_as(fitted)
        known = seen[:, part].to(data)
        freedom = (known.sum(0) - n).clamp(min=1)
        covariance[part] = (pairs @ variance / known.mean(0).clamp(min=1 / channels)).mT
        crossed += variance @ (maps[:, None, part] * maps[None, :, part]).reshape(n * n, -1).mT
        chi2[part] = (known * (data[:, part] - fitted).square() / variance).sum(0) / freedom
        # Few counts scatter more: the kurtosis of their distribution is one over their mean.
        kurtosis = 0 * variance if by is None else by.gain**2 / variance
        spread[part] = (known * (2 + kurtosis)).sum(0).sqrt() / freedom
    crossed /= seen.to(data).mean(1, keepdim=True).clamp(min=1 / data.shape[1])
    return covariance, crossed.reshape(channels, n, n), chi2, spread


def _cone(rows: torch.Tensor, covariance: torch.Tensor, above: bool = False) -> Cone:
    """``above``: the last row must be above zero, if all vectors that are given are."""
    least = FLOOR**2 * rows.square().sum(1)
    covariance = covariance + least[:, None, None] * torch.eye(rows.shape[1]).to(rows)
    seen = np.zeros(len(rows), dtype=bool)
    seen[-1] = above
    return Cone.of(rows.cpu().numpy(), covariance.cpu().numpy(), seen)


def _means_of_maps(
    model: _Model, whole: torch.Tensor, good: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of single pixels and of squares of them ``(c, n)``, with their covariances ``(c, n, n)``."""
    n = len(model.maps)
    table = good.new_zeros(len(whole), n + n * n + 1, dtype=torch.float64)
    table[whole] = torch.cat(
        [model.maps.mT, model.maps_covariance, torch.ones_like(model.chi2)[:, None]], 1
    )
    table[~good.flatten()] = 0
    space = good.shape if good.ndim < 3 else (-1, *good.shape[-2:])
    images = table.mT.reshape(len(table.mT), *space)
    return means_over_squares(images, n, 2 if good.ndim > 1 else 1, MOST_MEANS)


def _means_of_spectra(model: _Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Of single channels and of neighbouring ones."""
    channels, n = model.spectra.shape
    table = torch.cat(
        [
            model.spectra,
            model.spectra_covariance.flatten(1),
            torch.ones(channels, 1).to(model.spectra),
        ],
        1,
    )
    rows, covariance = means_over_squares(table.mT, n, 1, channels)
    total = model.spectra.sum(0)[None], model.spectra_covariance.sum(0)[None]
    return torch.cat([rows, total[0]]), torch.cat([covariance, total[1]])


def _explored(
    model: _Model,
    rows: Cone,
    maps: Cone,
    limit: float,
    report: Callable[[], None] | None,
    thorough: bool,
) -> Rotations:
    n = model.spectra.shape[1]
    intensity = model.spectra.sum(0).cpu().numpy()
    if n == 1:
        one = np.ones((1, 1, 1))
        return Rotations(one, limit)
    if n == 2:
        # Row and column of T are free of each other: four corners, two of them those of the share.
        sides = [Objective(0, sign * intensity) for sign in (1, -1)]
        found = explore(rows, maps, intensity, sides, limit, report)
        return Rotations(found.crossed, found.limit, found.given)
    objectives = []
    channels, places = (
        farthest_points(torch.from_numpy(cone.rows), _directions(n)).numpy()
        for cone in (rows, maps)
    )
    for k in range(n):
        for sign in (1, -1) if thorough else (1,):
            objectives.append(Objective(k, sign * intensity))
            if not thorough:
                continue
            objectives += [Objective(k, sign * weights, over=True) for weights in channels]
            objectives += [Objective(k, sign * weights, of_map=True) for weights in places]
    return explore(rows, maps, intensity, objectives, limit, report)


def _bands(
    model: _Model,
    found: Rotations,
    spectra: torch.Tensor,
    kept: torch.Tensor,
    whole: torch.Tensor,
    limit: float,
    by_value: bool,
) -> Feasible:
    n = spectra.shape[1]
    turned, back = (torch.from_numpy(x).to(spectra) for x in (found.turned, found.back))
    area, intensity = spectra[kept].sum(0), model.spectra.sum(0)
    of_each = intensity @ back  # (solutions, n)
    low, high = spectra.clone(), spectra.clone()  # channels that never change stay as they are
    narrow, wide = (torch.full_like(model.spectra, s * float("inf")) for s in (1, -1))
    inner = [narrow.clone(), wide.clone()]
    maps_low = model.maps.new_full((n, len(whole)), float("nan"))
    maps_high, maps_own = maps_low.clone(), maps_low.clone()
    least, most = (torch.full_like(model.maps, s * float("inf")) for s in (1, -1))
    for rotation, inverse, total in zip(turned, back, of_each, strict=True):
        scale = area / total
        columns, error = (
            model.spectra @ inverse * scale,
            _errors(model.spectra_covariance, inverse * scale),
        )
        narrow = torch.minimum(narrow, columns - BESIDE * error)
        wide = torch.maximum(wide, columns + BESIDE * error)
        inner = [torch.minimum(inner[0], columns), torch.maximum(inner[1], columns)]
        back_scale = (1 / scale)[:, None]
        images = rotation @ model.maps * back_scale
        error = _errors(model.maps_covariance.reshape(-1, n, n), rotation.mT * back_scale.mT).mT
        least = torch.minimum(least, images - BESIDE * error)
        most = torch.maximum(most, images + BESIDE * error)
    low[kept], high[kept] = narrow.clamp(min=0), wide.clamp(min=0)
    maps_low[:, whole], maps_high[:, whole] = least.clamp(min=0), most.clamp(min=0)
    maps_own[:, whole] = (model.maps * (intensity / area)[:, None]).clamp(min=0)
    share = of_each / of_each.sum(1, keepdim=True)
    chi2 = model.chi2.new_full((len(whole),), float("nan"))
    chi2[whole] = model.chi2
    return Feasible(
        low,
        high,
        maps_own,
        maps_low,
        maps_high,
        intensity / intensity.sum(),
        share.amin(0),
        share.amax(0),
        (inner[1].clamp(min=0) - inner[0].clamp(min=0)).amax(0),
        chi2,
        model.detected,
        model.outside,
        limit,
        found.limit,
        found.given,
        by_value,
        int((~model.explained).sum()),
    )


def _errors(covariance: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Standard errors ``(c, k)`` of rows with covariances ``(c, n, n)``, times ``(n, k)``."""
    pairs = (vectors[:, None] * vectors[None]).flatten(0, 1)
    return (covariance.flatten(1) @ pairs).clamp(min=0).sqrt()
