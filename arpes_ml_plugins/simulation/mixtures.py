"""Simulate mixtures for training source separation: spectra of a library, sparse sources."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Mixtures", "add_noise", "generalised_gaussian", "random_split"]

PUBLISHED_SHAPE = 0.3  # of the generalised Gaussian
PUBLISHED_PIXELS = 500
PUBLISHED_SNR = 30.0  # dB


def generalised_gaussian(
    shape: tuple[int, ...], exponent: float, generator: torch.Generator
) -> torch.Tensor:
    """Samples of density ``exp(-|x|^exponent)`` up to scale, float32: sparse below exponent 1.

    ``|x|^exponent`` is Gamma-distributed with shape ``1 / exponent``.

    Examples
    --------
    >>> drawn = generalised_gaussian((100_000,), 2.0, torch.Generator().manual_seed(0))
    >>> round(float(drawn.std()), 1)
    0.7
    """
    # torch's own Gamma sampler takes no generator from outside except by this private name.
    alpha = torch.full(shape, 1 / exponent, dtype=torch.float32, device="cpu")
    magnitude = torch._standard_gamma(alpha, generator) ** (1 / exponent)
    signs = torch.randint(2, shape, generator=generator, device="cpu") * 2 - 1
    return signs * magnitude


def add_noise(clean: torch.Tensor, snr: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add white noise at a signal-to-noise ratio in dB, one per mixture ``(b, m, t)``."""
    power = clean.square().mean((-2, -1), keepdim=True)
    sigma = (power * 10 ** (-snr[:, None, None] / 10)).sqrt()
    return clean + sigma * torch.randn(
        clean.shape, generator=generator, dtype=clean.dtype, device="cpu"
    )


@dataclass(frozen=True)
class Mixtures:
    """An endless supply of random mixtures ``X = A S + N``.

    Spectra are normalised to length 1, sources to length 1 times their strength.
    """

    spectra: torch.Tensor
    """``(n, samples, m)``: a family of spectra for each component."""
    together: bool = False
    """Sample i of all families belong together (as the public simulations have it)."""
    pixels: int = PUBLISHED_PIXELS
    exponents: tuple[float, float] = (PUBLISHED_SHAPE, PUBLISHED_SHAPE)
    snr: tuple[float, float] = (PUBLISHED_SNR, PUBLISHED_SNR)
    strongest: float = 1.0
    """Strengths of sources are drawn log-uniformly between one over this and this."""

    normalised: bool = False
    """Scale every mixture to the norm of ``n`` sources of length 1."""

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``X (count, m, t)``, ``A (count, m, n)`` and ``S (count, n, t)``, float32."""
        n, samples, _ = self.spectra.shape
        if self.together:
            chosen = torch.randint(samples, (1, count), generator=generator, device="cpu").expand(
                n, -1
            )
        else:
            chosen = torch.randint(samples, (n, count), generator=generator, device="cpu")
        mixing = (
            self.spectra[torch.arange(n, device="cpu")[:, None], chosen].permute(1, 2, 0).float()
        )
        mixing = mixing / mixing.norm(dim=1, keepdim=True)
        sources = self._sources(count, n, generator)
        low, high = self.snr
        snr = low + (high - low) * _uniform((count,), generator)
        data = add_noise(mixing @ sources, snr, generator)
        if not self.normalised:
            return data, mixing, sources
        scale = n**0.5 / data.norm(dim=(1, 2), keepdim=True)
        return data * scale, mixing, sources * scale

    def _sources(self, count: int, n: int, generator: torch.Generator) -> torch.Tensor:
        low, high = self.exponents
        exponent = low + (high - low) * float(_uniform((), generator))
        sources = generalised_gaussian((count, n, self.pixels), exponent, generator)
        sources = sources / sources.norm(dim=-1, keepdim=True)
        if self.strongest == 1.0:
            return sources
        power = 2 * _uniform((count, n, 1), generator) - 1
        return sources * self.strongest**power


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")


def random_split(count: int, tests: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices to train and to test on."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed), device="cpu")
    return order[tests:], order[:tests]
