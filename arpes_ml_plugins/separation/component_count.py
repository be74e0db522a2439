"""Count the components of data by misfit, stability between halves and collinearity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.report import Report
from arpes_ml_plugins.separation.blind_start import blind_start
from arpes_ml_plugins.separation.least_squares import nonnegative_sources
from arpes_ml_plugins.separation.metrics import match

__all__ = ["ROUNDS", "ComponentCount", "count_components", "misfit", "recommended_count"]

MOST_PIXELS = 4000
SPLITS = 2
ROUNDS = 150  # of a factorisation: enough for a number of components
SEVERAL = 6  # components, of which the last third is noise
GAIN = 5.0  # of a component, over what components of noise gain
ABOVE_NOISE = 1.3  # times the gain in simulated data without a further component
TOO_MUCH = 1.5  # of chi^2 per degree of freedom
STABLE = 0.9  # smallest cosine between the spectra of two halves
COLLINEAR = 0.995  # largest cosine between two spectra


@dataclass(frozen=True)
class ComponentCount:
    """Evidence for 1, 2, ... components, and the recommended number."""

    chi2: torch.Tensor  # (n,)
    stability: torch.Tensor  # (n,)
    collinearity: torch.Tensor  # (n,)
    recommended: int
    reason: str
    spectra: tuple[torch.Tensor, ...] = ()
    """Those of one component, of two, ... ``(m, n)``, of the whitened data."""

    def with_shifts(self, count: int, spread: float) -> ComponentCount:
        """Fewer components, if their energies shift by ``spread`` (standard deviation)."""
        reason = (
            f"{_named(count)} with energies that shift from pixel to pixel by {spread:.2g} "
            f"(standard deviation): this explains the data better than another component does. "
            f"Without shifts: {self.reason}"
        )
        return replace(self, recommended=count, reason=reason)

    def padded(self, length: int) -> ComponentCount:
        """The same with NaN for numbers that the data are too small for."""
        more = self.chi2.new_full((length - len(self.chi2),), float("nan"))
        return replace(
            self,
            chi2=torch.cat([self.chi2, more]),
            stability=torch.cat([self.stability, more]),
            collinearity=torch.cat([self.collinearity, more]),
        )


def count_components(
    pixels: torch.Tensor,
    most: int,
    *,
    nonnegative: bool,
    seed: int,
    measure: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
    report: Report | None = None,
) -> ComponentCount:
    """Separate whitened data ``(m, t)`` blindly into 1, 2, ... components, whole and in halves.

    Parameters
    ----------
    most
        Largest number to try; a few more than there are, so that the gain by fitting noise can be
        seen.
    measure
        From an expectation to data with noise that depends on it; default white noise. Where each
        component is bright, its noise is larger in channels of its own, as if it were a component.
    """
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(pixels.shape[1], generator=draw, device="cpu")[:MOST_PIXELS]
    data = pixels[:, order.to(pixels.device)]
    chi2, stability, collinearity = (data.new_zeros(most) for _ in range(3))

    def blind(part: torch.Tensor, count: int) -> torch.Tensor:
        return blind_start(part, count, nonnegative=nonnegative, seed=seed, rounds=ROUNDS)

    spectra = []
    for i in range(most):
        found = blind(data, i + 1)
        spectra.append(found)
        chi2[i] = misfit(data, found)
        alike = (found.mT @ found).abs() - torch.eye(i + 1, device="cpu").to(found)
        collinearity[i] = alike.max()
        stability[i] = min(_agreement(data, i + 1, blind, draw) for _ in range(SPLITS))
        if report:
            report(1, float(stability[i]))
    possible = _largest_gains(data)[: most - 1]
    gains = torch.minimum(chi2[:-1] - chi2[1:], possible)
    idle = _noise_gain(*data.shape)
    if most > SEVERAL:  # noise that is not white gains more: the last of many show it
        idle = max(idle, float(possible[-(most // 3) :].median()))
    limits = torch.full_like(gains, GAIN * idle)
    if measure is not None:
        for i in range(len(gains)):
            if gains[i] <= limits[i]:  # more components are noise anyway
                break
            model = spectra[i] @ nonnegative_sources(data, spectra[i])
            by_noise = _largest_gains(measure(model, draw))[i]
            limits[i] = torch.maximum(limits[i], ABOVE_NOISE * by_noise)
    recommended, reason = recommended_count(chi2, gains, stability, collinearity, limits)
    return ComponentCount(chi2, stability, collinearity, recommended, reason, tuple(spectra))


def _noise_gain(channels: int, pixels: int) -> float:
    """Gain in chi^2 by a component of white noise: the edge of Marchenko and Pastur, less the
    expected gain of a direction.
    """
    return ((1 + (channels / pixels) ** 0.5) ** 2 - 1) / channels


def misfit(data: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """chi^2 per degree of freedom of whitened data ``(m, t)`` in the span of spectra ``(m, n)``."""
    basis, _ = torch.linalg.qr(spectra)
    left = data.square().sum() - (basis.mT @ data).square().sum()
    count = spectra.shape[1]
    return left / ((data.shape[0] - count) * (data.shape[1] - count))


def _agreement(
    data: torch.Tensor,
    count: int,
    blind: Callable[[torch.Tensor, int], torch.Tensor],
    draw: torch.Generator,
) -> float:
    """Smallest cosine between the spectra of two halves of the pixels, best assigned."""
    halves = torch.randperm(data.shape[1], generator=draw, device="cpu").to(data.device).chunk(2)
    one, other = (blind(data[:, half], count) for half in halves)
    order, signs = match(one, other)
    return float((one[:, order] * signs * other).sum(0).min())


def _largest_gains(data: torch.Tensor) -> torch.Tensor:
    """Largest possible gains by a second, third, ... component: those of principal components.

    A factorisation that has not converged seems to gain more.
    """
    values = torch.linalg.eigvalsh(data @ data.mT).flip(0)
    count = torch.arange(1, len(values), device="cpu").to(values)
    left = values.sum() - values.cumsum(0)[:-1]
    chi2 = left / ((data.shape[0] - count) * (data.shape[1] - count))
    return chi2[:-1] - chi2[1:]


def recommended_count(
    chi2: torch.Tensor,
    gains: torch.Tensor,
    stability: torch.Tensor,
    collinearity: torch.Tensor,
    limits: torch.Tensor,
) -> tuple[int, str]:
    """Add components as long as each gains more than one of noise can, and take the largest of
    these numbers whose components can be told apart.

    Fewer components than there are may well be unstable: several choices are about equally good.
    ``gains`` are those of a second, third, ... component, ``limits`` what noise can gain.
    """
    wanted = 1
    for gain, limit in zip(gains.tolist(), limits.tolist(), strict=True):
        if gain <= limit:
            break
        wanted += 1
    apart = (stability >= STABLE) & (collinearity < COLLINEAR)
    found = next((n for n in range(wanted, 1, -1) if bool(apart[n - 1])), 1)
    cosines = [_cosines(n, stability, collinearity) for n in (found, wanted)]
    left = float(chi2[found - 1])
    if found < wanted:
        why = (
            f"the misfit alone would justify {wanted}, but their spectra cannot be told apart "
            f"reliably: {cosines[1]}"
        )
    elif found == len(chi2):
        why = "this is the largest number tried, so there may be more"
    else:
        gain = max(0.0, float(gains[found - 1]))
        why = (
            f"one more would lower chi^2 by only {gain:.2g}; the threshold, above what a component "
            f"of noise gains, is {float(limits[found - 1]):.2g}"
        )
    evidence = f"with {found}, chi^2 per degree of freedom is {left:.3g} (one noise per channel)"
    if found > 1:
        evidence += f", {cosines[0]}"
    if left > TOO_MUCH:
        evidence += f"; chi^2 above {TOO_MUCH:g} means that much more than noise is left"
    return found, f"{_named(found)}: {why}. {evidence[0].upper()}{evidence[1:]}."


def _named(count: int) -> str:
    return f"{count} component{'s' if count > 1 else ''}"


def _cosines(count: int, stability: torch.Tensor, collinearity: torch.Tensor) -> str:
    return (
        f"the cosine between the spectra of two halves of the pixels is at least "
        f"{float(stability[count - 1]):.3f} (threshold {STABLE:g}), that between two components at "
        f"most {float(collinearity[count - 1]):.3f} (threshold {COLLINEAR:g})"
    )
