"""The 100 spectra of ACT100, their data, and its score.

ACT100 is the standard test set of ACTest (L. Huang, Comput. Phys. Commun. 316, 109785 (2025),
arXiv:2411.16412; github.com/huangli712/ACTest, GPL 3). Heights, widths, exponents and places of the
peaks are those of its ``src/dataset.jl`` as of 2025-07-12; nothing else is taken from there. 50
tests are of fermions, 50 of bosons, and of each 20 are continuous (Gaussians), 20 discrete (narrow
Gaussians of width 0.02, one step of the mesh) and 10 not positive (``h exp(-|w - c|^gamma)``).
Bosonic spectra are ``A(w) / w``. Positive ones are normalised to 1; the others are not.

Condition of the runs in ACTest (``test/A07``: ACFlow's MaxEnt): beta = 20, 801 frequencies in
[-8, 8], the first 10 Matsubara frequencies that are not negative, independent Gaussian noise of
1e-6 on every real and every imaginary part, stated as their error. (The manual writes noise
relative to G; the code adds it as here.) Data are the trapezoidal sum over the mesh. Seeds are not
given, so that the noise is another.

The error of a test is the integral of ``|A_true - A|`` over that of ``|A_true|``, for bosons of
``A(w)`` itself (``util/acflow.jl``; versions of 2024 compared ``A(w) / w``). The score is the sum
of ``max(0, 1 - error)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

__all__ = [
    "BETA",
    "CONDITIONS",
    "OMEGA",
    "Case",
    "Condition",
    "all_cases",
    "error_of",
    "random_cases",
    "score",
]

BETA = 20.0
OMEGA = np.linspace(-8.0, 8.0, 801)
NARROW = 0.02
SEED = 100

Values = NDArray[np.floating]
Peaks = tuple[tuple[float, float, float], ...]

# Height, standard deviation and place of each peak.
CONTINUOUS: tuple[Peaks, ...] = (
    ((1.0, 0.8, 0.0),),
    ((1.0, 0.8, -2.0),),
    ((1.0, 0.8, 2.0),),
    ((1.0, 0.5, -0.8), (1.0, 0.5, 0.8)),
    ((1.0, 0.5, -1.8), (1.0, 0.5, 1.8)),
    ((1.0, 0.5, -3.0), (1.0, 0.5, 3.0)),
    ((1.0, 0.4, 0.0), (1.0, 0.4, -3.0)),
    ((1.0, 0.4, 0.0), (1.0, 0.4, 3.0)),
    ((0.5, 0.5, -3.0), (1.5, 0.5, 3.0)),
    ((1.5, 0.5, -3.0), (0.5, 0.5, 3.0)),
    ((1.0, 0.1, 0.0), (0.5, 1.0, -1.0), (0.5, 1.0, 1.0)),
    ((1.0, 0.1, 0.0), (0.5, 1.0, -2.0), (0.5, 1.0, 2.0)),
    ((1.0, 0.05, 0.0), (0.5, 1.0, -3.0), (0.5, 1.0, 3.0)),
    ((1.0, 0.05, 0.0), (0.4, 0.5, -3.5), (0.4, 0.5, 3.5)),
    ((1.0, 0.05, -1.0), (0.1, 0.8, -3.0), (0.4, 0.8, 3.0)),
    ((1.0, 0.05, 1.0), (0.4, 0.8, -3.0), (0.1, 0.8, 3.0)),
    ((1.0, 0.2, 0.0), (0.6, 0.6, -1.0), (0.6, 0.6, -3.0)),
    ((1.0, 0.2, 0.0), (0.6, 0.6, 1.0), (0.6, 0.6, 3.0)),
    ((1.0, 0.2, 0.0), (0.1, 0.4, -2.0), (0.6, 1.0, 2.0)),
    ((1.0, 0.2, 0.0), (0.1, 0.4, 2.0), (0.6, 1.0, -2.0)),
)
# Places of peaks of equal height. A bosonic peak at zero frequency has no A(w); theirs is at -0.2.
DISCRETE: tuple[tuple[float, ...], ...] = (
    (0.0,),
    (-2.0,),
    (2.0,),
    (-4.0,),
    (4.0,),
    (-2.0, 2.0),
    (-1.0, -3.0),
    (1.0, 3.0),
    (-0.5, 3.0),
    (-3.0, 0.5),
    (0.0, -0.5, 0.5),
    (0.0, -3.0, 3.0),
    (-1.5, -0.5, 0.5, 1.5),
    (-3.0, -0.5, 0.5, 3.0),
    (-3.0, -1.0, 1.0, 3.0),
    (0.0, -3.0, -2.5, 2.5, 3.0),
    (0.0, -3.0, -0.5, 0.5, 3.0),
    (0.0, -4.0, -2.0, 2.0, 4.0),
    (-4.0, -3.5, -3.0, 3.0, 3.5, 4.0),
    (-4.0, -1.0, -0.5, 0.5, 1.0, 4.0),
)
BOSONIC_DISCRETE = ((-0.2,), *DISCRETE[1:])
# Signed height, exponent and place.
SIGNED: tuple[Peaks, ...] = (
    ((-1.0, 1.5, 0.0),),
    ((-0.5, 1.5, -1.0), (0.5, 1.5, 1.0)),
    ((0.5, 1.5, -1.0), (-0.5, 1.5, 1.0)),
    ((-0.2, 2.0, -3.0), (0.5, 2.0, 3.0)),
    ((0.5, 2.0, -3.0), (-0.2, 2.0, 3.0)),
    ((-0.5, 1.5, -2.0), (-0.5, 1.5, 2.0)),
    ((-0.2, 1.5, -2.5), (0.5, 1.5, 0.0), (-0.2, 1.5, 2.5)),
    ((0.5, 1.5, -2.5), (-0.2, 1.5, 0.0), (0.5, 1.5, 2.5)),
    ((-0.2, 0.5, -3.0), (0.25, 0.5, -1.0), (0.25, 0.5, 1.0), (-0.2, 0.5, 3.0)),
    (
        (0.2, 0.5, -3.0),
        (-0.5, 0.5, -1.0),
        (0.5, 0.5, 0.0),
        (-0.5, 0.5, 1.0),
        (0.2, 0.5, 3.0),
    ),
)
BOSONIC_SIGNED = (
    SIGNED[0],
    ((-0.5, 1.5, -0.5), (0.5, 1.5, 1.0)),
    SIGNED[2],
    ((0.2, 2.0, -3.0), (-0.5, 2.0, 3.0)),
    *SIGNED[4:],
)


@dataclass(frozen=True)
class Condition:
    """Which data are computed from the spectra."""

    name: str
    axis: str  # "iwn": Matsubara frequencies; "tau": times in [0, beta]
    points: int
    sigma: float


CONDITIONS = (
    Condition("as published: 10 Matsubara frequencies, 1e-6", "iwn", 10, 1e-6),
    Condition("like Monte Carlo: 201 times, 1e-4", "tau", 201, 1e-4),
)
"""That of ACTest, and one that Monte Carlo could give: ACT100 leaves grid and noise to its user."""


@dataclass(frozen=True)
class Case:
    """One spectrum on OMEGA: ``A(w)`` of fermions, ``A(w) / w`` of bosons."""

    number: int  # 1 to 100, in the order of ACTest
    statistics: str
    kind: str  # "continuous", "discrete" or "not positive"
    spectrum: Values

    @property
    def signed(self) -> bool:
        return self.kind == "not positive"

    def data(self, condition: Condition) -> tuple[Values, NDArray[np.generic]]:
        """Points on the imaginary axis, and noisy ``-G(tau)`` or ``G(i w_n)`` there.

        Bosonic data are positive for positive spectra, ``-G(i v_n)``: the susceptibility.
        """
        rng = np.random.default_rng([SEED, self.number])
        boson = self.statistics == "boson"
        if condition.axis == "tau":
            points = np.linspace(0, BETA, condition.points)
            clean = trapezoid(_in_time(points, boson) * self.spectrum, OMEGA, axis=1)
            return points, clean + condition.sigma * rng.standard_normal(len(clean))
        points = (2 * np.arange(condition.points) + (0 if boson else 1)) * np.pi / BETA
        clean = trapezoid(_at_frequencies(points, boson) * self.spectrum, OMEGA, axis=1)
        real, imaginary = rng.standard_normal((2, len(clean)))
        return points, clean + condition.sigma * (real + 1j * imaginary)


def all_cases() -> list[Case]:
    """Build the hundred tests."""
    made: list[tuple[str, str, Values]] = []
    for statistics, discrete, signed in (
        ("fermion", DISCRETE, SIGNED),
        ("boson", BOSONIC_DISCRETE, BOSONIC_SIGNED),
    ):
        made += [(statistics, "continuous", _normalised(_gaussians(p))) for p in CONTINUOUS]
        narrow = (tuple((1.0, NARROW, place) for place in places) for places in discrete)
        made += [(statistics, "discrete", _normalised(_gaussians(p))) for p in narrow]
        made += [(statistics, "not positive", _rise_and_decay(p)) for p in signed]
    return [Case(number, *each) for number, each in enumerate(made, 1)]


def random_cases(count: int, seed: int = 2024) -> list[Case]:
    """Draw ``count`` spectra of each scenario for which the results of ACFlow are published.

    One to six Gaussians with heights and widths between 0 and 1 and places in [-4, 4], all equally
    likely; normalised if they are positive. Of the others, one to all peaks, drawn with
    replacement, are turned over; one that is then nowhere negative is turned over as a whole.
    """
    rng = np.random.default_rng(seed)
    made = [
        (statistics, kind, _random(rng, statistics, signed=kind == "not positive"))
        for statistics in ("fermion", "boson")
        for kind in ("continuous", "not positive")
        for _ in range(count)
    ]
    return [Case(number, *each) for number, each in enumerate(made, 101)]


def _random(rng: np.random.Generator, statistics: str, *, signed: bool) -> Values:
    count = rng.integers(1, 7)
    heights, widths, places = rng.uniform(size=(3, count))
    if signed:
        turned = rng.integers(0, count, size=rng.integers(1, count + 1))
        heights[np.unique(turned)] *= -1
    spectrum = _gaussians(tuple(zip(heights, widths, 8 * places - 4, strict=True)))
    if not signed:
        return _normalised(spectrum)
    tested = spectrum * OMEGA if statistics == "boson" else spectrum
    return spectrum if (tested < 0).any() else -spectrum


def error_of(found: Values, case: Case) -> float:
    """Relative L1 error, for bosons of ``A(w)``."""
    weight = np.abs(OMEGA) if case.statistics == "boson" else 1.0
    missed = trapezoid(np.abs(found - case.spectrum) * weight, OMEGA)
    return float(missed / trapezoid(np.abs(case.spectrum) * weight, OMEGA))


def displacement(found: Values, case: Case) -> float:
    """How far weight has to be moved to make one positive spectrum the other, in units of omega.

    The mean over the weight (Wasserstein distance). A peak that is too wide but in its place has
    about its width, while its L1 error is nearly 2.
    """
    step = OMEGA[1] - OMEGA[0]
    both = [np.cumsum(values) / np.sum(values) for values in (found, case.spectrum)]
    return float(np.abs(both[0] - both[1]).sum() * step)


def score(errors: Iterable[float]) -> float:
    """``f`` of ACTest: between 0 and the number of tests."""
    return float(sum(max(0.0, 1.0 - error) for error in errors))


def _gaussians(peaks: Peaks) -> Values:
    return np.sum([h * np.exp(-(((OMEGA - c) / s) ** 2) / 2) for h, s, c in peaks], axis=0)


def _rise_and_decay(peaks: Peaks) -> Values:
    return np.sum([h * np.exp(-(np.abs(OMEGA - c) ** g)) for h, g, c in peaks], axis=0)


def _normalised(spectrum: Values) -> Values:
    return spectrum / trapezoid(spectrum, OMEGA)


def _in_time(tau: Values, boson: bool) -> Values:
    """``exp(-tau w) / (1 + exp(-beta w))``; for bosons ``w exp(-tau w) / (1 - exp(-beta w))``."""
    size = np.abs(OMEGA)
    away = np.where(OMEGA < 0, BETA - tau[:, None], tau[:, None])
    if not boson:
        return np.exp(-away * size) / (1 + np.exp(-BETA * size))
    zero = size == 0
    with np.errstate(invalid="ignore"):
        rate = np.where(zero, 1 / BETA, size / -np.expm1(-BETA * size))
    return rate * np.exp(-away * size)


def _at_frequencies(points: Values, boson: bool) -> NDArray[np.complexfloating]:
    """``1 / (i w_n - w)``; for bosons ``w / (w - i v_n)``, which is 1 where both are zero."""
    below = 1j * points[:, None] - OMEGA
    if not boson:
        return 1 / below
    both = below == 0
    return np.where(both, 1.0, -OMEGA / np.where(both, 1.0, below))
