"""Maximum entropy for many data sets at once, along a path of regularisation strengths.

For whitened data ``g`` and kernel ``K = U S V^T`` the spectrum that minimises (paper, eq. 6)

    |g - K a|^2 / 2 + alpha * sum(a log(a / d) - a + d)

is ``a = d exp(V S y)``, and ``y`` minimises the convex dual ``alpha |y|^2 / 2 + sum(a) - y U^T g``
of about twenty unknowns (Bryan's subspace). Newton's method with a line search solves it for every
data set together; each ``alpha`` starts from the one before. Along the path accuracy is that of the
rules that choose from it; only the solution that is chosen is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.continuation.factored import Factored, rowwise
from arpes_ml_plugins.continuation.newton import NOTHING, Dual, Point, robust_cholesky
from arpes_ml_plugins.continuation.strengths import RULES
from arpes_ml_plugins.continuation.subspace import Subspace
from arpes_ml_plugins.errors import ParameterError

__all__ = [
    "ALPHAS",
    "LARGEST_ALPHA",
    "RULES",
    "SMALLEST_ALPHA",
    "SMALLEST_DEFAULT",
    "MaxEntResult",
    "Path",
    "adapted",
    "choose_alpha",
    "freedom",
    "maxent",
    "maxent_path",
    "signed_maxent",
]

ALPHAS = 20
SMALLEST_ALPHA = 1.0
LARGEST_ALPHA = 1e14
"""Both for a spectrum of integral 1; strengths are in units of one over the norm."""
ROUGH, EXACT = 1e-4, 1e-9
"""Largest mean errors of ``log(a / d)``: along the path, and of results."""
ADAPTING = 4  # strengths of the path for one that is solved for
RISE = 1.01  # of chi^2 from strength to strength, which rounding may cause
SMALLEST_DEFAULT = 1e-7  # of its largest value
EXCLUDED = 3.0  # nats by which the best strength is more likely than the largest


@dataclass(frozen=True)
class Path:
    """Solutions along falling ``alphas``, ``(k, b)``; what follows them is ``(k, b, ...)``."""

    space: Subspace
    default: torch.Tensor  # (b, n)
    alphas: torch.Tensor
    unknowns: torch.Tensor
    spectra: torch.Tensor
    chi2: torch.Tensor
    entropy: torch.Tensor
    evidence: torch.Tensor
    """Logarithm of the probability of ``alpha`` (flat prior in ``log alpha``), up to a constant."""
    converged: torch.Tensor
    rest: torch.Tensor
    """``(b,)``: the part of chi^2 that is the same for all spectra."""
    freedom: torch.Tensor
    """``(b,)``: number of components that the data determine at the smallest ``alpha``."""


@dataclass(frozen=True)
class MaxEntResult:
    """``b`` spectra of ``n`` weights."""

    spectrum: torch.Tensor  # (b, n)
    alpha: torch.Tensor  # (b,)
    loose: torch.Tensor  # (b,): strength that ``deviation`` is of
    deviation: torch.Tensor  # (b, n): of the Gaussian around the maximum of the posterior
    least: torch.Tensor
    """``(b,)``: chi^2 almost without regularisation, below which no positive spectrum gets."""
    converged: torch.Tensor  # (b,)
    space: Subspace
    default: torch.Tensor  # (b, n): by which a spectrum of default answers to the data
    evidence: torch.Tensor  # (b,): largest logarithm of the probability along the path

    def blur(self) -> torch.Tensor:
        """``(b, n)``: number of its own cells over which a small weight at one frequency, on top of
        the default model, is spread.

        The sum of the linear response to this weight, over the response at its place.
        """
        root = self.space.root(
            robust_cholesky(self.space.hessian(self.default, self.alpha, NOTHING))
        )
        everywhere = (root * (root @ self.default[..., None])).sum(1)
        own = self.default * root.square().sum(1)
        return (everywhere / own.clamp(min=1e-30)).clamp(min=1)


def maxent(
    kernel: torch.Tensor | Factored,
    data: torch.Tensor,
    default: torch.Tensor,
    *,
    rule: str = "chi2kink",
    mixing: torch.Tensor | None = None,
    count: torch.Tensor | None = None,
) -> MaxEntResult:
    """Find spectra of maximum entropy; ``rule`` chooses the regularisation of each.

    Parameters
    ----------
    kernel
        Whitened (divided by the standard error), ``(m, n)`` float64, or one for each data set.
    data
        Whitened, ``(b, m)``.
    default
        Default model as weights, ``(n,)`` or ``(b, n)``, positive; its sum is the norm expected.
    rule
        ``"chi2kink"``: where chi^2 stops falling steeply; ``"classic"``: the most probable
        ``alpha``; ``"bryan"``: the average over all, weighted by their probability;
        ``"historic"``: where chi^2 is the number of data.
    mixing
        From a hidden spectrum, whose entropy counts, to that of the result, ``(n, n)``.
    count
        Number of data before they were compressed, ``(b,)``; ``m`` if None.
    """
    kernel = Factored.of(kernel)
    path = maxent_path(kernel if mixing is None else kernel.times(mixing), data, default)
    space, default = path.space, path.default
    alpha = choose_alpha(path, rule, data.shape[-1] if count is None else count)
    dual = Dual.of(space, data, default)
    point, converged = dual.solve(alpha, dual.at(_nearest(path, alpha)), EXACT)
    spectrum = point.spectrum
    loose = _loose(path, alpha)
    deviation = _deviation(space, spectrum, loose, mixing)
    if rule == "bryan":
        weight = torch.softmax(path.evidence, 0)[..., None]
        spectra = path.spectra if mixing is None else path.spectra @ mixing.mT
        spectrum = (weight * spectra).sum(0)
        between = (weight * (spectra - spectrum).square()).sum(0)
        deviation = (deviation.square() + between).sqrt()
    elif mixing is not None:
        spectrum = spectrum @ mixing.mT
    least, evidence = path.chi2[-1], path.evidence.amax(0)
    return MaxEntResult(
        spectrum, alpha, loose, deviation, least, converged, space, default, evidence
    )


def signed_maxent(
    kernel: torch.Tensor | Factored,
    data: torch.Tensor,
    default: torch.Tensor,
    *,
    rule: str = "chi2kink",
    mixing: torch.Tensor | None = None,
    count: torch.Tensor | None = None,
) -> MaxEntResult:
    """Spectra of either sign: the difference of two positive ones with one default model.

    Of all pairs with the same difference those of largest entropy are ``a = d exp(x)`` and
    ``d exp(-x)``: this is the positive-negative entropy of Kraberger et al., Phys. Rev. B 96,
    155128 (2017). ``default`` is the size that ``|a|`` is expected to have.
    """
    kernel = Factored.of(kernel)
    kernel = kernel if mixing is None else kernel.times(mixing)
    both = maxent(
        replace(kernel, shared=torch.cat([kernel.shared, -kernel.shared], 1)),
        data,
        torch.cat([default, default], -1),
        rule=rule,
        count=count,
    )
    plus, minus = both.spectrum.chunk(2, -1)
    total = plus + minus  # by which the difference answers to its Lagrange parameters
    space = Subspace.of(kernel, default.sum(-1).expand(len(data)))
    deviation = _deviation(space, total, both.loose, mixing)
    answering = torch.stack(both.default.chunk(2, -1)).sum(0)
    spectrum = plus - minus if mixing is None else (plus - minus) @ mixing.mT
    return replace(both, spectrum=spectrum, deviation=deviation, space=space, default=answering)


def maxent_path(kernel: torch.Tensor | Factored, data: torch.Tensor, default: torch.Tensor) -> Path:
    """Solutions for all strengths that can matter, falling; parameters as in :func:`maxent`."""
    kernel = Factored.of(kernel)
    default = _safe_default(default, len(data))
    space = Subspace.of(kernel, default.sum(-1))
    dual, alphas = Dual.of(space, data, default), _alphas(space, default)
    point = Point(data.new_zeros(len(data), space.rank), torch.zeros_like(default), default)
    least = data.new_full((len(data),), torch.inf)
    columns: list[tuple[torch.Tensor, ...]] = []
    for alpha in alphas:
        found, converged = dual.solve(alpha, point, ROUGH)
        chi2 = (data - kernel.data(found.spectrum)).square().sum(-1)
        # chi^2 falls along the path. With errors of 1e-8 rounding ends it: the last solution stays.
        ended = ~(chi2 < torch.where(converged, RISE * least, least))
        point = found.replaced(point, ended) if bool(ended.any()) else found
        least = chi2 = torch.where(ended, least, chi2)
        entropy = (point.spectrum * (1 - point.logs)).sum(-1) - dual.norm
        evidence = alpha * entropy - (chi2 + dual.volume(point.spectrum, alpha)) / 2
        if columns:
            evidence = torch.where(ended, columns[-1][4] - 1, evidence)  # it falls from there on
        columns.append((point.unknowns, point.spectrum, chi2, entropy, evidence, converged))
    beyond = data - rowwise(rowwise(data, space.left), space.left.mT)
    rest = torch.minimum(beyond.square().sum(-1), chi2)
    parts = [torch.stack(part) for part in zip(*columns, strict=True)]
    hessian = space.hessian(point.spectrum, alphas[-1], NOTHING)
    return Path(space, default, alphas, *[*parts, rest, freedom(hessian, alphas[-1])])


def adapted(
    kernel: torch.Tensor, data: torch.Tensor, default: torch.Tensor, strength: float
) -> torch.Tensor:
    """Spectra of maximum entropy around default models ``(b, n)``, with one ``alpha`` for all."""
    default = _safe_default(default, len(data))
    space = Subspace.of(kernel, default.sum(-1))
    dual = Dual.of(space, data, default)
    point = Point(data.new_zeros(len(data), space.rank), torch.zeros_like(default), default)
    for alpha in _alphas(space, default)[::ADAPTING]:
        if float(alpha.min()) > strength:
            point, _ = dual.solve(alpha, point, ROUGH)
    point, _ = dual.solve(torch.full_like(alpha, strength), point, EXACT)
    return point.spectrum


def choose_alpha(path: Path, rule: str, count: int | torch.Tensor) -> torch.Tensor:
    """The strength that ``rule`` takes for ``b`` data sets of ``count`` values, ``(b,)``."""
    if rule not in RULES:
        raise ParameterError(
            f"unknown rule {rule!r}; expected one of {', '.join(map(repr, RULES))}"
        )
    return RULES[rule](path, torch.as_tensor(count).to(path.chi2))


def _safe_default(default: torch.Tensor, count: int) -> torch.Tensor:
    """One default model for each data set, nowhere zero."""
    floor = SMALLEST_DEFAULT * default.amax(-1, keepdim=True)
    return torch.maximum(default, floor).expand(count, -1)


def _alphas(space: Subspace, default: torch.Tensor) -> torch.Tensor:
    norm = default.sum(-1)
    stiffest = space.stiffness(default).diagonal(dim1=-2, dim2=-1).sum(-1) * norm
    largest = (10 * stiffest).clamp(1e3, LARGEST_ALPHA)
    steps = torch.linspace(0, 1, ALPHAS, dtype=default.dtype, device=default.device)
    return largest * (SMALLEST_ALPHA / largest) ** steps[:, None] / norm


def freedom(hessian: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Number of components of ``b`` spectra that the data determine at a strength, ``(b,)``.

    Parameters
    ----------
    hessian
        Of the dual, ``alpha`` plus what the data add, ``(b, r, r)``.
    alpha
        ``(b,)``.
    """
    inverse = torch.cholesky_inverse(robust_cholesky(hessian)).diagonal(dim1=-2, dim2=-1)
    return (1 - alpha[:, None] * inverse).clamp(min=0).sum(-1)  # rounding may make some negative


