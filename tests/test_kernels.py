"""Kernels and the forward problem, against mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

from arpes_ml_plugins.continuation.kernels import (
    boson,
    boson_matsubara,
    fermion,
    fermion_matsubara,
    integrate_bins,
    matsubara_frequencies,
)
from arpes_ml_plugins.continuation.problem import Problem, cell_edges, cell_widths

mpmath.mp.dps = 50


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


TIMES = (0.0, 1e-9, 0.3, 17.0, 499.999, 500.0)
FREQUENCIES = (-40.0, -1.0, -1e-8, 0.0, 1e-12, 0.02, 3.0, 1e3)


@pytest.mark.parametrize("beta", [500.0, 5e4])
def test_fermion_kernel(beta):
    times = [t * beta / 500 for t in TIMES]
    found = fermion(tensor(*times), tensor(*FREQUENCIES), beta)
    for i, t in enumerate(times):
        for j, w in enumerate(FREQUENCIES):
            exact = mpmath.exp(-mpmath.mpf(t) * w) / (1 + mpmath.exp(-mpmath.mpf(beta) * w))
            # The exponent itself is rounded: its error grows with it.
            bound = 1e-14 * (1 + abs(t * w) + abs((beta - t) * w))
            assert abs(float(found[i, j]) - exact) <= bound * exact + mpmath.mpf("1e-300")


@pytest.mark.parametrize("beta", [2.0, 500.0])
def test_boson_kernel(beta):
    times = [t * beta / 500 for t in TIMES]
    frequencies = tuple(w for w in FREQUENCIES if w)
    found = boson(tensor(*times), tensor(*frequencies), beta)
    for i, t in enumerate(times):
        for j, w in enumerate(frequencies):
            exact = w * mpmath.exp(-mpmath.mpf(t) * w) / -mpmath.expm1(-mpmath.mpf(beta) * w)
            bound = 1e-14 * (1 + abs(t * w) + abs((beta - t) * w))
            assert abs(float(found[i, j]) - exact) <= bound * exact + mpmath.mpf("1e-300")
    assert boson(tensor(0.3), tensor(-1.0, 0.0), beta)[0, 1] == pytest.approx(1 / beta)


@pytest.mark.parametrize("axis", ["tau", "matsubara"])
@pytest.mark.parametrize("bins", [False, True])
def test_an_even_boson_needs_half_the_axis(axis, bins):
    """The same density on half and on the whole axis gives the same data, zero included."""
    tau = torch.linspace(0, 5, 9).double()
    times = tau if axis == "tau" else matsubara_frequencies(6, 5.0, "boson")
    half = torch.linspace(0, 4, 41).double()
    whole = torch.cat([-half[1:].flip(0), half])
    data = []
    for omega in (half, whole):
        problem = Problem(times, omega, 5.0, "boson", axis, bins)
        density = torch.exp(-((omega / 0.5) ** 2))
        data.append(problem.kernel @ (density * cell_widths(omega)))
    assert torch.allclose(data[0], data[1], atol=1e-12)


@pytest.mark.parametrize("statistics", ["fermion", "boson"])
def test_matsubara_kernels_are_transforms_of_the_others(statistics):
    beta, omega = 4.0, tensor(-1.3, 0.4, 2.0)
    frequencies = matsubara_frequencies(4, beta, statistics)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    tau = torch.from_numpy((nodes + 1) * beta / 2)
    wave = torch.exp(1j * frequencies[:, None] * tau) * torch.from_numpy(weights * beta / 2)
    in_time = (fermion if statistics == "fermion" else boson)(tau, omega, beta)
    transform = wave @ in_time.to(torch.complex128)
    if statistics == "fermion":  # G(tau) = -K: the transform of -K is 1 / (i w - w')
        expected = -fermion_matsubara(frequencies, omega, beta)
    else:
        expected = boson_matsubara(frequencies, omega, beta)
    assert torch.allclose(transform, expected, atol=1e-12)


def test_static_boson_limit():
    assert boson_matsubara(tensor(0.0), tensor(-1.0, 0.0), 3.0)[0, 1] == 1


def test_bins_are_integrals():
    edges = tensor(-2.0, -1.0, 0.5, 3.0)
    found = integrate_bins(fermion, tensor(0.0, 1.0, 7.9), edges, 8.0, order=16)
    for i, t in enumerate((0.0, 1.0, 7.9)):
        for j in range(3):
            low, high = float(edges[j]), float(edges[j + 1])
            exact = mpmath.quad(
                lambda w, t=t: mpmath.exp(-t * w) / (1 + mpmath.exp(-8 * w)), [low, high]
            ) / (high - low)
            assert float(found[i, j]) == pytest.approx(float(exact), rel=1e-5)


def test_sum_rule_holds_at_every_frequency():
    ends = fermion(tensor(0.0, 33.0), torch.linspace(-9, 9, 77).double(), 33.0)
    assert torch.allclose(ends.sum(0), torch.ones(77).double(), atol=1e-15)


def test_rows_and_back():
    problem = Problem(
        matsubara_frequencies(5, 3.0), torch.linspace(-1, 1, 7).double(), 3.0, axis="matsubara"
    )
    data = torch.complex(torch.randn(2, 5).double(), torch.randn(2, 5).double())
    assert torch.equal(problem.unrows(problem.rows(data)), data)
    assert problem.kernel.shape == (10, 7)


@pytest.mark.parametrize("axis", ["tau", "matsubara"])
def test_sign_convention(axis):
    times = torch.linspace(0, 3, 8).double() if axis == "tau" else matsubara_frequencies(8, 3.0)
    problem = Problem(times, torch.linspace(-2, 2, 11).double(), 3.0, axis=axis)
    rows = problem.kernel @ torch.rand(11).double()
    assert problem.sign(torch.stack([rows, -rows])).tolist() == [1, -1]


def test_cells_of_an_uneven_grid():
    grid = tensor(1.0, 2.0, 4.0)
    assert cell_edges(grid).tolist() == [0.5, 1.5, 3.0, 5.0]
    assert cell_widths(grid).tolist() == [1.0, 1.5, 2.0]


def mutual_coherence(matrix):
    """Largest inner product of two normalised columns (paper, eq. 14)."""
    return float(gram(matrix).fill_diagonal_(0).abs().max())


def average_coherence(matrix):
    """Largest mean inner product of a normalised column with the others (paper, eq. 21)."""
    others = gram(matrix).fill_diagonal_(0).sum(1).abs()
    return float(others.max()) / (len(others) - 1)


def gram(matrix):
    columns = matrix / matrix.norm(dim=0, keepdim=True)
    return columns.mT @ columns


def test_the_kernel_is_as_coherent_as_the_paper_says():
    matrix = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    assert mutual_coherence(matrix) == pytest.approx(1 / math.sqrt(2))
    assert average_coherence(matrix) == pytest.approx(1 / math.sqrt(2))
    # The paper's point: the fermionic kernel is nearly as bad as can be.
    kernel = fermion(torch.linspace(0, 10, 100).double(), torch.linspace(-3, 3, 50).double(), 10.0)
    assert mutual_coherence(kernel) > 0.99
    assert 0.3 < average_coherence(kernel) < 0.7
