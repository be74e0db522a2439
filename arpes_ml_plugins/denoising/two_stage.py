"""The second stage: fit a network (and a sparse term) to one noisy image.

Equation numbers are those of Huang, Liu, Qian and Weng (2024) and its supplement: the loss is
eq. 3, the optimiser eqs. 4 and S32.

There is no training set. A convolutional network reproduces smooth, correlated structure long
before it reproduces noise, so fitting it to the noisy image and stopping in time denoises it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from arpes_ml_plugins.denoising.losses import DARK_FLOOR, LOSSES
from arpes_ml_plugins.denoising.memory_order import order_to_train
from arpes_ml_plugins.denoising.recipes import Recipe
from arpes_ml_plugins.denoising.recovery import recover_structure
from arpes_ml_plugins.denoising.robust import trimmed_range
from arpes_ml_plugins.denoising.streams import stream, stream_seed
from arpes_ml_plugins.denoising.unet import SpectrumUNet, pad_to_stride
from arpes_ml_plugins.errors import ConvergenceWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.report import Report

__all__ = ["TwoStageResult", "bfloat16_is_fast", "denoise_images", "fit"]

UNSETTLED = 1.5  # final loss over lowest loss above which a fit has failed
SETTLED_AFTER = 100  # iterations; shorter fits are not meant to settle
FIXED_INPUT_LEVEL = 0.1  # standard deviation of the random input of the previous method


@dataclass(frozen=True)
class TwoStageResult:
    """``images = clean + sparse + residual``, in the unit of the images."""

    clean: torch.Tensor  # (n, height, width)
    sparse: torch.Tensor  # (n, height, width)
    loss: torch.Tensor  # (n, iterations)
    """In the unit of the images. Square: the sum of squares. Huber: half the mean of residual
    squared over intensity, which ends near half the gain: 1/2 for Poisson counts."""


def denoise_images(
    images: torch.Tensor,
    valid: torch.Tensor,
    prior: torch.Tensor | None,
    recipe: Recipe,
    *,
    seeds: list[int],
    noise_ratio: float = 0.5,
    bfloat16: bool = False,
    report: Report | None = None,
) -> TwoStageResult:
    """The mean of ``recipe.networks`` fits, plus significant structure of the residual.

    Parameters are those of :func:`fit`. An image of one value is returned as it is: it has no
    structure to fit and no range to scale by.
    """
    flat = _flat(images, valid)
    if bool(flat.all()):
        loss = images.new_zeros(len(images), recipe.iterations)
        if report:
            report(len(images) * recipe.iterations * recipe.networks, 0.0)
        return TwoStageResult(images.clone(), torch.zeros_like(images), loss)
    fits = [
        fit(
            images,
            valid,
            prior,
            recipe,
            seeds=seeds,
            member=member,
            noise_ratio=noise_ratio,
            bfloat16=bfloat16,
            report=report,
        )
        for member in range(recipe.networks)
    ]
    if recipe.cosine:
        _warn_unsettled(torch.stack([member.loss for member in fits]))
    clean = torch.stack([member.clean for member in fits]).mean(0)
    if recipe.recover:
        clean = recover_structure(images, clean, valid, floor=DARK_FLOOR)
    sparse = torch.stack([member.sparse for member in fits]).mean(0)
    return TwoStageResult(
        clean=torch.where(flat[:, None, None], images, clean),
        sparse=sparse.masked_fill(flat[:, None, None], 0.0),
        loss=torch.stack([member.loss for member in fits]).mean(0),
    )


def _flat(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mask of the images with one value in all valid pixels, ``(n,)``."""
    high = images.masked_fill(~valid, -torch.inf).amax((-2, -1))
    low = images.masked_fill(~valid, torch.inf).amin((-2, -1))
    return high <= low


