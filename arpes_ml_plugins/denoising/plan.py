"""How many steps the denoising of counts takes: what it reports while it runs."""

from __future__ import annotations

import math
from dataclasses import replace

from arpes_ml_plugins.denoising.adapting import Training
from arpes_ml_plugins.denoising.choices import PASSES, TRAINED, passes, tests
from arpes_ml_plugins.denoising.mixture import DRAWS, ROUNDS
from arpes_ml_plugins.report import Report

__all__ = ["ALL_FLIPS", "FLIPS", "Plan", "lengthened", "steps_of", "steps_to_prepare"]

FLIPS = 2
ALL_FLIPS = 4
FINISHING = 1  # step that is reported when what the network has missed is recovered


class Plan:
    """Reports steps, never more than were promised, and the rest of them when all is done."""

    def __init__(self, report: Report | None, steps: int) -> None:
        self.report = report
        self.left = steps

    def __call__(self, steps: int, loss: float | None) -> None:
        steps = min(steps, self.left)
        self.left -= steps
        if self.report:
            self.report(steps, loss)

    def finish(self) -> None:
        """Report the steps that were not needed, for example if noise is correlated."""
        if self.left:
            self(self.left, None)


def steps_of(
    training: Training | None,
    images: int,
    pixels: int,
    *,
    series: bool,
    draws: int = 0,
    calibrate: bool = False,
    chosen: bool = False,
) -> int:
    """Number of steps that :func:`denoise_counts_images` reports for images of ``pixels`` each.

    A step is an image that the network predicts once or that is finished; a training step counts
    as the images that take as long. ``chosen`` says that :func:`prepare` has run.
    """
    trained = _training_steps(training, images, pixels)
    total = 0 if chosen else (1 + FINISHING) * passes(images, pixels, series) + trained
    total += images * ((FLIPS if training is None else ALL_FLIPS) + FINISHING)
    if training is not None and not series:
        total += images * (FLIPS + FINISHING) * ROUNDS * DRAWS  # shares of two denoisers
    total += images * (FLIPS + FINISHING) * draws
    if calibrate:
        total += trained + images * (FLIPS + FINISHING) * (1 + draws)
    return total


def steps_to_prepare(
    training: Training | None, images: int, pixels: int, *, run: int, complete: bool
) -> int:
    """Number of steps that :func:`prepare` reports for a sample of ``images``."""
    runs = images // run
    tested = tests(images, pixels) if complete else runs
    trained = images if complete else runs * min(run, TRAINED)
    return PASSES * (1 + FINISHING) * tested + _training_steps(training, trained, pixels)


def _training_steps(training: Training | None, images: int, pixels: int) -> int:
    if training is None:
        return 0
    longer = lengthened(training, images * pixels)
    steps = longer.steps * longer.passes(images, pixels)
    return steps + images * (FLIPS + FINISHING) * longer.tests


def lengthened(training: Training, pixels: int) -> Training:
    """More images, more steps: with the square root, four times as many at most."""
    factor = math.sqrt(pixels / training.pixels)
    return replace(training, steps=round(training.steps * min(max(factor, 1.0), 4.0)))
