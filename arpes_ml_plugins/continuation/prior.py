"""Features of data under a Gaussian prior of spectra: the input of the network.

For ``g = norm * K (m + R z) + noise`` with ``z`` standard normal, all information in the data is
contained in the posterior mean of ``z``. It is a linear map of ``g`` for any times, errors and
correlations, and its components have at most unit variance, which suits a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.continuation.factored import Factored, rowwise

__all__ = ["GaussianPrior", "View"]

INVISIBLE = 1e-4  # standard deviations of the noise: spectra that differ by less are alike


@dataclass(frozen=True)
class View:
    """One kind of data with a prior of spectra, or the kind of each of ``b`` data sets, with a
    first axis ``(b, ...)`` everywhere. Data are whitened: their noise has unit variance.

    ``n`` frequencies, ``m`` data per spectrum.
    """

    mean_data: torch.Tensor
    """``(m,)``: whitened data of the mean spectrum."""
    to_norm: torch.Tensor
    """``(m,)``: whitened data to the best estimate of the norm (generalised least squares)."""
    norm_error: torch.Tensor
    """Relative standard error of that estimate, whatever the spectrum."""
    directions: torch.Tensor
    """``(m, r)``: orthonormal directions in which spectra differ."""
    strengths: torch.Tensor
    """``(r,)``: standard deviation of spectra along them, in units of the noise."""
    components: Factored
    """``(r, n)``: the parts of ``z`` that move the data along them."""

    @property
    def resolved(self) -> torch.Tensor:
        """Number of components of a spectrum that the data determine."""
        squares = self.strengths.square()
        return (squares / (squares + 1)).sum(-1)

    @property
    def posterior(self) -> torch.Tensor:
        """``(n, m)``: whitened data, less the mean spectrum's, to the posterior mean of ``z``."""
        gain = self.strengths / (1 + self.strengths.square())
        inner, shared = self.directions * gain[..., None, :], self.components.shared
        own = self.components.own
        return shared.mT @ (inner if own is None else inner @ own).mT

    @property
    def features(self) -> torch.Tensor:
        """``(n + 1, m)``: whitened data to the features of the network; the last is the norm."""
        posterior = self.posterior
        less = posterior @ self.mean_data[..., None]
        own = posterior - less * self.to_norm[..., None, :]
        return torch.cat([own, self.to_norm[..., None, :]], -2)

    def norm(self, data: torch.Tensor) -> torch.Tensor:
        """Integral of the spectrum, from whitened data ``(..., m)``."""
        return (data * self.to_norm).sum(-1)

    def log_evidence(self, data: torch.Tensor) -> torch.Tensor:
        """Logarithm of the probability of whitened data ``(..., m)``, up to a constant."""
        along, rest = self._parts(data)
        squares = self.strengths.square()
        distance = rest + (along.square() / (1 + squares)).sum(-1)
        return -(distance + (1 + squares).log().sum(-1)) / 2

    def surprise(self, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Score how unusual whitened data ``(..., m)`` are.

        Returns
        -------
        spectrum, noise
            Mean squares that are 1 on the average over the prior: of the components that spectra
            move, and of the rest, which only noise moves.
        """
        along, rest = self._parts(data)
        seen = self.strengths > 1
        squares = along.square() / (1 + self.strengths.square())
        freedom = max(self.directions.shape[-2] - self.directions.shape[-1], 1)
        return (squares * seen).sum(-1) / seen.sum(-1).clamp(min=1), rest / freedom

    def _parts(self, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Components along the directions, and the squared length of what is left."""
        rest = data - self.norm(data)[..., None] * self.mean_data
        along = rowwise(rest, self.directions)
        return along, (rest - rowwise(along, self.directions.mT)).square().sum(-1)


@dataclass(frozen=True)
class GaussianPrior:
    """Mean ``(n,)`` and symmetric root of the covariance ``(n, n)`` of normalised spectra."""

    mean: torch.Tensor
    root: torch.Tensor

    @classmethod
    def of(cls, spectra: torch.Tensor) -> GaussianPrior:
        """The Gaussian with the first two moments of a sample ``(count, n)``."""
        spectra = spectra.double()
        values, vectors = torch.linalg.eigh(spectra.mT.cov())
        # Spectra are normalised: one direction has no variance, up to rounding.
        values = values.clamp(min=0)
        return cls(spectra.mean(0), vectors * values.sqrt() @ vectors.mT)

    def view(self, kernel: torch.Tensor | Factored) -> View:
        """The view through a whitened kernel ``(m, n)``, or through that of each data set."""
        kernel = Factored.of(kernel)
        u, s, turn, right = kernel.times(self.root).svd(INVISIBLE)
        mean = kernel.shared @ self.mean
        if kernel.own is not None:
            mean = kernel.own @ mean
        # Covariance of the data: 1 + u s^2 u^T; its inverse times the mean's data:
        shrink = s.square() / (1 + s.square())
        solved = mean - rowwise(shrink * rowwise(mean, u), u.mT)
        weight = (mean * solved).sum(-1, keepdim=True)
        return View(
            mean_data=mean,
            to_norm=solved / weight,
            norm_error=weight[..., 0].rsqrt(),
            directions=u,
            strengths=s,
            components=Factored(right, turn),
        )
