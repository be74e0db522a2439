"""Explore the rotations that leave a non-negative factorisation as good as it was.

If ``X = A S``, so is ``X = (A T^-1) (T S)`` for every invertible ``T``: data determine ``A`` and
``S`` only as far as spectra ``A T^-1`` and maps ``T S`` may not be negative. Extremes over all such
``T`` are found by sequential quadratic programming, as in MCR-BANDS (Gemperline, Anal. Chem. 71,
5398, 1999; Tauler, J. Chemom. 15, 627, 2001). That method has one objective for each component, its
share of the signal; here, single values of its spectrum and of its map are objectives too, since
from three components on their extremes are not those of the share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from arpes_ml_plugins.separation.cones import TINY, Array, Chosen, Cone

__all__ = ["Objective", "Rotations", "explore"]

PRECISE = 1e-7  # of the optimum, relative
MOST_STEPS = 30
ROUNDS = 12  # of adding constraints that were violated
TRIES = 6
STRIDE = 0.4  # of the entries of D, from one solution to the next
FEW = 3  # components, up to which two starts take no more than a few seconds
STRIDES = 30
ENOUGH = 1e-4  # gain of a stride, relative, after which there is no other
LOOKS = 4  # on the way
HALVINGS = 40
SLACK = 1.001
APPROACHES = 10  # strides to the limit
CLOSER = 0.99
SMALL = 1e-3


@dataclass(frozen=True)
class Objective:
    """A linear function of one component of a solution, to be as large as possible.

    ``weights @ T^-1[:, component]``, over the intensity of the component if ``over`` is given, for
    spectra; ``T[component] @ weights`` times that intensity for maps.
    """

    component: int
    weights: Array  # (n,)
    of_map: bool = False
    over: bool = False

    def value(self, turned: Array, back: Array, intensity: Array) -> tuple[float, Array]:
        """And its gradient with respect to ``T (n, n)``."""
        k = self.component
        column, total = back[:, k], float(intensity @ back[:, k])
        of_total = -np.outer(intensity @ back, column)
        if self.of_map:
            value = float(turned[k] @ self.weights)
            gradient = value * of_total
            gradient[k] += total * self.weights
            return value * total, gradient
        value, gradient = float(self.weights @ column), -np.outer(self.weights @ back, column)
        if not self.over:
            return value, gradient
        return value / total, (gradient - value / total * of_total) / total


@dataclass(frozen=True)
class Rotations:
    """Solutions ``T``, all within the limit."""

    turned: Array  # (solutions, n, n)
    limit: float
    """Standard errors below zero that were allowed."""
    given: float = 0.0
    """Standard errors below zero that the solution given reaches."""

    @property
    def back(self) -> Array:
        """Their inverses."""
        return np.asarray(np.linalg.inv(self.turned), dtype=np.float64)

    @property
    def crossed(self) -> Array:
        """Every first row with every second one."""
        first, second = (np.unique(self.turned[:, k], axis=0) for k in (0, 1))
        return np.stack([np.stack([one, other]) for one in first for other in second])


def explore(
    spectra: Cone,
    maps: Cone,
    intensity: Array,
    objectives: Sequence[Objective],
    limit: float,
    report: Callable[[], None] | None = None,
) -> Rotations:
    """Find solutions at the extremes of all objectives.

    Parameters
    ----------
    spectra, maps
        Rows are the channels of ``A (m, n)`` and the pixels of ``S``; each map has a mean of 1.
    intensity
        Sum of each spectrum ``(n,)``.
    objectives
        What is maximised, one after the other, each from the best solution so far. Extremes may be
        local: up to three components, there are other starts.
    limit
        Standard errors below zero that noise may reach.
    """
    search = _Search(spectra, maps, limit)
    found, size = [search.inside()], len(intensity)
    found += search.others() if size > 2 else []
    first = len(found) if size <= FEW else 0

    def value(objective: Objective, turned: Array) -> float:
        return objective.value(turned, _inverse(turned), intensity)[0]

    for objective in objectives:
        best = max(range(len(found)), key=lambda i: value(objective, found[i]))
        starts = {best, *range(first)}
        ends = [search.maximised(objective, intensity, found[i]) for i in sorted(starts)]
        found.append(max(ends, key=lambda end: value(objective, end)))
        if report:
            report()
    return Rotations(np.stack(found), search.limit, search.given)


class _Search:
    """Sequential quadratic programming with the constraints that have mattered so far.

    Steps are relative to the solution they start from, ``T = D T_start``. Each row of ``D`` has the
    sum 1, as each map has the mean 1; its other entries are the variables.
    """

    def __init__(self, spectra: Cone, maps: Cone, limit: float) -> None:
        self.maps, self.spectra, self.limit = Chosen(maps), Chosen(spectra), limit
        self.size = spectra.rows.shape[1]
        self.start = np.eye(self.size)
        self.given = self._needed(self.start)
        self.apart = ~np.eye(self.size, dtype=bool)
        steps = [step * row for step in (0.0, -0.3, 0.3) for row in np.eye(self.apart.sum())]
        for x in steps:  # what bounds the first steps
            self._gather(self._turned(x))
        for x in steps:
            self._add(self._turned(x), limit)

    def inside(self) -> Array:
        """A solution within the limit, which is raised if there is none."""
        best = self.approached(self.start)
        if self._gather(best):
            self.limit = max(self.limit, SLACK * self._needed(best))
        return best

    def approached(self, turned: Array) -> Array:
        """The nearest solution that is within the limit, or as close to it as can be."""

        def cost(x: Array) -> tuple[float, Array]:
            gradient = np.zeros_like(x)
            gradient[-1] = 1.0
            return float(x[-1]), gradient

        for _ in range(APPROACHES):
            if not self._gather(turned):
                break
            needed, self.start = self._needed(turned), turned
            closer = self._turned(self._solved(cost, needed))
            if self._needed(closer) > CLOSER * needed:
                break
            turned = closer
        return turned

    def others(self) -> list[Array]:
        """Solutions that may lie beyond a gap: those with the purest places, and those with the
        purest channels.
        """
        found = []
        places = np.asarray(np.linalg.pinv(_purest(self.maps.all.rows)).T, dtype=np.float64)
        channels = _purest(self.spectra.all.rows)
        for rows in (places, channels):
            turned = _with_maps(rows, self.spectra.all.rows)
            if turned is None:
                continue
            end = self.approached(turned)
            if not self._gather(end):
                found.append(end)
        return found

    def maximised(self, objective: Objective, intensity: Array, start: Array) -> Array:
        """A solution for which the objective is largest, from one within the limit."""
        for _ in range(TRIES):
            end = self._climbed(objective, intensity, start)
            if not self._gather(end):
                return end
        return start

    def _climbed(self, objective: Objective, intensity: Array, start: Array) -> Array:
        before = objective.value(start, _inverse(start), intensity)[0]
        for _ in range(STRIDES):
            self.start = start
            scale = abs(before) + SMALL

            def cost(x: Array, scale: float = scale) -> tuple[float, Array]:
                turned = self._turned(x)
                value, gradient = objective.value(turned, _inverse(turned), intensity)
                return -value / scale, -self._reduced(gradient) / scale

            end = self._reached(self._turned(self._solved(cost)))
            after = objective.value(end, _inverse(end), intensity)[0]
            if after <= before:
                break
            start, gain, before = end, after - before, after
            if gain < ENOUGH * scale:
                break
        return start

    def _solved(
        self, cost: Callable[[Array], tuple[float, Array]], most: float | None = None
    ) -> Array:
        """Variables at the smallest cost, within a stride. If ``most`` is given, the limit is one
        more variable, and this its largest value.
        """
        from scipy.optimize import minimize

        x, bounds = np.zeros(self.apart.sum()), [(-STRIDE, STRIDE)] * self.apart.sum()
        if most is not None:
            x, bounds = np.append(x, most), [*bounds, (0.0, most)]

        def limit_of(x: Array) -> float:
            return self.limit if most is None else float(x[-1])

        def margins(x: Array) -> Array:
            return self._margins(self._turned(x), limit_of(x))

        def slopes(x: Array) -> Array:
            return self._slopes(self._turned(x), limit_of(x))[:, : len(x)]

        for _ in range(ROUNDS):
            found = minimize(
                cost,
                x,
                jac=True,
                method="SLSQP",
                bounds=bounds,
                constraints={"type": "ineq", "fun": margins, "jac": slopes},
                options={"maxiter": MOST_STEPS, "ftol": PRECISE},
            )
            if not np.isfinite(found.x).all():
                return x
            x = found.x
            if not self._add(self._turned(x), limit_of(x)):
                break
        return x

    def _turned(self, x: Array) -> Array:
        step = np.zeros((self.size, self.size))
        step[self.apart] = x[: self.apart.sum()]
        np.fill_diagonal(step, 1 - step.sum(1))
        return step @ self.start

    def _reduced(self, gradient: Array) -> Array:
        """With respect to the variables, of a gradient with respect to T ``(..., n, n)``."""
        gradient = gradient @ self.start.T
        relative = gradient - np.diagonal(gradient, axis1=-2, axis2=-1)[..., None]
        return relative[..., self.apart]

    # -- constraints -------------------------------------------------------------------------------

    def _margins(self, turned: Array, limit: float) -> Array:
        return np.concatenate(
            [self.maps.margins(turned.T, limit), self.spectra.margins(_inverse(turned), limit)]
        )

    def _slopes(self, turned: Array, limit: float) -> Array:
        """Jacobian, whose last column is with respect to the limit."""
        back = _inverse(turned)
        along, errors = self.maps.tangents(turned.T, limit)
        of_maps = np.zeros((len(along), self.size, self.size))
        of_maps[np.arange(len(along)), self.maps.component] = along
        along, more = self.spectra.tangents(back, limit)
        of_spectra = -(along @ back)[:, :, None] * back.T[self.spectra.component][:, None]
        slopes = self._reduced(np.concatenate([of_maps, of_spectra]))
        return np.hstack([slopes, np.concatenate([errors, more])[:, None]])

    def _add(self, turned: Array, limit: float) -> bool:
        """Add the constraints that are violated most; False if there are none."""
        added = [self.maps.add(turned.T, limit), self.spectra.add(_inverse(turned), limit)]
        return any(added)

    def _gather(self, turned: Array) -> bool:
        """Look at all constraints; True if any is violated."""
        found = [
            self.maps.gather(turned.T, self.limit),
            self.spectra.gather(_inverse(turned), self.limit),
        ]
        return any(found)

    def _is_inside(self, turned: Array) -> bool:
        return self.maps.inside(turned.T, self.limit) and self.spectra.inside(
            _inverse(turned), self.limit
        )

    def _needed(self, turned: Array) -> float:
        return max(self.maps.needed(turned.T), self.spectra.needed(_inverse(turned)))

    def _reached(self, end: Array) -> Array:
        """How far all solutions on the way from the start to ``end`` are within the limit.

        Beyond a gap there are the same solutions again, with components in another order.
        """
        low, high = 0.0, 1.0
        for share in np.linspace(0, 1, LOOKS + 1)[1:]:
            if not self._is_inside(self.start + share * (end - self.start)):
                high = float(share)
                break
            low = float(share)
        else:
            return end
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if self._is_inside(self.start + middle * (end - self.start)):
                low = middle
            else:
                high = middle
        return self.start + low * (end - self.start)


def _purest(rows: Array) -> Array:
    """The row ``(n, n)`` that is longest, then each time what is longest across those taken:
    successive projections (Araujo et al., Chemom. Intell. Lab. Syst. 57, 65, 2001).
    """
    taken, left = [], rows
    for _ in range(rows.shape[1]):
        i = int(np.linalg.norm(left, axis=1).argmax())
        taken.append(i)
        along = left[i] / (np.linalg.norm(left[i]) + TINY)
        left = left - np.outer(left @ along, along)
    return rows[taken]


def _with_maps(rows: Array, spectra: Array) -> Array | None:
    """``T`` with these maps, in the order of the ``spectra (c, n)`` that it resembles; None if one
    is negative.
    """
    from scipy.optimize import linear_sum_assignment

    total = rows.sum(1, keepdims=True)
    if not np.isfinite(rows).all() or (total <= SMALL).any():
        return None
    turned: Array = rows / total
    other = spectra @ _inverse(turned)
    one, other = (x / (np.linalg.norm(x, axis=0) + TINY) for x in (spectra, other))
    return turned[linear_sum_assignment(-one.T @ other)[1]]


def _inverse(turned: Array) -> Array:
    try:
        return np.asarray(np.linalg.inv(turned), dtype=np.float64)
    except np.linalg.LinAlgError:  # on the way to an optimum
        return np.asarray(np.linalg.pinv(turned), dtype=np.float64)
