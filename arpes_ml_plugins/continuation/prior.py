"""Features of data under a Gaussian prior of spectra: the input of the network.

For ``g = norm * K (m + R z) + noise`` with ``z`` standard normal, all information in the data is
contained in the posterior mean of ``z``. It is a linear map of ``g`` for any times, errors and
correlations, and its components have at most unit variance, which suits a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["GaussianPrior", "View"]


@dataclass(frozen=True)
class View:
    """One kind of data with a prior of spectra. Data are whitened: their noise has unit variance.

    ``n`` frequencies, ``m`` data per spectrum.
    """

    posterior: torch.Tensor
    """``(n, m)``: whitened data, less the mean spectrum's, to the posterior mean of ``z``."""
    mean_data: torch.Tensor
    """``(m,)``: whitened data of the mean spectrum."""
    to_norm: torch.Tensor
    """``(m,)``: whitened data to the best estimate of the norm (generalised least squares)."""
    norm_error: float
    """Relative standard error of that estimate, whatever the spectrum."""
    directions: torch.Tensor
    """``(m, r)``: orthonormal directions in which spectra differ."""
    strengths: torch.Tensor
    """``(r,)``: standard deviation of spectra along them, in units of the noise."""

    @property
    def resolved(self) -> float:
        """Number of components of a spectrum that the data determine."""
        squares = self.strengths.square()
        return float((squares / (squares + 1)).sum())

    @property
    def features(self) -> torch.Tensor:
        """``(n + 1, m)``: whitened data to the features of the network; the last is the norm."""
        less = self.posterior @ self.mean_data
        return torch.cat([self.posterior - less[:, None] * self.to_norm, self.to_norm[None]])

    def norm(self, data: torch.Tensor) -> torch.Tensor:
        """Integral of the spectrum, from whitened data ``(..., m)``."""
        return data @ self.to_norm

    def log_evidence(self, data: torch.Tensor) -> torch.Tensor:
        """Logarithm of the probability of whitened data ``(..., m)``, up to a constant."""
        along, rest = self._parts(data)
        squares = self.strengths.square()
        distance = rest + (along.square() / (1 + squares)).sum(-1)
        return -(distance + (1 + squares).log().sum()) / 2

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
        freedom = max(len(self.mean_data) - len(self.strengths), 1)
        return (squares * seen).sum(-1) / max(int(seen.sum()), 1), rest / freedom

    def _parts(self, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Components along the directions, and the squared length of what is left."""
        rest = data - self.norm(data)[..., None] * self.mean_data
        along = rest @ self.directions
        return along, (rest - along @ self.directions.mT).square().sum(-1)


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

    def view(self, kernel: torch.Tensor) -> View:
        """The view through a whitened kernel ``(m, n)``."""
        spread = kernel @ self.root
        # What is kept of it has squares that rounding spares; this is faster than its SVD.
        squares, u = torch.linalg.eigh(spread @ spread.mT)
        kept = squares > 1e-12 * squares[-1]
        u, s = u[:, kept].flip(1), squares[kept].sqrt().flip(0)
        mean = kernel @ self.mean
        # Covariance of the data: 1 + u s^2 u^T; its inverse times the mean's data:
        solved = mean - u @ ((s.square() / (1 + s.square())) * (u.mT @ mean))
        return View(
            posterior=spread.mT @ (u / (1 + s.square())) @ u.mT,
            mean_data=mean,
            to_norm=solved / (mean @ solved),
            norm_error=float((mean @ solved).rsqrt()),
            directions=u,
            strengths=s,
        )
