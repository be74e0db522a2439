"""Images of which many lines repeat the one before: what was measured of them, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.apply import ImageBatch

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.repeated_lines import Distinct

__all__ = ["of_distinct_lines", "repeated_again", "repeated_in"]


def repeated_in(batch: ImageBatch) -> Distinct | None:
    """The distinct lines of a batch, if its noise estimate says that lines are repeated."""
    from arpes_ml_plugins.denoising.repeated_lines import distinct_lines

    numbers = batch.numbers
    if not max(numbers["row_repeats"], numbers["column_repeats"]) > 1:
        return None
    return distinct_lines(batch.images, batch.valid)


def of_distinct_lines(batch: ImageBatch, distinct: Distinct) -> ImageBatch:
    """The same batch with these lines alone."""
    return replace(
        batch, images=distinct.chosen(batch.images), valid=distinct.chosen(batch.valid)
    )


def repeated_again(
    results: Mapping[str, torch.Tensor], distinct: Distinct
) -> dict[str, torch.Tensor]:
    """All images among the results with all lines."""
    return {
        name: distinct.repeated(result) if result.ndim > 1 else result
        for name, result in results.items()
    }
