"""Map known spectra by weighted least squares, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.separation.complete import complete, usable
from arpes_ml_plugins.separation.goodness import chi2_of_counts, weighted_leverage
from arpes_ml_plugins.separation.least_squares import weighted_sources
from arpes_ml_plugins.separation.shared_channels import variance_by_sharing
from arpes_ml_plugins.separation.value_noise import (
    Classes,
    ValueNoise,
    noise_and_classes,
    noise_of_squares,
)
from arpes_ml_plugins.separation.whiten import NEGATIVE, NEGATIVE_SHARE, channel_noise

__all__ = ["FEWEST", "Measured", "Unmixed", "measured", "unmixed"]

FEWEST = 30  # pixels that the noise of every channel is measured from
ROUNDS = 3  # with variances from the model
AT_A_TIME = 20_000  # pixels


@dataclass(frozen=True)
class Measured:
    """What all pixels have in common, from all of them or from a sample."""

    noise: torch.Tensor
    """``(m, 1)``, or ``(m, t)`` of every value."""
    values: ValueNoise | None
    """The noise of each value, if variances are in proportion to intensity."""
    classes: Classes | None
    """How the variance of the data depends on their intensity, if it was measured."""
    nonnegative: bool
    from_rest: bool
    """Whether the noise was estimated from the residual, so that chi^2 is 1 on average."""
    sharing: torch.Tensor
    """``(n,)``: variance of maps, over that with independent channels."""
    spiky: bool = False
    """Whether more values stick out than defects would."""

    @property
    def of_channels(self) -> torch.Tensor | None:
        """Noise of the channels ``(m,)``, unless that of every value was given."""
        return self.noise[:, 0] if self.noise.shape[1] == 1 else None

    def to(self, device: torch.device | str) -> Measured:
        """The same on a device."""
        values = self.values
        if values is not None:
            values = replace(values, mean=values.mean.to(device))
        noise, sharing = self.noise.to(device), self.sharing.to(device)
        return replace(self, noise=noise, values=values, sharing=sharing)


@dataclass(frozen=True)
class Unmixed:
    """Maps ``(n, t)`` with errors, model and chi^2."""

    maps: torch.Tensor
    errors: torch.Tensor
    model: torch.Tensor  # (m, t)
    chi2: torch.Tensor  # (t,), per degree of freedom


def measured(
    cube: torch.Tensor,
    valid: torch.Tensor,
    spectra: torch.Tensor,
    *,
    noise: torch.Tensor | None = None,
    nonnegative: bool | None = None,
    in_order: bool = True,
) -> Measured:
    """Measure the noise, and whether maps may be negative.

    Parameters
    ----------
    cube, valid
        ``(m, *space)``; what is not valid has no weight.
    spectra
        ``(m, n)``.
    noise
        ``(m,)``, or ``(m, *space)`` for every value; default measured, for every value if variances
        are in proportion to intensity.
    nonnegative
        Maps are; by default if data and spectra allow.
    in_order
        Whether channels are, so that neighbours may share their noise.
    """
    flat, known = cube.flatten(1), valid.flatten(1)
    values: ValueNoise | None = None
    classes: Classes | None = None
    from_rest = False
    if noise is None:
        values, classes = noise_and_classes(cube, valid)
        pixels = usable(valid)
        if values is not None:
            noise = values.of_channels.sqrt()
        elif int(pixels.sum()) >= FEWEST:
            noise = channel_noise(_filled(flat, known, spectra).reshape(cube.shape), pixels, valid)
        else:
            (noise, values), from_rest = _from_rest(flat, known, spectra), True
    noise = noise.flatten(1) if noise.ndim > 1 else noise[:, None]  # (m, t) or (m, 1)
    if nonnegative is None:
        below = (flat < -NEGATIVE * noise) & known
        nonnegative = bool((spectra >= 0).all()) and float(below.float().mean()) < NEGATIVE_SHARE
    sharing = spectra.new_ones(spectra.shape[1])
    if in_order and noise.shape[1] == 1:
        kept = noise[:, 0] > 0
        pixels = flat[kept][:, complete(valid).flatten()] / noise[kept]
        sharing = variance_by_sharing(pixels, spectra[kept] / noise[kept])
    return Measured(noise, values, classes, nonnegative, from_rest, sharing)


def unmixed(
    cube: torch.Tensor, valid: torch.Tensor, spectra: torch.Tensor, known: Measured
) -> Unmixed:
    """Fit every pixel of ``cube (m, *space)`` by ``spectra (m, n)``."""
    flat, seen_in = cube.flatten(1), valid.flatten(1)
    noise = known.noise
    weights = torch.where(noise > 0, 1 / noise.square().clamp(min=1e-300), 0.0).expand_as(flat)
    pieces = [
        _fitted(data, seen & (weight > 0), weight, spectra, known.values, known.nonnegative)
        for data, seen, weight in zip(
            *(part.split(AT_A_TIME, 1) for part in (flat, seen_in, weights)), strict=True
        )
    ]
    maps, errors, model, chi2 = (torch.cat(parts, -1) for parts in zip(*pieces, strict=True))
    return Unmixed(maps, errors * known.sharing.sqrt()[:, None], model, chi2)


def _fitted(
    data: torch.Tensor,
    seen: torch.Tensor,
    weights: torch.Tensor,
    spectra: torch.Tensor,
    values: ValueNoise | None,
    nonnegative: bool,
) -> tuple[torch.Tensor, ...]:
    """Maps, errors, model and chi^2 of pixels ``(m, t)``; NaN where too few values are ``seen``."""
    n = spectra.shape[1]
    weight = torch.where(seen, weights, 0.0)
    maps, errors = weighted_sources(data, weight, spectra, nonnegative=nonnegative)
    number = seen.sum(0)
    if values is None:
        model = spectra @ maps
        chi2 = (weight * (data - model).square()).sum(0) / (number - (maps != 0).sum(0)).clamp(
            min=1
        )
    else:
        for _ in range(ROUNDS):  # converges to the maximum of the Poisson likelihood
            weight = torch.where(seen, 1 / values.cautious(spectra @ maps), 0.0)
            maps, errors = weighted_sources(data, weight, spectra, nonnegative=nonnegative)
        model = spectra @ maps
        leverage = weighted_leverage(weight, spectra, maps)
        chi2 = chi2_of_counts(data - model, model, seen, leverage, values)
    few = number < n
    return tuple(part.masked_fill(few, float("nan")) for part in (maps, errors, model, chi2))


def _filled(flat: torch.Tensor, known: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """Values with what the spectra leave to expect in gaps; channels without any stay as they
    are.
    """
    if bool(known.all()):
        return flat
    maps, _ = weighted_sources(flat, known.to(flat), spectra)
    return torch.where(known | ~known.any(1, keepdim=True), flat, spectra @ maps)


def _from_rest(
    flat: torch.Tensor, known: torch.Tensor, spectra: torch.Tensor
) -> tuple[torch.Tensor, ValueNoise | None]:
    """Noise of channels ``(m,)`` and of each value, from the residual of least squares: one for all
    channels, unless the residual grows with the intensity as that of counts does.
    """
    weight = known.to(flat)
    maps, _ = weighted_sources(flat, weight, spectra)
    freedom = (known.sum(0) - spectra.shape[1]).clamp(min=0).sum().clamp(min=1)
    model = spectra @ maps
    square = (weight * (flat - model).square()) * (known.sum() / freedom)
    values = noise_of_squares(square, model, known)
    if values is not None:
        return values.of_channels.sqrt(), values
    left = square.sum() / known.sum().clamp(min=1)
    scale = float(flat.abs().max()) or 1.0
    return left.sqrt().clamp(min=1e-12 * scale).expand(len(flat)), None
