"""Proximal operators against their definition and closed forms."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from arpes_ml_plugins.optim.proximal import singular_value_threshold, soft_threshold

vectors = hnp.arrays("float64", 12, elements=st.floats(-10, 10))


@pytest.mark.fuzz
@given(vectors, st.floats(0, 5))
def test_soft_threshold_is_the_minimiser(x, threshold):
    x = torch.from_numpy(x)
    found = soft_threshold(x, threshold)
    grid = torch.linspace(-12, 12, 4801, dtype=x.dtype)[:, None]
    objective = threshold * grid.abs() + (grid - x) ** 2 / 2
    best = objective.min(0).values
    assert (threshold * found.abs() + (found - x) ** 2 / 2 <= best + 1e-12).all()


def test_soft_threshold_is_exactly_zero_inside():
    x = torch.tensor([-1.0, -0.3, 0.0, 0.7, 1.0])
    assert (soft_threshold(x, 1.0) == 0).all()


def test_soft_threshold_is_a_firm_contraction(rng):
    x, y = torch.from_numpy(rng.normal(size=(2, 50)))
    px, py = soft_threshold(x, 0.7), soft_threshold(y, 0.7)
    assert ((px - py) ** 2).sum() <= ((px - py) * (x - y)).sum() + 1e-12


@pytest.mark.parametrize("shape", [(9, 14), (14, 9), (8, 8), (3, 7, 5)])
@pytest.mark.parametrize("threshold", [0.0, 0.8, 2.5, 100.0])
def test_singular_value_threshold_against_the_svd(rng, shape, threshold):
    matrix = torch.from_numpy(rng.normal(size=shape))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    expected = u @ torch.diag_embed((s - threshold).clamp(min=0)) @ vh
    level = torch.full(shape[:-2], threshold, dtype=matrix.dtype)
    torch.testing.assert_close(
        singular_value_threshold(matrix, level), expected, atol=1e-10, rtol=0
    )


def test_singular_value_threshold_one_level_a_matrix(rng):
    matrices = torch.from_numpy(rng.normal(size=(2, 6, 6)))
    levels = torch.tensor([0.5, 2.0], dtype=matrices.dtype)
    together = singular_value_threshold(matrices, levels)
    for matrix, level, result in zip(matrices, levels, together, strict=True):
        torch.testing.assert_close(singular_value_threshold(matrix, level), result)
    assert torch.linalg.matrix_rank(together[1]) < 6
