"""Maximum entropy for Hermitian matrices that are positive semidefinite at every frequency.

For the elements ``g_mu`` of a matrix in imaginary time, whitened, the matrix of spectra that
minimises

    sum_mu |g_mu - K_mu a_mu|^2 / 2 + alpha * sum_w Tr(A log A - A log D - A + D)

with ``a_mu = Tr(B_mu A)``, its independent real parts, is ``A = exp(log D + sum_mu x_mu B_mu)``:
positive whatever the data, and the same in any basis of the orbitals (relative entropy of quantum
states; Sim and Han, Phys. Rev. B 98, 205102 (2018)). As for single spectra, ``x_mu = V_mu S_mu
y_mu``, and ``y`` minimises a convex dual,
``alpha |y|^2 / 2 + sum_w Tr A - sum_mu y_mu U_mu^T g_mu``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.continuation.factored import Factored, rowwise
from arpes_ml_plugins.continuation.maxent import (
    ALPHAS,
    LARGEST_ALPHA,
    SMALLEST_ALPHA,
    SMALLEST_DEFAULT,
    freedom,
)
from arpes_ml_plugins.continuation.newton import (
    LOG_NEGLIGIBLE,
    LONGEST_STEP,
    SMALLEST_GAP,
    TOLERANCE,
    halved,
    robust_cholesky,
)
from arpes_ml_plugins.continuation.strengths import RULES
from arpes_ml_plugins.continuation.subspace import Subspace

__all__ = ["MatrixResult", "hermitian_basis", "matrix_maxent"]

ITERATIONS = 60
PASSED = 20.0
"""Nats below its maximum at which the probability of ever smaller strengths is not followed on."""
ROUGH_GAP = 1e-4  # nats: how far solutions along the path may be from the minimum
DEGENERATE = 1e-5  # difference of two logarithms of eigenvalues that are taken as equal


@dataclass(frozen=True)
class MatrixResult:
    """``b`` matrices of weights; elements in the order of :func:`hermitian_basis`."""

    elements: torch.Tensor  # (b, mu, n)
    deviation: torch.Tensor  # (b, mu, n): of the Gaussian around the maximum of the posterior
    chi2: torch.Tensor  # (b, mu)
    converged: torch.Tensor  # (b,)


def hermitian_basis(orbitals: int, complex_valued: bool) -> torch.Tensor:
    """Matrices ``B`` for which ``Tr(B A)`` are the independent real parts of a Hermitian ``A``.

    First those of the diagonal, then the real parts above it, row by row, and then, if it is
    complex, the imaginary parts above it: ``(mu, orbitals, orbitals)``.

    Examples
    --------
    >>> hermitian_basis(2, False)[2]
    tensor([[0.0000, 0.5000],
            [0.5000, 0.0000]], dtype=torch.float64)
    """
    above = torch.triu_indices(orbitals, orbitals, 1, device="cpu")
    pairs = above.shape[1]
    count = orbitals + pairs * (2 if complex_valued else 1)
    dtype = torch.complex128 if complex_valued else torch.float64
    found = torch.zeros(count, orbitals, orbitals, dtype=dtype, device="cpu")
    half = torch.tensor(0.5j if complex_valued else 0.0, dtype=dtype, device="cpu")
    each, pair = torch.arange(orbitals, device="cpu"), torch.arange(pairs, device="cpu")
    found[each, each, each] = 1
    for rows, columns in (above, above.flip(0)):
        found[orbitals + pair, rows, columns] = 0.5
    if complex_valued:
        found[orbitals + pairs + pair, above[0], above[1]] = half
        found[orbitals + pairs + pair, above[1], above[0]] = -half
    return found


def matrix_maxent(
    kernels: Sequence[torch.Tensor | Factored],
    data: Sequence[torch.Tensor],
    default: torch.Tensor,
    basis: torch.Tensor,
    *,
    rule: str = "classic",
    count: torch.Tensor | int | None = None,
) -> MatrixResult:
    """Find positive semidefinite matrices of spectra of maximum entropy.

    Parameters
    ----------
    kernels
        Whitened kernel of each element, ``(m, n)`` float64, or one for each data set.
    data
        Whitened, ``(b, m)`` for each element.
    default
        Default model as weights, ``(b, n, orbitals, orbitals)``, positive semidefinite.
    basis
        From :func:`hermitian_basis`.
    rule
        As in :func:`~arpes_ml_plugins.continuation.maxent.maxent`; ``"bryan"`` is ``"classic"``.
    count
        Number of data of all elements before they were compressed, ``(b,)``; that of ``data`` if
        None.
    """
    own = [Factored.of(kernel) for kernel in kernels]
    dual = _Dual.of(own, data, default, basis)
    count = sum(each.shape[-1] for each in data) if count is None else count
    alphas = dual.alphas()
    y = torch.zeros_like(dual.target)
    path: list[tuple[torch.Tensor, ...]] = []
    for alpha in alphas:
        y, _ = dual.solve(alpha, y, ROUGH_GAP)
        state = dual.at(y)
        chi2 = dual.chi2(state, own, data).sum(-1)
        path.append((y, chi2, dual.evidence(state, y, alpha, chi2)))
        evidence = torch.stack([each[2] for each in path])
        passed = evidence[-1] < evidence.amax(0) - PASSED
        if rule in ("classic", "bryan") and len(path) > 2 and bool(passed.all()):
            break
    whole = sum((each.square().sum(-1) for each in data), torch.zeros_like(alphas[0]))
    rest = torch.minimum((whole - dual.target.square().sum(-1)).clamp(min=0), path[-1][1])
    parts = [torch.stack(part) for part in zip(*path, strict=True)]
    hessian = dual._hessian(dual._responses(state), alphas[len(path) - 1])
    tried = _Tried(alphas[: len(path)], *[*parts, rest, freedom(hessian, alphas[len(path) - 1])])
    alpha = RULES[rule](tried, torch.as_tensor(count).to(alphas))
    nearest = (tried.alphas >= alpha * (1 - 1e-9)).sum(0).clamp(min=1) - 1
    start = tried.unknowns[nearest, torch.arange(len(alpha), device=alpha.device)]
    y, converged = dual.solve(alpha, start, SMALLEST_GAP)
    state = dual.at(y)
    return MatrixResult(
        state.elements,
        dual.deviation(state, alpha),
        dual.chi2(state, own, data),
        converged,
    )


@dataclass(frozen=True)
class _Tried:
    """What the rules need of a path, ``(k, b)`` each."""

    alphas: torch.Tensor
    unknowns: torch.Tensor  # (k, b, r)
    chi2: torch.Tensor
    evidence: torch.Tensor
    rest: torch.Tensor  # (b,)
    freedom: torch.Tensor  # (b,)


@dataclass(frozen=True)
class _State:
    """Matrices at some unknowns."""

    logs: torch.Tensor  # (b, n, orbitals): logarithms of the eigenvalues
    vectors: torch.Tensor  # (b, n, orbitals, orbitals)
    elements: torch.Tensor  # (b, mu, n)
    trace: torch.Tensor  # (b, n)
    changes: torch.Tensor  # (b, mu, n): x, of the logarithm


@dataclass(frozen=True)
class _Dual:
    """The dual for ``b`` data sets; unknowns ``(b, r)`` of all elements, one after the other."""

    spaces: list[Subspace]
    target: torch.Tensor  # (b, r): U^T g
    logarithm: torch.Tensor  # (b, n, orbitals, orbitals): of the default model
    norm: torch.Tensor  # (b,): trace of the default model
    basis: torch.Tensor

    @classmethod
    def of(
        cls,
        kernels: Sequence[Factored],
        data: Sequence[torch.Tensor],
        default: torch.Tensor,
        basis: torch.Tensor,
    ) -> _Dual:
        basis = basis.to(default.device)
        values, vectors = torch.linalg.eigh(default.to(basis.dtype))
        values = values.maximum(SMALLEST_DEFAULT * values.amax((-1, -2), keepdim=True))
        norm = values.sum((-1, -2))
        spaces = [Subspace.of(kernel, norm) for kernel in kernels]
        target = [rowwise(one, space.left) for one, space in zip(data, spaces, strict=True)]
        logarithm = _composed(values.log(), vectors)
        return cls(spaces, torch.cat(target, -1), logarithm, norm, basis)

    def alphas(self) -> torch.Tensor:
        """Strengths, falling, ``(k, b)``; at the first the data hardly count."""
        trace = self.logarithm.diagonal(dim1=-2, dim2=-1).real.exp().sum(-1)
        stiffest = torch.stack([space.stiffest(trace) for space in self.spaces])
        largest = (10 * stiffest.amax(0) * self.norm).clamp(1e3, LARGEST_ALPHA)
        steps = torch.linspace(0, 1, ALPHAS, dtype=trace.dtype, device=trace.device)
        return largest * (SMALLEST_ALPHA / largest) ** steps[:, None] / self.norm

    def take(self, which: torch.Tensor) -> _Dual:
        """That of some data sets."""
        return replace(
            self,
            spaces=[space.take(which) for space in self.spaces],
            target=self.target[which],
            logarithm=self.logarithm[which],
            norm=self.norm[which],
        )

    def at(self, y: torch.Tensor) -> _State:
        changes = self._changes(y)
        logs, vectors = _eigh(self.logarithm + self._matrices(changes))
        matrices = _composed(logs.exp(), vectors)
        elements = torch.einsum("mij,bnji->bmn", self.basis, matrices).real
        return _State(logs, vectors, elements, logs.exp().sum(-1), changes)

    def chi2(
        self, state: _State, kernels: Sequence[Factored], data: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Of each element, ``(b, mu)``."""
        pairs = zip(kernels, data, state.elements.unbind(1), strict=True)
        return torch.stack([(g - k.data(a)).square().sum(-1) for k, g, a in pairs], -1)

    def evidence(
        self, state: _State, y: torch.Tensor, alpha: torch.Tensor, chi2: torch.Tensor
    ) -> torch.Tensor:
        """Logarithm of the probability of ``alpha``, up to a constant, ``(b,)``."""
        entropy = state.trace.sum(-1) - self.norm - (state.elements * state.changes).sum((-1, -2))
        factor = robust_cholesky(self._hessian(self._responses(state), alpha))
        volume = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return alpha * entropy - chi2 / 2 + (y.shape[1] * alpha.log() - volume) / 2

    def solve(
        self, alpha: torch.Tensor, start: torch.Tensor, smallest_gap: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Newton's method, for one ``alpha`` per data set, to within a gap in nats."""
        result = start.clone()
        converged = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        left = torch.arange(len(start), device=start.device)
        own = self
        for _ in range(ITERATIONS):
            y, a = result[left], alpha[left]
            state = own.at(y)
            gradient = a[:, None] * y + own._projected(state.elements) - own.target
            factor = robust_cholesky(own._hessian(own._responses(state), a))
            step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
            change = own._matrices(own._changes(step))
            size = change.abs().square().sum((-1, -2)).sqrt()  # of log(A), at least its norm
            growth = _eigvalsh(change)[..., -1]
            gap = -a * (gradient * step).sum(-1)
            moved = (state.trace * size).sum(-1)
            done = (moved < TOLERANCE * own.norm) | (gap < smallest_gap)
            converged[left[done]] = True
            # Negligible weights may grow in one step until they are no longer negligible.
            logs = state.logs.amax(-1) - own.norm.log()[:, None]
            room = LONGEST_STEP + (LOG_NEGLIGIBLE - logs).clamp(min=0)
            length = (room / growth.clamp(min=1e-30)).amin(-1).clamp(max=1.0)
            result[left] = own._descend(a, y, step, gradient, length)
            if bool(done.all()):
                break
            if bool(done.any()):
                left, own = left[~done], own.take(~done)
        return result, converged

    def deviation(self, state: _State, alpha: torch.Tensor) -> torch.Tensor:
        """Standard deviation of every element under the Gaussian around the maximum."""
        response = self._responses(state)
        factor = robust_cholesky(self._hessian(response, alpha))
        spreads = [space.columns() for space in self.spaces]
        found = []
        for own in range(len(spreads)):
            seen = [response[:, :, own, k, None] * spread for k, spread in enumerate(spreads)]
            solved = torch.linalg.solve_triangular(factor, torch.cat(seen, -1).mT, upper=False)
            found.append(response[:, :, own, own] - solved.square().sum(1))
        return (torch.stack(found, 1) / alpha[:, None, None]).clamp(min=0).sqrt()

    def _changes(self, y: torch.Tensor) -> torch.Tensor:
        sizes = [space.rank for space in self.spaces]
        pairs = zip(y.split(sizes, -1), self.spaces, strict=True)
        return torch.stack([space.logs(part) for part, space in pairs], 1)

    def _matrices(self, changes: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bmn,mij->bnij", changes.to(self.basis.dtype), self.basis)

    def _projected(self, elements: torch.Tensor) -> torch.Tensor:
        pairs = zip(elements.unbind(1), self.spaces, strict=True)
        return torch.cat([space.projected(part) for part, space in pairs], -1)

    def _responses(self, state: _State) -> torch.Tensor:
        """How elements answer to changes of the logarithm, ``(b, n, mu, mu)``: Tr(B dexp(B))."""
        logs, vectors = state.logs, state.vectors
        apart = logs[..., :, None] - logs[..., None, :]
        middle = (logs[..., :, None] + logs[..., None, :]) / 2
        close = apart.abs() < DEGENERATE
        half = torch.where(close, 1.0, apart / 2)
        # (e^a - e^b) / (a - b); it may be huge for one eigenvalue and nothing for the other.
        split = logs.exp()[..., :, None] - logs.exp()[..., None, :]
        divided = torch.where(close, middle.exp(), split / (2 * half))
        turned = vectors.mH[:, :, None] @ self.basis @ vectors[:, :, None]  # (b, n, mu, i, j)
        scaled = (turned * divided.clamp(min=0).sqrt()[:, :, None]).flatten(-2)
        if scaled.is_complex():
            scaled = torch.cat([scaled.real, scaled.imag], -1)
        return scaled @ scaled.mT

    def _hessian(self, response: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """``alpha + S V^T (response) V S``, ``(b, r, r)``."""
        ends = torch.tensor([0, *(space.rank for space in self.spaces)]).cumsum(0).tolist()
        matrix = response.new_zeros(len(response), ends[-1], ends[-1])
        for row, left in enumerate(self.spaces):
            for column in range(row, len(self.spaces)):
                right = self.spaces[column]
                weighed = response[:, :, row, column, None] * right.spread
                block = left.between(left.spread.mT @ weighed, right)  # (b, r, r)
                here = slice(ends[row], ends[row + 1]), slice(ends[column], ends[column + 1])
                matrix[:, here[0], here[1]] = block
                matrix[:, here[1], here[0]] = block.mT
        return matrix + torch.diag_embed(alpha[:, None].expand(-1, ends[-1]))

    def _descend(
        self,
        alpha: torch.Tensor,
        y: torch.Tensor,
        step: torch.Tensor,
        gradient: torch.Tensor,
        length: torch.Tensor,
    ) -> torch.Tensor:
        """The ends of steps along which the dual falls."""

        def at(length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            end = y + length[:, None] * step
            logs = _eigvalsh(self.logarithm + self._matrices(self._changes(end)))
            whole = logs.exp().sum((-1, -2))
            return end, alpha * end.square().sum(-1) / 2 + whole - (end * self.target).sum(-1)

        _, now = at(torch.zeros_like(length))
        return halved(at, now, (y * self.target).sum(-1), (gradient * step).sum(-1), length)


def _composed(values: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Hermitian matrices of eigenvalues ``(..., n)`` and eigenvectors ``(..., n, n)``."""
    return (vectors * values[..., None, :].to(vectors.dtype)) @ vectors.mH


def _eigvalsh(matrix: torch.Tensor) -> torch.Tensor:
    """Eigenvalues of Hermitian matrices, ascending; in closed form for two orbitals."""
    if matrix.shape[-1] != 2:
        return torch.linalg.eigvalsh(matrix)
    first, second = matrix[..., 0, 0].real, matrix[..., 1, 1].real
    middle = (first + second) / 2
    radius = torch.hypot((first - second) / 2, matrix[..., 0, 1].abs())
    return torch.stack([middle - radius, middle + radius], -1)


def _eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues and eigenvectors; for two orbitals much faster than one by one."""
    if matrix.shape[-1] != 2:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    apart = (matrix[..., 0, 0] - matrix[..., 1, 1]).real
    beside = matrix[..., 1, 0]
    size = beside.abs()
    angle = torch.atan2(2 * size, apart) / 2  # of the eigenvector of the larger eigenvalue
    phase = torch.where(size > 0, beside / size.clamp(min=1e-300), 1.0)
    cos, sin = angle.cos(), angle.sin()
    upper = torch.stack([cos.to(phase), sin * phase], -1)
    lower = torch.stack([-sin.to(phase), cos * phase], -1)
    return _eigvalsh(matrix), torch.stack([lower, upper], -1)
