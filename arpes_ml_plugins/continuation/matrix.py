"""Continue the matrix of a Green's function, so that it is positive semidefinite.

First the elements of the diagonal are continued like single spectra, then those beside it by
positive-negative entropy, with the largest size that the diagonal allows,
``|A_ij| <= sqrt(A_ii A_jj)``, as default model (Kraberger et al., Phys. Rev. B 96, 155128 (2017)).
Together they are hardly ever positive semidefinite. So the matrix nearby that is becomes the
default model of :mod:`~arpes_ml_plugins.continuation.matrix_maxent`, which makes it agree with all
data again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from arpes_ml_plugins.continuation.answer import (
    INDEFINITE,
    UNCONVERGED,
    UNEXPLAINED,
    UNSURE,
    WRONG,
    Answer,
    answer,
    chi2_per_datum,
    largest_misfit,
)
from arpes_ml_plugins.continuation.checked import Checked
from arpes_ml_plugins.continuation.matrix_maxent import hermitian_basis, matrix_maxent
from arpes_ml_plugins.continuation.observation import Observation, observed, together
from arpes_ml_plugins.continuation.problem import Problem, cell_widths, flat_weights
from arpes_ml_plugins.continuation.solvers import BAND, NEURAL_SHARE, SignedMaxEnt

__all__ = ["MatrixSolver", "nearest_on_cone"]

HALF_DIFFERENCE = 0.5**0.5  # error of half the difference of two values, over that of each


@dataclass(frozen=True)
class MatrixSolver:
    """The algorithms of the diagonal, beside it, and of the whole matrix.

    All data are those of its independent real parts, see
    :func:`~arpes_ml_plugins.continuation.matrix_maxent.hermitian_basis`.
    """

    orbitals: int
    complex_valued: bool
    diagonal: Checked
    beside: Checked
    """Its algorithm is :class:`SignedMaxEnt`, the default model of which is set here."""
    rule: str
    """Of the whole matrix."""

    def __call__(
        self,
        problem: Problem,
        data: torch.Tensor,
        errors: torch.Tensor | None,
        covariance: torch.Tensor | None,
    ) -> tuple[Answer, torch.Tensor]:
        """Solve for ``b`` matrices.

        Parameters
        ----------
        data
            Of all elements, ``(b, elements, m)``.
        errors
            Standard errors of the real rows, ``(b, elements, rows)``; estimated if None.
        covariance
            Of the errors, ``(rows, rows)``, or of each, ``(b, elements, rows, rows)``, instead.

        Returns
        -------
        answer
            As for single spectra, with ``(b, elements)`` for the batch.
        violation
            Density by which elements that are continued one by one leave the cone of positive
            semidefinite matrices, ``(b, n)``: the sum of their negative eigenvalues.
        """
        trace = problem.rows(data[:, : self.orbitals].sum(1))
        of_trace = None if errors is None else errors[:, : self.orbitals].square().sum(1).sqrt()
        sign = problem.sign(trace, of_trace)
        data = data * sign[:, None, None]
        first = self._single(replace(problem, convention=1), data, errors, covariance, first=True)
        signed = replace(problem, signed=True)
        bound = self._bound(first.spectral_function)
        second = self._single(signed, data, errors, covariance, first=False, bound=bound)
        found = _joined(first, second)
        known = problem.rows(found.stderr)
        unsure = problem.unsure(trace, known[:, : self.orbitals].square().sum(1).sqrt())
        found = replace(found, status=found.status | unsure[:, None] * UNSURE)
        solved, violation = self._whole(problem, data, errors, covariance, found, known)
        back = solved.back_transform * sign[:, None, None]
        signs = sign[:, None].expand_as(solved.chi2)
        return replace(solved, back_transform=back, sign=signs), violation

    def _single(
        self,
        problem: Problem,
        data: torch.Tensor,
        errors: torch.Tensor | None,
        covariance: torch.Tensor | None,
        *,
        first: bool,
        bound: torch.Tensor | None = None,
    ) -> Answer:
        """Elements one by one, those of the diagonal or all others."""
        here = slice(None, self.orbitals) if first else slice(self.orbitals, None)
        solver = self.diagonal if first else self.beside
        if bound is not None:
            model = bound.flatten(0, 1).cpu().numpy()
            assert isinstance(solver.algorithm, SignedMaxEnt)
            solver = replace(solver, algorithm=replace(solver.algorithm, model=model))
        if covariance is not None and covariance.ndim == 4:
            covariance = covariance[:, here].flatten(0, 1)
        part = None if errors is None else errors[:, here].flatten(0, 1)
        found = answer(problem, data[:, here].flatten(0, 1), part, covariance, solver)
        batch = data[:, here].shape[:2]
        shaped = {
            field.name: value.unflatten(0, batch)
            for field in fields(found)
            if (value := getattr(found, field.name)) is not None
        }
        return replace(found, **shaped)

    def _bound(self, diagonal: torch.Tensor) -> torch.Tensor:
        """``sqrt(A_ii A_jj)`` for all elements beside the diagonal, ``(b, elements, n)``."""
        row, column = torch.triu_indices(self.orbitals, self.orbitals, 1, device="cpu")
        root = diagonal.clamp(min=0).sqrt()
        bound = root[:, row] * root[:, column]
        return torch.cat([bound, bound], 1) if self.complex_valued else bound

    def _whole(
        self,
        problem: Problem,
        data: torch.Tensor,
        errors: torch.Tensor | None,
        covariance: torch.Tensor | None,
        single: Answer,
        known: torch.Tensor,
    ) -> tuple[Answer, torch.Tensor]:
        """All elements together, with their positive semidefinite neighbour as default model."""
        basis = hermitian_basis(self.orbitals, self.complex_valued).to(data.device)
        widths = cell_widths(problem.omega)
        near, violation = nearest_on_cone(_matrices(single.spectral_function, basis))
        norms = (near.diagonal(dim1=-2, dim2=-1).real * widths[:, None]).sum(1)  # (b, orbitals)
        flat = flat_weights(problem)[:, None, None] * torch.diag_embed(norms)[:, None]
        default = NEURAL_SHARE * near * widths[:, None, None] + (1 - NEURAL_SHARE) * flat
        rows = problem.rows(data)
        weights, deviation = (torch.empty_like(single.spectral_function) for _ in range(2))
        status = single.status.clone()
        for which, alike in _together(known, single.used, covariance):
            seen = [
                self._seen(problem, rows, known, covariance, single.used, which, element, alike)
                for element in range(rows.shape[1])
            ]
            counts = torch.stack([each.count for each in seen], -1)
            found = matrix_maxent(
                [each.kernel() for each in seen],
                [each.data for each in seen],
                default[which],
                basis,
                rule=self.rule,
                count=counts.sum(-1),
            )
            weights[which], deviation[which] = found.elements, found.deviation
            misses = (found.chi2 > counts * largest_misfit(counts)).to(torch.int64)
            fitted = (status[which] & UNEXPLAINED == 0).to(torch.int64)
            status[which] |= misses * (UNEXPLAINED | fitted * INDEFINITE)
            status[which] |= (~found.converged).to(torch.int64)[:, None] * UNCONVERGED
        back = weights @ problem.kernel.mT
        density = weights / widths
        lower, upper = self._interval(single, density, BAND * deviation / widths)
        stated = known if errors is None else errors
        chi2 = chi2_per_datum(rows - back, stated, covariance, single.used)
        solved = replace(
            single,
            spectral_function=density,
            lower=lower,
            upper=upper,
            back_transform=problem.unrows(back),
            chi2=chi2,
            status=status,
            out_of_distribution=(status & WRONG) > 0,
        )
        return solved, violation

    def _seen(
        self,
        problem: Problem,
        rows: torch.Tensor,
        errors: torch.Tensor,
        covariance: torch.Tensor | None,
        used: torch.Tensor,
        which: torch.Tensor,
        element: int,
        alike: bool,
    ) -> Observation:
        """One element of several matrices, and all that is known of it; ``alike``: with the same
        errors.
        """
        beside = element >= self.orbitals
        own = covariance
        if covariance is not None and covariance.ndim == 4:
            own = covariance[which, element]
        seen = observed(
            replace(problem, signed=True) if beside else problem,
            rows[which, element],
            errors[which, element],
            own,
            used[which, element],
            alike=alike,
        )
        each = rows.shape[1] - self.orbitals if beside else self.orbitals
        place = which * each + (element - self.orbitals if beside else element)
        seen = replace(seen, slices=place.cpu().numpy())
        return (self.beside if beside else self.diagonal).completed(seen)[0]

    def _interval(
        self, single: Answer, density: torch.Tensor, half: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """On the diagonal that of the single spectra, wide enough for the result; beside it that of
        the posterior or of the diagonal, the wider one, within what the diagonal allows.

        The real part of ``A_ij`` is half the difference of ``A_++`` and ``A_--``, the diagonal in
        the basis of ``i + j`` and ``i - j``, whose independent errors are those of any diagonal.
        """
        lower = single.lower.minimum(density)
        upper = single.upper.maximum(density)
        bound = self._bound(upper[:, : self.orbitals])
        rotated = self._bound((upper - lower)[:, : self.orbitals] / 2) * HALF_DIFFERENCE
        beside = density[:, self.orbitals :]
        spread = half[:, self.orbitals :].maximum(rotated)
        lower[:, self.orbitals :] = (beside - spread).maximum(-bound)
        upper[:, self.orbitals :] = (beside + spread).minimum(bound)
        return lower, upper


def nearest_on_cone(matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive semidefinite matrices with the diagonals of Hermitian ones ``(..., n, n)``.

    Negative eigenvalues of the matrix of correlations are set to zero, and its diagonal back to 1.
    Two orbitals: an element beside the diagonal that is too large is cut off at its bound.

    Returns
    -------
    matrices
        ``(..., n, n)``.
    violation
        Sum of the negative eigenvalues of what came, without the sign, ``(...)``.

    Examples
    --------
    >>> found, violation = nearest_on_cone(torch.tensor([[4.0, 3.0], [3.0, 1.0]]))
    >>> found
    tensor([[4., 2.],
            [2., 1.]])
    """
    violation = -torch.linalg.eigvalsh(matrices).clamp(max=0).sum(-1)
    root = matrices.diagonal(dim1=-2, dim2=-1).real.clamp(min=torch.finfo(violation.dtype).tiny)
    root = root.sqrt()
    scale = (root[..., :, None] * root[..., None, :]).to(matrices.dtype)
    values, vectors = torch.linalg.eigh(matrices / scale)
    clipped = (vectors * values.clamp(min=0)[..., None, :].to(vectors.dtype)) @ vectors.mH
    size = clipped.diagonal(dim1=-2, dim2=-1).real.sqrt()
    unit = clipped / (size[..., :, None] * size[..., None, :])
    inside = (values[..., 0] >= 0)[..., None, None]
    return torch.where(inside, matrices, unit * scale), violation


def _matrices(elements: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Hermitian matrices ``(b, n, orbitals, orbitals)`` of elements ``(b, elements, n)``."""
    trace = torch.einsum("mij,mji->m", basis, basis).real  # the basis is orthogonal
    scaled = (elements / trace[:, None]).to(basis.dtype)
    return torch.einsum("bmn,mij->bnij", scaled, basis)


def _joined(first: Answer, second: Answer) -> Answer:
    parts: dict[str, Any] = {
        field.name: torch.cat([getattr(first, field.name), getattr(second, field.name)], 1)
        for field in fields(first)
        if getattr(first, field.name) is not None
    }
    return replace(first, **parts)


def _together(
    errors: torch.Tensor, used: torch.Tensor, covariance: torch.Tensor | None
) -> Iterator[tuple[torch.Tensor, bool]]:
    """Positions of matrices that are solved together, and whether they share all errors."""
    labels = torch.cat([errors, used.to(errors)], -1).flatten(1)
    if covariance is not None and covariance.ndim == 4:  # to each its own
        labels = torch.arange(len(errors), device="cpu").to(errors)[:, None]
    return together(labels)
