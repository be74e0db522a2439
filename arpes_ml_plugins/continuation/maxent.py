"""Maximum entropy for many data sets at once, along a path of regularisation strengths.

For whitened data ``g`` and kernel ``K = U S V^T`` the spectrum that minimises (paper, eq. 6)

    |g - K a|^2 / 2 + alpha * sum(a log(a / d) - a + d)

is ``a = d exp(V S y)``, and ``y`` minimises the convex dual ``alpha |y|^2 / 2 + sum(a) - y U^T g``
of about twenty unknowns (Bryan's subspace). Newton's method with a line search solves it for every
data set together; each ``alpha`` starts from the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.continuation.factored import Factored, rowwise
from arpes_ml_plugins.continuation.strengths import RULES
from arpes_ml_plugins.continuation.subspace import Subspace
from arpes_ml_plugins.errors import ParameterError

__all__ = [
    "ALPHAS",
    "LARGEST_ALPHA",
    "LOG_NEGLIGIBLE",
    "LONGEST_STEP",
    "RULES",
    "SMALLEST_ALPHA",
    "SMALLEST_DEFAULT",
    "SMALLEST_GAP",
    "TOLERANCE",
    "MaxEntResult",
    "Path",
    "adapted",
    "choose_alpha",
    "freedom",
    "halved",
    "maxent",
    "maxent_path",
    "robust_cholesky",
    "signed_maxent",
]

ALPHAS = 20
SMALLEST_ALPHA = 1.0
LARGEST_ALPHA = 1e14
"""Both for a spectrum of integral 1; strengths are in units of one over the norm."""
LONGEST_STEP = 4.0  # growth of log(a) in one Newton step; it may fall by any amount
LOG_NEGLIGIBLE = -14.0  # logarithm of a weight over the norm
TOLERANCE = 1e-8  # change of a, summed, over its norm
SMALLEST_GAP = 1e-10  # nats; rounding can keep some solutions from coming closer
ITERATIONS = 400
ADAPTING = 4  # strengths of the path for one that is solved for
SHIFTS = (1e-15, 1e-13, 1e-11, 1e-9)  # of a diagonal of 1, that make up for rounding
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
        root = self.space.root(robust_cholesky(self.space.hessian(self.default, self.alpha)))
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
    y, converged = _solve(space, data, default, alpha, _nearest(path, alpha))
    spectrum = default * space.logs(y).exp()
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
    alphas = _alphas(space, default)
    y = data.new_zeros(len(data), space.rank)
    least = data.new_full((len(data),), torch.inf)
    columns: list[tuple[torch.Tensor, ...]] = []
    for each in alphas:
        found, converged = _solve(space, data, default, each, y)
        chi2 = (data - kernel.data(default * space.logs(found).exp())).square().sum(-1)
        # chi^2 falls along the path. With errors of 1e-8 rounding ends it: the last solution stays.
        ended = ~(chi2 < torch.where(converged, RISE * least, least))
        y = torch.where(ended[:, None], y, found)
        logs = space.logs(y)
        spectrum = default * logs.exp()
        least = chi2 = torch.where(ended, least, chi2)
        entropy = -(spectrum * logs - spectrum + default).sum(-1)
        factor = robust_cholesky(space.hessian(spectrum, each))
        volume = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        evidence = each * entropy - chi2 / 2 + (y.shape[1] * each.log() - volume) / 2
        if columns:
            evidence = torch.where(ended, columns[-1][4] - 1, evidence)  # it falls from there on
        columns.append((y, spectrum, chi2, entropy, evidence, converged))
    beyond = data - rowwise(rowwise(data, space.left), space.left.mT)
    rest = torch.minimum(beyond.square().sum(-1), chi2)
    parts = [torch.stack(part) for part in zip(*columns, strict=True)]
    hessian = space.hessian(parts[1][-1], alphas[-1])
    return Path(space, default, alphas, *[*parts, rest, freedom(hessian, alphas[-1])])


def adapted(
    kernel: torch.Tensor, data: torch.Tensor, default: torch.Tensor, strength: float
) -> torch.Tensor:
    """Spectra of maximum entropy around default models ``(b, n)``, with one ``alpha`` for all."""
    default = _safe_default(default, len(data))
    space = Subspace.of(kernel, default.sum(-1))
    y = data.new_zeros(len(data), space.rank)
    for alpha in _alphas(space, default)[::ADAPTING]:
        if float(alpha.min()) > strength:
            y, _ = _solve(space, data, default, alpha, y)
    y, _ = _solve(space, data, default, torch.full_like(alpha, strength), y)
    return default * space.logs(y).exp()


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


def _solve(
    space: Subspace,
    data: torch.Tensor,
    default: torch.Tensor,
    alpha: torch.Tensor,
    start: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Newton's method on the dual, for one ``alpha`` per data set."""
    result, converged = start.clone(), torch.zeros(len(data), dtype=torch.bool, device=data.device)
    left, norm = torch.arange(len(data), device=data.device), default.sum(-1)
    state: tuple[torch.Tensor, ...]
    state = (start, space.logs(start), default, alpha, rowwise(data, space.left), norm)
    for _ in range(ITERATIONS):
        y, logs, d, a, target, norm = state
        spectrum = d * logs.exp()
        gradient = a[:, None] * y + space.projected(spectrum) - target
        factor = robust_cholesky(space.hessian(spectrum, a))
        step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        change = space.logs(step)  # of log(spectrum)
        slope = (gradient * step).sum(-1)
        gap = -a * slope  # in the cost that is minimised
        done = ((spectrum * change.abs()).sum(-1) < TOLERANCE * norm) | (gap < SMALLEST_GAP)
        # Negligible weights may grow in one step until they are no longer negligible.
        sizes = (logs + d.log()) - norm[:, None].log()
        room = LONGEST_STEP + (LOG_NEGLIGIBLE - sizes).clamp(min=0)
        length = (room / change.clamp(min=1e-30)).amin(-1).clamp(max=1.0)
        dual = _Line(y, step, logs, change, d, a, target)
        length = halved(dual, (y * target).sum(-1), slope, length)
        y, logs = y + length[:, None] * step, logs + length[:, None] * change
        result[left], converged[left] = y, done
        state = (y, logs, d, a, target, norm)
        if bool(done.all()):
            break
        if bool(done.any()):
            left, space = left[~done], space.take(~done)
            state = tuple(part[~done] for part in state)
    return result, converged


