"""What a detector recorded of the images of a batch, and results as the batch was.

Values that are negative throughout, as those of a current are, count with the other sign, lines
that only repeat the one before do not count, logarithms of counts are taken for these counts, marks
of missing data stay as they are, and stuck channels are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.apply import ImageBatch

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.repeated_lines import Distinct
    from arpes_ml_plugins.denoising.transformed import Transform

__all__ = ["MARK", "TRANSFORM", "Recorded", "found_in", "recorded"]

TRANSFORM = ("transform", "transform_parameter", "transform_scale", "transform_zero")
"""Names of the numbers, in the order of the fields of ``Transform``."""
MARK = "mark"
"""Name of the number that is the mark of missing data; NaN if there is none."""

LOWER, UPPER = "lower", "upper"


@dataclass(frozen=True)
class Recorded:
    """Images of a batch with positive intensities and distinct lines."""

    batch: ImageBatch
    sign: float = 1.0
    """-1 if the values of the data are negative."""
    distinct: Distinct | None = None
    repeats: tuple[float, float] = 1.0, 1.0
    """How often each row, and each column, is repeated on average."""
    transform: Transform | None = None
    """Function of the counts that the values of the data are."""
    mark: float = math.nan
    """Value of missing data."""
    marked: torch.Tensor | None = None
    """Mask of the pixels of the data with this value."""
    stuck: float = 0.0
    """Fraction of the pixels that are in stuck channels."""

    def numbers(self) -> dict[str, float]:
        """Numbers of the function and of the mark."""
        found = self.transform
        fields = 0.0, 0.0, 0.0, 0.0
        if found is not None:
            fields = float(found.kind), found.parameter, found.scale, found.zero
        return dict(zip(TRANSFORM, fields, strict=True)) | {MARK: self.mark}

    def results(self, results: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Results for the data, of which all that are images have their sign and their lines."""
        return {self._name(name): self._as_data(result) for name, result in results.items()}

    def _name(self, name: str) -> str:
        """The name of the result: of the other sign the lower limit is the upper one."""
        return name if self.sign > 0 else {LOWER: UPPER, UPPER: LOWER}.get(name, name)

    def _as_data(self, result: torch.Tensor) -> torch.Tensor:
        if result.ndim < 2:  # a number for each image
            return result
        result = result if self.transform is None else self.transform.means(result)
        result = result if self.sign > 0 else -result
        result = result if self.distinct is None else self.distinct.repeated(result)
        return result if self.marked is None else result.masked_fill(self.marked, self.mark)


def found_in(batch: ImageBatch, exposures: int = 1) -> Recorded:
    """Find out what was recorded, from the values.

    The images may be windows of larger ones, each with its ``exposures``, in which other lines are
    repeated: then as many distinct lines of each are left as all have.
    """
    from arpes_ml_plugins.denoising.marks import mark_of
    from arpes_ml_plugins.denoising.repeated_lines import distinct_lines
    from arpes_ml_plugins.denoising.sign import sign_of
    from arpes_ml_plugins.denoising.transformed import transform_of

    mark = mark_of(batch.images, batch.valid)
    batch, known = _usable(batch, mark), batch.valid & (batch.images != mark)
    stuck = 1 - float(batch.valid.sum() / known.sum().clamp(min=1))
    transform = transform_of(batch.images, batch.valid)
    sign = sign_of(batch.images, batch.valid) if transform is None else 1.0
    distinct = distinct_lines(batch.images, batch.valid)
    if distinct is None and len(batch.images) > exposures:
        batch, repeats = _of_windows(batch, exposures)
        found = replace(_recorded(batch, sign, None, transform), repeats=repeats)
    else:
        found = _recorded(batch, sign, distinct, transform)
    return replace(found, mark=mark, stuck=stuck)


def _usable(batch: ImageBatch, mark: float) -> ImageBatch:
    """The batch without the pixels that have the ``mark``, and without stuck channels."""
    from arpes_ml_plugins.denoising.defects import bright_lines

    valid = batch.valid & (batch.images != mark)
    return replace(batch, valid=valid & ~bright_lines(batch.images, valid))


def _of_windows(batch: ImageBatch, exposures: int) -> tuple[ImageBatch, tuple[float, float]]:
    """Distinct lines of each window, if those of most have any that are repeated."""
    import torch

    from arpes_ml_plugins.denoising.repeated_lines import distinct_lines

    windows = list(zip(batch.images.split(exposures), batch.valid.split(exposures), strict=True))
    found = [distinct_lines(*window) for window in windows]
    repeated = [(d, window) for d, window in zip(found, windows, strict=True) if d is not None]
    if len(repeated) < len(windows) / 2:
        return batch, (1.0, 1.0)
    parts = [[distinct.chosen(x) for x in window] for distinct, window in repeated]
    height, width = (min(images.shape[axis] for images, _ in parts) for axis in (-2, -1))
    images, valid = (torch.cat([part[k][..., :height, :width] for part in parts]) for k in (0, 1))
    rows, columns = (sum(d.repeats[k] for d, _ in repeated) / len(repeated) for k in (0, 1))
    return replace(batch, images=images, valid=valid), (rows, columns)


def recorded(batch: ImageBatch, gain: float | None = None) -> Recorded:
    """The same, as the noise estimate in ``batch.numbers`` says; values whose ``gain`` is given
    are no functions of counts.
    """
    from arpes_ml_plugins.denoising.repeated_lines import distinct_lines
    from arpes_ml_plugins.denoising.transformed import Transform

    numbers = batch.numbers
    mark = numbers[MARK]
    marked = None if math.isnan(mark) else batch.valid & (batch.images == mark)
    batch = _usable(batch, mark)
    repeated = max(numbers["row_repeats"], numbers["column_repeats"]) > 1
    distinct = distinct_lines(batch.images, batch.valid) if repeated else None
    kind, *others = (numbers[name] for name in TRANSFORM)
    transform = Transform(int(kind), *others) if kind > 0 and gain is None else None
    found = _recorded(batch, numbers["sign"], distinct, transform)
    return found if marked is None else replace(found, mark=mark, marked=_of_results(batch, marked))


def _of_results(batch: ImageBatch, marked: torch.Tensor) -> torch.Tensor:
    """The mask of pixels that results have, if some images are only neighbours of others."""
    import torch

    return marked if batch.own is None else marked[torch.from_numpy(batch.own).to(marked.device)]


def _recorded(
    batch: ImageBatch, sign: float, distinct: Distinct | None, transform: Transform | None
) -> Recorded:
    images, valid = batch.images, batch.valid
    images = images if sign > 0 else -images
    if distinct is not None:
        images, valid = distinct.chosen(images), distinct.chosen(valid)
    images = images if transform is None else transform.counts(images)
    repeats = (1.0, 1.0) if distinct is None else distinct.repeats
    own = replace(batch, images=images, valid=valid)
    return Recorded(own, sign, distinct, repeats, transform)
