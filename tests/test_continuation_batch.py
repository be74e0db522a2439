"""Data sets with errors of their own, solved together, against the same one by one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.continuation.factored import Factored
from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.continuation.maxent import maxent
from arpes_ml_plugins.continuation.observation import observations, observed
from arpes_ml_plugins.continuation.outliers import find_outliers
from arpes_ml_plugins.continuation.problem import Problem

BETA = 12.0
TAU = torch.linspace(0, BETA, 61, dtype=torch.float64)
OMEGA = torch.linspace(-4, 4, 81, dtype=torch.float64)
SLICES = 18
# The network computes the interval in float32.
CLOSE = {
    "spectral_function": 1e-6,
    "lower": 1e-5,
    "upper": 1e-5,
    "resolution": 1e-6,
    "back_transform": 1e-6,
    "chi2": 1e-6,
}


@pytest.fixture(scope="module")
def case():
    """Two peaks that move from slice to slice; errors that differ by slice and by time."""
    draw = np.random.default_rng(1)
    centre = torch.linspace(-1.5, 1.5, SLICES, dtype=torch.float64)[:, None]
    truth = (-((OMEGA - centre) ** 2) / 0.3).exp() + 0.5 * (-((OMEGA + centre) ** 2) / 0.8).exp()
    truth = truth / truth.sum(-1, keepdim=True)
    errors = 10 ** draw.uniform(-4.5, -2.5, (SLICES, 1)) * draw.uniform(0.5, 2, (SLICES, len(TAU)))
    errors = torch.from_numpy(errors)
    noise = torch.from_numpy(draw.normal(size=errors.shape)) * errors
    return truth @ fermion(TAU, OMEGA, BETA).mT + noise, errors


def labelled(rows):
    coords = {"k": np.arange(len(rows)), "tau": TAU.numpy()}
    return xr.DataArray(np.asarray(rows), coords=coords, dims=("k", "tau"))


def covariances(errors):
    apart = (TAU[:, None] - TAU).abs()
    correlation = 0.5 * (-apart).exp() + 0.5 * torch.eye(len(TAU), dtype=torch.float64)
    return errors[:, :, None] * correlation * errors[:, None]


def agree(rows, method, stated, tried=(0, 5, 17), **options):
    """Results of all slices at once are those of some of them alone; ``stated`` gives the errors
    of a part.
    """

    def run(part):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(labelled(rows[part]).S, method)
            return found(beta=BETA, omega=OMEGA.numpy(), device="cpu", **stated(part), **options)

    together = run(slice(None))
    for item in tried:
        alone, beside = run(slice(item, item + 1)).isel(k=0), together.isel(k=item)
        assert alone.status.item() == beside.status.item()
        for name, close in CLOSE.items():
            size = float(abs(alone[name]).max())
            np.testing.assert_allclose(beside[name], alone[name], rtol=0, atol=close * size)
    return together


@pytest.mark.parametrize("method", ["continue_maxent", "continue_rlista"])
def test_together_as_alone(case, method):
    rows, errors = case
    result = agree(rows, method, lambda part: {"stderr": labelled(errors[part])})
    assert set(result.status.values) == {"ok"}


def test_together_as_alone_with_a_covariance_of_each(case):
    rows, errors = case
    matrices = covariances(errors).numpy()
    agree(rows, "continue_maxent", lambda part: {"covariance": matrices[part]})


@pytest.mark.parametrize(
    "options", [{"rule": "classic"}, {"rule": "bryan", "preblur": 0.2}, {"signed": True}]
)
def test_together_as_alone_by_other_rules(case, options):
    rows, errors = case

    def stated(part):
        return {"stderr": labelled(errors[part])}

    agree(rows, "continue_maxent", stated, tried=(0, 17), **options)


def test_together_as_alone_by_basis_pursuit(case):
    rows, errors = case
    agree(
        rows[:4],
        "continue_ista",
        lambda part: {"stderr": labelled(errors[:4][part])},
        tried=(0, 3),
        iterations=300,
    )


def test_slices_of_different_kinds_do_not_mix(case):
    """Some with outliers, some with errors that are too large for the network, and other norms."""
    rows, errors = (part.clone() for part in case)
    rows[5, 30] += 50 * errors[5, 30]
    errors[17] = 0.05
    rows[3] *= 7
    errors[3] *= 7
    for method in ("continue_maxent", "continue_rlista"):
        result = agree(
            rows,
            method,
            lambda part: {"stderr": labelled(errors[part])},
            tried=(3, 4, 5, 17),
            norm="any",
        )
        assert result.status[4].item() == "ok"
        assert "outliers" in result.status[5].item()
    assert "training range" in result.status[17].item()
    assert "training range" not in result.status[16].item()


def test_all_slices_are_one_observation(case):
    rows, errors = case
    used = torch.ones_like(rows, dtype=torch.bool)
    problem = Problem(TAU, OMEGA, BETA)
    (seen,) = observations(problem, rows, errors, None, used)
    assert sorted(seen.which.tolist()) == list(range(SLICES))
    # Data sets with the same errors share one kernel, in one group.
    (seen,) = observations(problem, rows, errors[:1].expand_as(errors), None, used)
    assert seen.kernel().own is None


@pytest.mark.parametrize("correlated", [False, True])
def test_compressed_data_have_the_chi2_of_all(case, correlated):
    rows, errors = case
    used = torch.ones_like(rows, dtype=torch.bool)
    used[2, 40] = False
    problem = Problem(TAU, OMEGA, BETA)
    matrices = covariances(errors) if correlated else None
    seen = observed(problem, rows, errors, matrices, used, alike=False)
    weights = torch.rand(SLICES, len(OMEGA), dtype=torch.float64, generator=torch.Generator())
    weights = weights / weights.sum(-1, keepdim=True)
    off = (rows - weights @ problem.kernel.mT) * used
    whole = torch.diag_embed(errors.square()) if matrices is None else matrices
    for item in (0, 2):
        at = used[item]
        inner = torch.linalg.inv(whole[item][at][:, at])
        expected = off[item, at] @ inner @ off[item, at] / at.sum()
        torch.testing.assert_close(seen.misfit(weights)[item], expected, rtol=1e-9, atol=0)
    assert seen.data.shape[1] < len(TAU)
    # A norm that is known for some of them only.
    known = torch.full((SLICES, 1), 1.0, dtype=torch.float64)
    allowed = torch.full_like(known, 0.01)
    allowed[0] = torch.inf
    more = seen.with_moments((0,), 2 * known, allowed)
    change = more.misfit(weights) * more.count - seen.misfit(weights) * seen.count
    assert change[0] == pytest.approx(0, abs=1e-6 * float(more.misfit(weights)[0] * more.count[0]))
    torch.testing.assert_close(change[5], change.new_tensor(100.0**2), rtol=1e-3, atol=0)
    assert more.norms[5] == 2
    assert more.norms[0] == seen.norms[0]


def test_factored_kernels(case):
    _, errors = case
    kernel = fermion(TAU, OMEGA, BETA)
    factored = Factored(kernel, torch.diag_embed(1 / errors))
    dense = kernel / errors[:, :, None]
    weights = torch.rand(SLICES, len(OMEGA), dtype=torch.float64, generator=torch.Generator())
    data = torch.rand(SLICES, len(TAU), dtype=torch.float64, generator=torch.Generator())
    torch.testing.assert_close(factored.data(weights), (dense @ weights[..., None])[..., 0])
    # The adjoint.
    left, right = (factored.data(weights) * data).sum(-1), (weights * factored.pull(data)).sum(-1)
    torch.testing.assert_close(left, right)
    u, s, turn, right = factored.svd(1e-3)
    assert turn is not None
    rebuilt = u * s[:, None] @ turn @ right
    assert (rebuilt - dense).abs().max() < 3e-3
    np.testing.assert_allclose(s[3], torch.linalg.svdvals(dense[3])[: s.shape[1]], atol=2e-3)
    # More rows for all, each data set with a factor of its own.
    more = factored.beside(kernel[:3], errors[:, 0])
    whole = torch.cat([dense[2], kernel[:3] * errors[2, 0]])
    np.testing.assert_allclose(more.each(2), whole, rtol=1e-12)
    two = Factored(kernel).beside(kernel[:3], torch.tensor([1.0, 2.0]).double())
    np.testing.assert_allclose(two.each(1), torch.cat([kernel, kernel[:3] * 2]), rtol=1e-12)
    assert Factored(kernel).beside(kernel[:3], torch.ones(2).double()).own is None
    # One factor for all keeps one kernel for all.
    assert Factored(kernel).scaled(torch.full((3,), 2.0)).own is None
    assert Factored(kernel).scaled(torch.tensor([1.0, 2.0]).double()).own is not None


def test_maximum_entropy_with_a_kernel_of_each(case):
    rows, errors = case
    factored = Factored(fermion(TAU, OMEGA, BETA), torch.diag_embed(1 / errors))
    flat = torch.full((len(OMEGA),), 1 / len(OMEGA), dtype=torch.float64)
    together = maxent(factored, rows / errors, flat)
    alone = maxent(factored.each(4), (rows / errors)[4:5], flat)
    torch.testing.assert_close(together.spectrum[4:5], alone.spectrum, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(together.blur()[4:5], alone.blur(), rtol=1e-6, atol=0)


def test_outliers_are_found_in_each(case):
    rows, errors = (part.clone() for part in case)
    for item in (1, 11):
        rows[item, 2 * item + 3] += 30 * errors[item, 2 * item + 3]
    rows[6] += 2 * errors[6] * torch.randn(len(TAU), dtype=torch.float64).sign()
    problem = Problem(TAU, OMEGA, BETA)
    kept, excess, _ = find_outliers(problem, rows, errors)
    assert torch.nonzero(~kept).tolist() == [[1, 5], [11, 25]]
    assert excess[6] > 1.5
    assert (excess[torch.arange(SLICES) != 6] == 1).all()