@dataclass(frozen=True)
class _Line:
    """The dual along a step, whose logarithms are linear: no kernel is needed again."""

    y: torch.Tensor
    step: torch.Tensor
    logs: torch.Tensor
    change: torch.Tensor
    default: torch.Tensor
    alpha: torch.Tensor
    target: torch.Tensor

    def __call__(self, length: torch.Tensor) -> torch.Tensor:
        at = self.y + length[:, None] * self.step
        spectrum = self.default * (self.logs + length[:, None] * self.change).exp()
        entropy = self.alpha * at.square().sum(-1) / 2
        return entropy + spectrum.sum(-1) - (at * self.target).sum(-1)


def robust_cholesky(matrix: torch.Tensor) -> torch.Tensor:
    """Lower factors of positive matrices ``(b, r, r)`` that rounding may have made indefinite.

    With errors of 1e-8 their eigenvalues span 16 decades and more. Scaled to a diagonal of 1, most
    of them can be factorised; to the others just as much is added as it takes. One that holds NaN
    gives NaN, and leaves the rest of the batch alone.
    """
    root = matrix.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(matrix.dtype).tiny).sqrt()
    scaled = matrix / root[:, :, None] / root[:, None, :]
    factor, failed = torch.linalg.cholesky_ex(scaled)
    for shift in SHIFTS:
        if not failed.any():
            break
        added = torch.where(failed > 0, shift, 0.0).to(scaled)[:, None].expand_as(root)
        again, failed = torch.linalg.cholesky_ex(scaled + torch.diag_embed(added))
        factor = torch.where(added[..., None] > 0, again, factor)
    return root[:, :, None] * factor


def freedom(hessian: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Number of components of ``b`` spectra that the data determine at a strength, ``(b,)``.

    Parameters
    ----------
    hessian
        Of the dual, ``alpha`` plus what the data add, ``(b, r, r)``.
    alpha
        ``(b,)``.
    """
    inverse = torch.cholesky_inverse(robust_cholesky(hessian)).diagonal(dim1=-2, dim2=-1).sum(-1)
    return hessian.shape[-1] - alpha * inverse


def halved(
    dual: Callable[[torch.Tensor], torch.Tensor],
    size: torch.Tensor,
    slope: torch.Tensor,
    length: torch.Tensor,
) -> torch.Tensor:
    """Halve steps along which the dual does not fall (Armijo).

    Parameters
    ----------
    dual
        From lengths to values of the dual, ``(b,)``.
    size
        Of a part of the dual, which rounds it, ``(b,)``.
    slope
        Of the dual at length zero, ``(b,)``.
    length
        Of the longest steps, ``(b,)``.
    """
    now = dual(torch.zeros_like(length))
    rounding = 1e-13 * (now.abs() + size.abs())
    for _ in range(20):
        bad = dual(length) > now + 1e-4 * length * slope + rounding
        if not bad.any():
            break
        length = torch.where(bad, length / 2, length)
    return length


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
    solved = space.root(robust_cholesky(space.hessian(spectrum, alpha))) * spectrum[:, None]
    free = spectrum
    if mixing is not None:
        solved, free = solved @ mixing.mT, spectrum @ mixing.square().mT
    variance = (free - solved.square().sum(1)) / alpha[:, None]
    return variance.clamp(min=0).sqrt()


def _nearest(path: Path, alpha: torch.Tensor) -> torch.Tensor:
    """Unknowns at the smallest alpha of the path that is not below the wanted one."""
    index = (path.alphas >= alpha * (1 - 1e-9)).sum(0).clamp(min=1) - 1
    return path.unknowns[index, torch.arange(len(alpha), device=alpha.device)]