def _warn_unsettled(losses: torch.Tensor) -> None:
    """Warn if a loss ended above its minimum; ``losses`` is (networks, n, iterations)."""
    iterations = losses.shape[-1]
    if iterations < SETTLED_AFTER:
        return
    end = losses[..., -iterations // 20 :].mean(-1)
    unsettled = ~(end <= UNSETTLED * losses.amin(-1))
    if unsettled.any():
        warn(
            f"{int(unsettled.any(0).sum())} of {losses.shape[1]} images: a network ended with a "
            f"loss above {UNSETTLED:g} times its lowest; do not trust the result. Try another rng, "
            f"more iterations or precision='float32', and look for outliers in the data",
            ConvergenceWarning,
        )


def fit(
    images: torch.Tensor,
    valid: torch.Tensor,
    prior: torch.Tensor | None,
    recipe: Recipe,
    *,
    seeds: list[int],
    member: int = 0,
    noise_ratio: float = 0.5,
    bfloat16: bool = False,
    report: Report | None = None,
    observe: Callable[[int, torch.Tensor], None] | None = None,
) -> TwoStageResult:
    """Fit one network to each image.

    Parameters
    ----------
    images
        Shape ``(n, height, width)``, finite.
    valid
        Same shape; pixels that are False are not fitted.
    prior
        Input of the network, the low-rank part from the first stage, in the unit of the images;
        ``None`` takes a fixed random input instead (the previous method).
    seeds
        One per image.
    member
        Number of this fit in an ensemble: another one draws other random numbers.
    noise_ratio
        ``eta_a / eta_s``: the smaller, the faster the sparse term learns (eq. 4).
    bfloat16
        Compute the convolutions in bfloat16.
    observe
        Called with the number of finished iterations and the image so far, in each iteration.
    """
    scaling = _Scaling.of(images, valid, recipe.headroom)
    target = scaling.down(images).float()
    mask = valid.float()
    if prior is None:
        source = FIXED_INPUT_LEVEL * _normal(target, _streams(seeds, member, "input"))
    else:
        source = scaling.down(prior).float()
    height, width = target.shape[-2:]

    order = order_to_train(images.device, bfloat16)
    network = SpectrumUNet(
        len(seeds), seeds=[stream_seed(seed, member, "weights") for seed in seeds]
    ).to(images.device, memory_format=order)  # type: ignore[call-overload]
    sparse_factors = _sparse_factors(target, seeds, member, recipe) if recipe.sparse_term else []
    optimizers = _optimizers(network, sparse_factors, recipe, noise_ratio)
    schedules = [
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.iterations)
        for optimizer in optimizers
    ]
    measure = LOSSES[recipe.loss](target, mask, (scaling.low / scaling.span).to(target))
    jitter = _Jitter(source, _streams(seeds, member, "jitter"), order)
    # Allocated at once: thousands of small tensors kept between large ones fragment the memory.
    losses = images.new_empty(len(images), recipe.iterations)
    for iteration in range(recipe.iterations):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            output = network(jitter(recipe.jitter * measure.noise))
        output = output[0, :, :height, :width].float()
        loss = measure(output, target - _sparse(sparse_factors))
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            if recipe.cosine:
                schedule.step()
        if observe:
            observe(iteration, scaling.up(output.detach()))
        losses[:, iteration] = measure.in_units(loss.detach().to(images), scaling.span)
        if report:
            told = float(losses[:, iteration].mean()) if iteration % 10 == 0 else None
            report(len(images), told)
    with torch.no_grad():
        output = network(jitter(torch.zeros((), device="cpu")))[0, :, :height, :width].float()
        residual = target - output
        sparse = _sparse(sparse_factors) if sparse_factors else measure.outliers(residual)
    return TwoStageResult(
        clean=scaling.up(output.to(images.dtype)),
        sparse=(sparse * scaling.span).detach().to(images.dtype),
        loss=losses,
    )


def bfloat16_is_fast(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        # Older versions of torch do not report it; float32 is always correct.
        features: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False


@dataclass(frozen=True)
class _Scaling:
    """Scaling between the unit of the data and [0, 1]: exact in both directions, per image."""

    low: torch.Tensor  # (n, 1, 1)
    span: torch.Tensor  # (n, 1, 1)

    @classmethod
    def of(cls, images: torch.Tensor, valid: torch.Tensor, headroom: float) -> _Scaling:
        """Scaling by the extremes (``headroom`` 1, as published) or a range without outliers."""
        if headroom == 1:
            high = images.masked_fill(~valid, -torch.inf).amax((-2, -1), keepdim=True)
            low = images.masked_fill(~valid, torch.inf).amin((-2, -1), keepdim=True)
            return cls(low, _nonzero(high - low))
        low, high = trimmed_range(images, valid)
        margin = (headroom - 1) * (high - low)
        # Below the lowest intensity there is room too, but none below a physical zero.
        bottom = torch.where(low >= 0, (low - margin).clamp(min=0), low - margin)
        return cls(bottom, _nonzero(high + margin - bottom))

    def down(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.low) / self.span

    def up(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.span + self.low


class _Jitter:
    """The network's input with fresh noise, ``(1, n, padded height, padded width)``."""

    def __init__(
        self, source: torch.Tensor, generators: list[torch.Generator], order: torch.memory_format
    ) -> None:
        self.source = pad_to_stride(source)
        self.order = order
        self.generators = generators

    def __call__(self, level: torch.Tensor) -> torch.Tensor:
        image = self.source
        if bool((level > 0).any()):
            image = image + level * _normal(image, self.generators)
        return image[None].contiguous(memory_format=self.order)


def _nonzero(span: torch.Tensor) -> torch.Tensor:
    """A constant image has no span; any scale does."""
    return torch.where(span > 0, span, torch.ones_like(span))


def _streams(seeds: list[int], member: int, use: str) -> list[torch.Generator]:
    """A generator for each image."""
    return [stream(seed, member, use) for seed in seeds]


def _sparse_factors(
    target: torch.Tensor, seeds: list[int], member: int, recipe: Recipe
) -> list[torch.Tensor]:
    """Start of g and h (eq. 3)."""
    return [
        (recipe.sparse_start * _normal(target, _streams(seeds, member, use))).requires_grad_()
        for use in ("plus", "minus")
    ]


def _normal(like: torch.Tensor, generators: list[torch.Generator]) -> torch.Tensor:
    """Standard normal numbers of the shape of ``like``, each image from its own generator."""
    shape = like.shape[-2:]
    rows = [torch.randn(shape, generator=g, dtype=like.dtype, device="cpu") for g in generators]
    return torch.stack(rows).to(like.device)


def _sparse(factors: list[torch.Tensor]) -> torch.Tensor | float:
    return factors[0].square() - factors[1].square() if factors else 0.0


def _optimizers(
    network: SpectrumUNet, factors: list[torch.Tensor], recipe: Recipe, noise_ratio: float
) -> list[torch.optim.Optimizer]:
    """One for the network's weights and, where there is a sparse term, one for g and h."""
    weights: list[torch.Tensor] = list(network.parameters())
    pairs = [(weights, recipe.optimizer, recipe.learning_rate)]
    if factors:
        pairs.append((factors, recipe.sparse_optimizer, recipe.learning_rate / noise_ratio))
    return [_optimizer(*pair, decay=recipe.weight_decay) for pair in pairs]


def _optimizer(
    parameters: list[torch.Tensor], name: str, rate: float, *, decay: float
) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=rate)
    # Eq. S32: decoupled decay, in proportion to the learning rate.
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay)