def _loose(path: Path, alpha: torch.Tensor) -> torch.Tensor:
    """The strength of which the deviation is, ``(b,)``: the chosen one if the data exclude the
    default model.

    If they do not, any larger strength explains them as well, and the deviation would be as small
    as one likes. Spectra are not that close to a flat one: there it is the smallest of the path.
    """
    excluded = path.evidence[0] < path.evidence.amax(0) - EXCLUDED
    return torch.where(excluded, alpha, torch.minimum(alpha, path.alphas[-1]))


def _deviation(
    space: Subspace,
    spectrum: torch.Tensor,
    alpha: torch.Tensor,
    mixing: torch.Tensor | None = None,
) -> torch.Tensor:
    """Standard deviation of every weight under the Gaussian around the maximum."""
    factor = robust_cholesky(space.hessian(spectrum, alpha, NOTHING))
    solved = space.root(factor) * spectrum[:, None]
    free = spectrum
    if mixing is not None:
        solved, free = solved @ mixing.mT, spectrum @ mixing.square().mT
    variance = (free - solved.square().sum(1)) / alpha[:, None]
    return variance.clamp(min=0).sqrt()


def _nearest(path: Path, alpha: torch.Tensor) -> torch.Tensor:
    """Unknowns at the smallest alpha of the path that is not below the wanted one."""
    index = (path.alphas >= alpha * (1 - 1e-9)).sum(0).clamp(min=1) - 1
    return path.unknowns[index, torch.arange(len(alpha), device=alpha.device)]
