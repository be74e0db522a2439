"""Mix two solutions for the same data: a small network finds their shares and the interval.

Maximum entropy around the spectrum of the general network is best for most data. If these determine
much and the spectrum is smooth, that around a flat default model is far better; neither the
evidence nor tests on left-out times show this, but the two solutions themselves do. Both fit the
data, and so does any mixture of them.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

from arpes_ml_plugins.optim.unfilled import allocate

__all__ = ["FEATURES", "Referee", "features_of", "hedged", "linear", "oscillating", "roughness"]

FEATURES = 11
WIDTH = 32
HEDGED = 0.2  # per decade of the relative error below LARGEST: shares that count as none
LARGEST, MOST_HEDGED = 1e-3, 0.6
RAMP = 0.2  # above, over which shares come to count in full
ROUGHER, MUCH_ROUGHER = 0.15, 0.25
"""Logarithms of the ratio of total variations, between which the share of the solution around the
flat model falls to zero, as this model is taken to cause oscillations."""
MORE = 0.05
"""The same of total variations over the largest value, above which there is more than one peak that
is higher."""
STRETCHES = (-3.0, 1.5)  # least and largest logarithm


class Referee(nn.Module):
    """From :func:`features_of` to the share of the network's solution and a factor on its interval.

    Parameters
    ----------
    generator
        Draws the initial weights; without one they are zero, to be filled in.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(FEATURES, dtype=torch.float32, device="cpu"))
        self.register_buffer("scale", torch.ones(FEATURES, dtype=torch.float32, device="cpu"))
        self.weighing, self.stretching = (_small(generator) for _ in range(2))

    def share(self, features: torch.Tensor) -> torch.Tensor:
        """Share of the network's solution, between 0 and 1, ``(b,)``."""
        return torch.sigmoid(self.weighing(self._told(features)))[..., 0]

    def stretch(self, features: torch.Tensor) -> torch.Tensor:
        """Factor on the credible interval around the mixture, ``(b,)``."""
        return self.stretching(self._told(features))[..., 0].clamp(*STRETCHES).exp()

    def _told(self, features: torch.Tensor) -> torch.Tensor:
        return ((features.float() - self.centre) / self.scale).clamp(-4, 4)


def features_of(
    terms: torch.Tensor,
    bare: torch.Tensor,
    refined: torch.Tensor,
    flat: torch.Tensor,
    widths: torch.Tensor,
    misfits: torch.Tensor,
) -> torch.Tensor:
    """Input of the network, ``(b, FEATURES)``; none of it depends on the grid or on units.

    Parameters
    ----------
    terms
        The two numbers of the kind of data, ``(b, 2)``.
    bare, refined, flat
        Weights ``(b, n)`` of the network, of the solution around them, and around a flat model.
    widths
        Of the cells, ``(n,)``.
    misfits
        chi^2 per datum of the latter two, ``(b, 2)``.
    """
    norm = flat.sum(-1, keepdim=True).clamp(min=1e-30)
    bare, refined, flat = (part / norm for part in (bare, refined, flat))
    apart = [(one - other).abs().sum(-1) for one, other in ((refined, flat), (bare, refined))]
    ups = [_variation(part / widths) for part in (bare, refined, flat)]
    higher = ((refined / widths).amax(-1) / (flat / widths).amax(-1).clamp(min=1e-30)).log()
    gain = (refined * ((refined + 1e-9) / (flat + 1e-9)).log()).sum(-1)
    rows = [*apart, *ups, higher, gain.clamp(min=1e-6).log()]
    told = torch.stack([*(row.clamp(min=1e-6).log() for row in rows[:5]), *rows[5:]], -1)
    told = torch.cat([terms, told, misfits.clamp(1e-3, 1e3).log()], -1)
    return told.nan_to_num(0.0, 10.0, -10.0)


def hedged(share: torch.Tensor, error: torch.Tensor, oscillates: torch.Tensor) -> torch.Tensor:
    """Shares of the network's solution, corrected by accuracy and by which solution is smoother.

    The smaller the relative error, the more do the data decide, and the more harm does a share that
    was not meant to be there: if it is wrong, the result is several times worse than that around a
    flat default model. Where the share is below a limit that grows with the accuracy, it is zero.

    But few Matsubara frequencies of any accuracy leave most of a spectrum open, and there maximum
    entropy around a flat model oscillates: the network's solution is taken.

    Parameters
    ----------
    share, error
        From :meth:`Referee.share`, and relative errors of the data, ``(b,)``.
    oscillates
        From :func:`oscillating`.
    """
    none = (HEDGED * (LARGEST / error).log10()).clamp(0.0, MOST_HEDGED)
    step = ((share - none) / RAMP).clamp(0, 1)
    share = torch.where(none > 0, share * step.square() * (3 - 2 * step), share)
    return share.lerp(torch.ones_like(share), oscillates)


def oscillating(neural: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """Whether one of two solutions that explain the data has clearly more structure, 0 to 1.

    One peak that is narrower, and so higher, is no more structure: there the data may decide.

    Parameters
    ----------
    neural, flat
        Densities of the two solutions, ``(b, n)``; the second is the one that may oscillate.
    """
    both = torch.stack([neural, flat])
    sizes = torch.stack([roughness(both), _variation(both)]).clamp(min=1e-30).log()
    rougher, more = (sizes[:, 1] - sizes[:, 0]).unbind()
    part = ((rougher - ROUGHER) / (MUCH_ROUGHER - ROUGHER)).clamp(0, 1)
    return part * (more / MORE).clamp(0, 1)


def roughness(density: torch.Tensor) -> torch.Tensor:
    """Total variation of densities ``(..., n)``."""
    return density.diff(dim=-1).abs().sum(-1)


def _variation(density: torch.Tensor) -> torch.Tensor:
    """Total variation over the largest value: twice the number of equal peaks."""
    return roughness(density) / density.amax(-1).clamp(min=1e-30)


def _small(generator: torch.Generator | None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise((FEATURES, WIDTH, WIDTH, 1)):
        layers += [linear(inputs, outputs, generator), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A layer that does not use torch's global generator."""
    layer = nn.Linear(inputs, outputs, dtype=torch.float32, device="meta")
    allocate(layer)
    bound = 1 / math.sqrt(inputs)  # as torch initialises layers
    for parameter in layer.parameters():
        if generator is None:
            nn.init.zeros_(parameter)
        else:
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
