"""Settings of the two-stage denoiser: the published ones, and those that the benchmarks favour."""

from __future__ import annotations

from dataclasses import dataclass

from arpes_ml_plugins.errors import ParameterError

__all__ = ["FIXED_INPUT", "PUBLISHED", "RECIPES", "ROBUST", "Recipe", "recipe_named"]


@dataclass(frozen=True)
class Recipe:
    """An immutable description of a fit."""

    iterations: int
    learning_rate: float
    """Step of the network's weights, eta_a in eq. 4."""
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    """lambda of eq. S32, for everything that AdamW trains; gradient descent has none."""
    cosine: bool = True
    """Let the learning rate fall to zero along a cosine instead of staying constant."""
    loss: str = "huber"
    """A key of ``losses.LOSSES``. ``"square"``: eq. 3. ``"huber"``: residuals in units of their own
    standard deviation, which grows as the square root of the intensity; beyond three of them they
    count linearly."""
    sparse_term: bool = False
    """Fit ``g * g - h * h`` as in eq. 3. A Huber loss has it built in: it is the l1-penalised
    sparse term, minimised exactly."""
    sparse_optimizer: str = "adamw"
    """Optimiser of g and h. ``"sgd"`` keeps the bias towards sparse solutions, unlike AdamW."""
    sparse_start: float = 1e-3
    """Standard deviation of the first g and h; exactly zero would never move."""
    jitter: float = 0.0
    """Fresh noise on the network's input in each iteration, over the noise of the data. It keeps
    the network from reproducing noise when counts are few."""
    networks: int = 1
    """Networks fitted from different starts; their images are averaged."""
    recover: bool = False
    """Add significant structure of a residual with white noise (see ``recovery``)."""
    headroom: float = 1.5
    """Range of intensities that the sigmoid can reach, over the range of the data; 1 takes the
    extremes, more a range without outliers."""


ROBUST = Recipe(iterations=600, learning_rate=0.02, jitter=0.5, networks=2, recover=True)
"""The default: the settings with the smallest errors in the benchmarks, for any intensities."""

PUBLISHED = Recipe(
    iterations=2000,
    learning_rate=0.02,
    weight_decay=0.02,
    cosine=False,
    loss="square",
    sparse_term=True,
    headroom=1.0,
)
"""The paper's text and supplement, section IV.

``weight_decay`` is the lambda printed below eq. S32, for the network and, "with the same optimizer
and parameter", for g and h. The supplement adds that training is stable without it; the benchmarks
have both (``replace(PUBLISHED, weight_decay=0)``). Not from the paper, which does not say:
the start of g and h, and the scaling of the image to [0, 1] by its extremes.
"""

FIXED_INPUT = Recipe(
    iterations=8000,
    learning_rate=1e-4,
    optimizer="sgd",
    sparse_optimizer="sgd",
    cosine=False,
    loss="square",
    sparse_term=True,
    headroom=1.0,
)
"""The previous method (reference 27 of the paper): stochastic gradient descent, no prior."""

RECIPES = {"robust": ROBUST, "published": PUBLISHED}


def recipe_named(name: str) -> Recipe:
    """The recipe called ``name``."""
    try:
        return RECIPES[name]
    except (KeyError, TypeError):
        raise ParameterError(
            f"unknown recipe {name!r}; expected one of {', '.join(map(repr, RECIPES))}"
        ) from None
