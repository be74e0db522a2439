"""Maps of pixels, their errors, and what they leave of the data: each pixel by itself.

Everything that all pixels have in common is in :class:`PixelMaps`. A large image is therefore
mapped in pieces, and in pieces of any size with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.separation.goodness import active_leverage, chi2_of_counts
from arpes_ml_plugins.separation.least_squares import (
    least_squares,
    nonnegative_sources,
    weighted_sources,
)
from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["Mapped", "PixelMaps", "map_in_pieces"]

PIECE = 20_000  # pixels at a time: as many as fit into the cache of a processor


@dataclass(frozen=True)
class Mapped:
    """Maps ``(n, t)`` with errors; model and residual ``(m, t)``; chi^2 per degree of freedom."""

    maps: torch.Tensor
    errors: torch.Tensor
    model: torch.Tensor
    residual: torch.Tensor
    chi2: torch.Tensor  # (t,)


@dataclass(frozen=True)
class PixelMaps:
    """Spectra, and the noise and errors with which pixels are mapped."""

    spectra: torch.Tensor
    """``(m, n)``, in the unit of the data over that of the maps."""
    noise: torch.Tensor
    """``(m,)``: of every channel, 0 for those without weight."""
    seen: torch.Tensor
    """``(m,)`` bool: channels with any value."""
    by_value: ValueNoise | None
    """Noise of each value of the channels with weight, if the data have such noise."""
    nonnegative: bool
    halves: torch.Tensor
    """``(splits, 2, m, n)``: spectra from halves of the pixels."""
    share: float
    """Of the pixels that spectra were found from, in both halves."""
    shifted: bool = False
    """Whether energies seem to shift from pixel to pixel, which these maps know nothing of."""
    variances: torch.Tensor | None = None
    """``(m, t)``: of all values to be mapped, if they are known; maps are then weighted by them."""
    spiky: bool = False
    """Whether more values stick out of their surroundings than defects would: they are signal."""
    sharing: torch.Tensor | None = None
    """``(n,)``: variance of maps, over that with independent channels."""

    def at(self, pixels: slice) -> PixelMaps:
        """To map some of the pixels."""
        if self.variances is None:
            return self
        return replace(self, variances=self.variances[:, pixels])

    def to(self, device: torch.device | str) -> PixelMaps:
        """The same on a device."""
        noise = self.by_value
        return replace(
            self,
            spectra=self.spectra.to(device),
            noise=self.noise.to(device),
            seen=self.seen.to(device),
            by_value=None if noise is None else replace(noise, mean=noise.mean.to(device)),
            halves=self.halves.to(device),
            sharing=None if self.sharing is None else self.sharing.to(device),
            variances=None if self.variances is None else self.variances.to(device),
        )

    def fitted(self, values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Maps ``(n, t)`` of complete pixels; NaN for all others, and where every value has its own
        noise.
        """
        maps = values.new_full((self.spectra.shape[1], values.shape[1]), float("nan"))
        if self.variances is not None:
            return maps
        whole = valid[self.seen].all(0)
        if bool(whole.any()):
            scaled = values[self._kept][:, whole] / self._unit
            maps[:, whole] = (
                nonnegative_sources(scaled, self._scaled)
                if self.nonnegative
                else least_squares(scaled, self._scaled)[0]
            )
        return maps

    def errors(self, values: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Standard errors ``(n, t)``: by the noise of the pixel and by the errors of the spectra,
        which are half the differences between maps with the spectra of two halves.
        """
        if self.variances is not None:
            variance = self._power @ self.variances[self._kept]
        elif self.by_value is None:
            spread = least_squares(values[self._kept][:, :1], self._scaled)[1]
            variance = spread.square().expand(-1, maps.shape[1]).clone()
        else:
            variance = self._power @ self.by_value.cautious(self.spectra[self._kept] @ maps)
        variance = self._shared(variance)
        if len(self.halves):
            scaled = values[self._kept] / self._unit
            one, other = torch.linalg.pinv(self.halves[:, :, self._kept] / self._unit).unbind(1)
            apart = ((one - other) / 2).flatten(0, 1) @ scaled  # of all splits at once
            squares = apart.unflatten(0, (-1, len(maps))).square()
            variance += squares.mean(0) * self.share
        return variance.sqrt().masked_fill(maps.isnan(), float("nan"))

    def complete(
        self, maps: torch.Tensor, errors: torch.Tensor, values: torch.Tensor, valid: torch.Tensor
    ) -> None:
        """Solve for maps of pixels with missing values, if they have as many others as there are
        components; in place, with the errors of both as in :meth:`errors`.
        """
        usable = valid & self._kept[:, None]
        chosen = (maps[0].isnan() & (usable.sum(0) >= len(maps))).nonzero()[:, 0]
        if len(chosen) == 0:
            return
        data, seen = values[:, chosen], usable[:, chosen]
        variances = self.noise.square()[:, None]
        if self.variances is not None:
            variances = self.variances[:, chosen]
        weights = torch.where(seen, 1 / variances, 0.0)
        found = weighted_sources(data, weights, self.spectra, nonnegative=self.nonnegative)
        if self.by_value is not None:
            model = (self.spectra @ found[0])[self._kept]
            weights[self._kept] = seen[self._kept] / self.by_value.cautious(model)
            found = weighted_sources(data, weights, self.spectra, nonnegative=self.nonnegative)
        variance = self._shared(found[1].square())
        for pair in self.halves:
            one, other = (weighted_sources(data, weights, half)[0] for half in pair)
            variance += ((one - other) / 2).square() * self.share / len(self.halves)
        maps[:, chosen], errors[:, chosen] = found[0], variance.sqrt()

    def chi2(self, residual: torch.Tensor, model: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Per degree of freedom of each pixel ``(t,)``; NaN in pixels without maps.

        ``residual`` and ``model`` ``(m, t)`` are NaN where there are no values.
        """
        left, model, known = residual[self._kept], model[self._kept], maps.nan_to_num()
        seen = left.isfinite()
        if self.by_value is None:
            freedom = (seen.sum(0) - (known != 0).sum(0)).clamp(min=1)
            each = self._unit.square() if self.variances is None else self.variances[self._kept]
            found = (left.square() / each).nansum(0) / freedom
        else:
            leverage = active_leverage(self._scaled, known)
            weight = 1 / self._unit[:, 0].square()
            found = chi2_of_counts(left, model, seen, leverage, self.by_value, weight)
        return found.masked_fill(maps[0].isnan(), float("nan"))

    def over_noise(
        self, residual: torch.Tensor, model: torch.Tensor, errors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both ``(k, t)`` of channels with weight, over the noise of each value; 0 where there are
        no values.

        What dark values leave is noise of the bright ones, by the ``errors (n, t)`` of the maps.
        """
        left, model = residual[self._kept], model[self._kept]
        variance = self._unit.square() if self.variances is None else self.variances[self._kept]
        if self.by_value is not None:
            of_maps = self.spectra[self._kept].square() @ errors.nan_to_num().square()
            variance = self.by_value.cautious(model.nan_to_num()) + of_maps
        return (left / variance.sqrt()).nan_to_num(), (model / variance.sqrt()).nan_to_num()

    def _shared(self, variance: torch.Tensor) -> torch.Tensor:
        return variance if self.sharing is None else variance * self.sharing[:, None]

    @property
    def _power(self) -> torch.Tensor:  # (n, k), of maps, of the noise of each channel
        return (torch.linalg.pinv(self._scaled) / self._unit.mT).square()

    @property
    def _kept(self) -> torch.Tensor:
        return self.noise > 0

    @property
    def _unit(self) -> torch.Tensor:  # (k, 1)
        return self.noise[self._kept][:, None]

    @property
    def _scaled(self) -> torch.Tensor:  # (k, n)
        return self.spectra[self._kept] / self._unit


ShiftedModel = Callable[[torch.Tensor, torch.Tensor, slice], torch.Tensor]
"""Model ``(m, t)`` from spectra, maps, and which pixels these are, with energies that shift."""


def map_in_pieces(
    known: PixelMaps,
    values: torch.Tensor,
    valid: torch.Tensor,
    *,
    maps: torch.Tensor | None = None,
    original: torch.Tensor | None = None,
    shifted: ShiftedModel | None = None,
) -> Mapped:
    """Map pixels ``(m, t)``.

    Parameters
    ----------
    valid
        ``(m, t)`` bool; other values have no weight, and neither model nor residual.
    maps
        ``(n, t)`` that an algorithm has found itself; NaN in pixels that it has not.
    original, shifted
        The data before their shifts were undone, and the model with these shifts.
    """
    (m, t), n = values.shape, known.spectra.shape[1]
    result = Mapped(*(values.new_empty(*size, t) for size in ((n,), (n,), (m,), (m,), ())))
    for start in range(0, t, PIECE):
        some = slice(start, start + PIECE)
        data, seen, here = values[:, some], valid[:, some], known.at(some)
        found = here.fitted(data, seen) if maps is None else maps[:, some].clone()
        errors = here.errors(data, found)
        here.complete(found, errors, data, seen)
        model = known.spectra @ found if shifted is None else shifted(known.spectra, found, some)
        model.masked_fill_(~seen, float("nan"))
        residual = (values if original is None else original)[:, some] - model
        result.maps[:, some], result.errors[:, some] = found, errors
        result.model[:, some], result.residual[:, some] = model, residual
        result.chi2[some] = here.chi2(residual, model, found)
    return result
