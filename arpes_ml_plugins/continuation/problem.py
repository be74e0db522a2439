"""The forward problem: from A(w) to data in imaginary time or at Matsubara frequencies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from arpes_ml_plugins.continuation.kernels import KERNELS, integrate_bins, real_rows

__all__ = [
    "Problem",
    "cell_edges",
    "cell_widths",
    "flat_weights",
    "merged",
    "refined",
    "subdivided",
]

WIDER = 4.0
"""Range of the problem beyond the largest frequency of the user, in units of it."""
OPPOSED = 0.1  # of the data: those of the wrong sign that are no outliers
CERTAIN_SIGN = 4.0  # standard errors
FAINT = 1e-4  # default models beyond the frequencies of the result, over those inside
GROWTH = 1.25  # from cell to cell out there
SPANNED = 6.0
"""Range of the frequencies that :meth:`Problem.basis` holds for, in units of the largest one."""
LEAST_REACH = 2.0  # ... or of this over ``beta``
UNFELT = 1e-7  # standard errors
ROUNDING = 1e-15
FINEST, PER_FOLD = 1e-2, 6.0  # frequencies of that basis: the smallest times ``beta``; per factor e


def cell_edges(omega: torch.Tensor) -> torch.Tensor:
    """Borders between the cells of a grid: half way, and as far beyond the ends, ``(n + 1,)``.

    A grid from zero ends there: its first cell is half a cell. Were it a whole one, an even
    spectrum would have half the entropy at zero that it has elsewhere, and come out too small.

    Examples
    --------
    >>> cell_edges(torch.tensor([1.0, 2.0, 3.0]))
    tensor([0.5000, 1.5000, 2.5000, 3.5000])
    >>> cell_edges(torch.tensor([0.0, 1.0, 2.0]))
    tensor([0.0000, 0.5000, 1.5000, 2.5000])
    """
    middle = (omega[1:] + omega[:-1]) / 2
    first, last = 2 * omega[:1] - middle[:1], 2 * omega[-1:] - middle[-1:]
    first = torch.where(omega[:1] == 0, omega[:1], first)
    return torch.cat([first, middle, last])


def cell_widths(omega: torch.Tensor) -> torch.Tensor:
    """Width that each point of a grid stands for, ``(n,)``."""
    return cell_edges(omega).diff()


def flat_weights(problem: Problem) -> torch.Tensor:
    """Weights of a flat spectrum on the frequencies of the user, faint beyond, ``(n,)``."""
    widths = cell_widths(problem.omega)
    widths = torch.where(problem.beyond(), FAINT * widths, widths)
    return widths / widths.sum()


def subdivided(omega: torch.Tensor, parts: int) -> torch.Tensor:
    """The centres of ``parts`` equal parts of every cell, ``(n * parts,)``.

    Examples
    --------
    >>> subdivided(torch.tensor([3.0, 6.0]), 3)
    tensor([2., 3., 4., 5., 6., 7.])
    """
    if parts == 1:
        return omega
    edges = cell_edges(omega)
    steps = (torch.arange(parts, dtype=omega.dtype, device=omega.device) + 0.5) / parts
    return (edges[:-1, None] + edges.diff()[:, None] * steps).reshape(-1)


def refined(omega: torch.Tensor, where: torch.Tensor, parts: int) -> torch.Tensor:
    """The centres of all cells, of which some, ``(n,)`` bool, are divided into ``parts``.

    Examples
    --------
    >>> refined(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([False, True, False]), 2)
    tensor([1.0000, 2.5000, 3.5000, 5.0000])
    """
    counts = torch.where(where, parts, 1)
    edges = cell_edges(omega)
    number = torch.arange(int(counts.sum()), device=omega.device)
    within = number - (counts.cumsum(0) - counts).repeat_interleave(counts)
    step = (edges.diff() / counts).repeat_interleave(counts)
    return edges[:-1].repeat_interleave(counts) + (within + 0.5) * step


def merged(density: torch.Tensor, parts: int) -> torch.Tensor:
    """Mean densities ``(..., n)`` of cells from those of their parts ``(..., n * parts)``."""
    return density.unflatten(-1, (-1, parts)).mean(-1)


def _onward(ends: torch.Tensor, reach: float) -> torch.Tensor:
    """Frequencies after the last of ``ends`` in ever wider cells, until they are ``reach`` away."""
    step = float(ends[-1] - ends[-2])
    count = math.ceil(math.log1p(reach / abs(step) * (GROWTH - 1)) / math.log(GROWTH))
    return ends[-1] + step * (
        GROWTH ** torch.arange(count, dtype=ends.dtype, device=ends.device)
    ).cumsum(0)


@dataclass(frozen=True)
class Problem:
    """All settings beside the data. Complex data are handled as real parts, then imaginary parts.

    The spectral function is handled as weights ``a = A dw``: a sum is an integral, and paper and
    code agree (eq. 3).
    """

    times: torch.Tensor
    """Imaginary times, Matsubara frequencies or Legendre orders, by ``axis``, ``(m,)`` float64."""
    omega: torch.Tensor  # (n,) float64, ascending
    beta: float
    statistics: str = "fermion"
    axis: str = "tau"
    """``"tau"``, ``"matsubara"``, ``"real matsubara"`` (of bosons) or ``"legendre"``."""
    bins: bool = False
    """Integrate the kernel over the cells of ``omega`` instead of taking it at their centres."""
    window: float = 0.0
    """Largest frequency that the user named; that of ``omega`` if 0."""
    named: tuple[int, int] | None = None
    """Where in ``omega`` the user's frequencies begin and end, if there are others."""
    signed: bool = False
    """Whether spectra may have either sign; their data do not show their sign convention."""
    symmetric: bool = False
    """The spectrum is known to be even, on frequencies of both signs too."""
    convention: int | None = None
    """Sign of the data as stated, see :meth:`sign`; None takes it from the data."""
    causal: bool = False
    """Whether data of the negative convention are wrong, as those of a self-energy are."""
    transform: torch.Tensor | None = None
    """From values at ``times`` to coefficients in a basis, ``(m, times)``, if the data are such."""
    moments: tuple[int, ...] = ()
    """Orders of known moments, 0 for the integral: as many last rows of the kernel, the powers of
    the frequencies over ``half_width``."""

    @property
    def half_width(self) -> float:
        """Largest frequency."""
        return self.window or float(self.omega.abs().max())

    @cached_property
    def kernel(self) -> torch.Tensor:
        """Data of unit weight at each frequency, real, ``(rows, n)`` float64."""
        rows = self._kernel()
        if not self.moments:
            return rows
        at = self.omega / self.half_width
        return torch.cat([rows, torch.stack([at**order for order in self.moments])])

    def basis(self, precision: float) -> torch.Tensor:
        """Orthonormal columns that span the data of all spectra, ``(rows, k)``.

        Of all within ``SPANNED`` times the largest frequency, on any grid; moments are not among
        the data here.

        Parameters
        ----------
        precision
            Norm of the spectra over the smallest error of the data: directions in which they move
            the data by less than ``UNFELT`` errors are left out.
        """
        largest = max(self.half_width, LEAST_REACH / self.beta, float(self.omega.abs().max()) / 4)
        low, high = FINEST / self.beta, SPANNED * largest
        count = math.ceil(PER_FOLD * math.log(high / low)) + 1
        above = torch.logspace(
            math.log10(low), math.log10(high), count, dtype=self.omega.dtype, device="cpu"
        ).to(self.omega)
        whole = torch.cat([-above.flip(0), above.new_zeros(1), above])
        u, s, _ = torch.linalg.svd(
            replace(self, omega=whole, bins=False, moments=()).kernel, full_matrices=False
        )
        return u[:, (s * precision > UNFELT) & (s > ROUNDING * s[0])]

    def _kernel(self) -> torch.Tensor:
        edges = cell_edges(self.omega)

        def kernel(times: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
            plain = KERNELS[self.statistics, self.axis]
            rows = plain(times, omega, beta)
            if self.even:
                rows = rows + plain(times, -omega, beta)
            elif self.symmetric:
                rows = (rows + plain(times, -omega, beta)) / 2
            return rows

        if self.bins:
            rows = integrate_bins(kernel, self.times, edges, self.beta)
        else:
            rows = kernel(self.times, self.omega, self.beta)
        return real_rows(rows if self.transform is None else self.transform @ rows)

    def extended(self, wider: float = WIDER) -> Problem:
        """With frequencies beyond those of the user, where a spectrum may go on."""
        omega, reach = self.omega[slice(*(self.named or (None,)))], (wider - 1) * self.half_width
        above = _onward(omega, reach)
        below = omega[:0] if self.even else _onward(omega.flip(0), reach).flip(0)
        named = (len(below), len(below) + len(omega))
        return replace(self, omega=torch.cat([below, omega, above]), named=named)

    def bounded(self) -> Problem:
        """Without frequencies beyond those of the user."""
        if self.named is None:
            return self
        omega = self.omega[slice(*self.named)]
        return replace(self, omega=omega, named=(0, len(omega)))

    def beyond(self) -> torch.Tensor:
        """Frequencies that are not the user's, ``(n,)`` bool."""
        outside = torch.zeros(len(self.omega), dtype=torch.bool, device=self.omega.device)
        if self.named is not None:
            outside[: self.named[0]] = outside[self.named[1] :] = True
        return outside

    @property
    def even(self) -> bool:
        """Bosons on frequencies from zero up: their spectrum ``A(w) / w`` is even."""
        return self.statistics == "boson" and float(self.omega[0]) >= 0

    @property
    def may_be_conjugate(self) -> bool:
        """Whether the negative convention of data may be that of complex conjugates."""
        fermion = self.statistics == "fermion" and self.axis == "matsubara"
        return fermion and self.convention is None and not (self.signed or self.causal)

    def rows(self, data: torch.Tensor) -> torch.Tensor:
        """Data ``(..., m)``, complex or not, as real rows ``(..., rows)``."""
        if self.axis != "matsubara":
            return data
        return torch.cat([data.real, data.imag], -1)

    def unrows(self, rows: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`rows`."""
        return rows if self.axis != "matsubara" else torch.complex(*rows.chunk(2, -1))

    @property
    def coefficients(self) -> bool:
        """Whether the data are coefficients in a basis."""
        return self.axis == "legendre" or self.transform is not None

    def sign(self, rows: torch.Tensor, errors: torch.Tensor | None = None) -> torch.Tensor:
        """1 for data of the positive convention, -1 for the other, ``(...,)``; the more accurate
        data decide.

        Positive means ``-G(tau) = <c c+> > 0``, ``Im G(i w_n) < 0`` for ``w_n > 0``, and positive
        correlation functions of bosons.
        """
        if self.convention is not None:
            return torch.full_like(rows[..., 0], self.convention)
        if self.signed:
            return torch.ones_like(rows[..., 0])
        errors = torch.ones_like(rows) if errors is None else errors
        return torch.where(self._likeness(rows, errors) < 0, -1.0, 1.0).to(rows.dtype)

    def unsure(self, rows: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
        """Whether noise may have determined the sign of the data, ``(...,)`` bool."""
        if self.convention is not None or self.signed:
            return torch.zeros_like(rows[..., 0], dtype=torch.bool)
        return self._likeness(rows, errors).abs() < CERTAIN_SIGN

    def opposed(self, rows: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
        """Whether many data have a sign, beyond errors, that those of no positive spectrum have,
        ``(...,)`` bool.
        """
        if self.signed:
            return torch.zeros_like(rows[..., 0], dtype=torch.bool)
        settled = (self.kernel >= 0).all(-1) | (self.kernel <= 0).all(-1)
        below = rows * self.kernel.sum(-1).sign() < -CERTAIN_SIGN * errors
        return (below & settled).sum(-1) > OPPOSED * settled.sum()

    def _likeness(self, rows: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
        """Of data ``(..., rows)`` to those of a flat spectrum, in standard errors, ``(...,)``."""
        flat = self.kernel.sum(-1) / errors
        return (rows / errors * flat).sum(-1) / flat.norm(dim=-1)

    def on(self, omega: torch.Tensor) -> Problem:
        """The same data on other frequencies."""
        return replace(self, omega=omega)
