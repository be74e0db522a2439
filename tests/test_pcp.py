"""Principal component pursuit: planted truth, optimality, solvers, edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.denoising.pcp import SOLVERS, principal_component_pursuit
from arpes_ml_plugins.errors import ConvergenceWarning
from arpes_ml_plugins.testing.samples import sample_cut


def planted(seed=0, shape=(60, 80), rank=3, outliers=0.05):
    """Low-rank plus sparse, well inside the regime where recovery is guaranteed."""
    rng = np.random.default_rng(seed)
    low = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    sparse = np.where(rng.random(shape) < outliers, rng.uniform(-10, 10, shape), 0.0)
    return torch.from_numpy(low), torch.from_numpy(sparse)


@pytest.mark.parametrize("solver", SOLVERS)
def test_recovers_planted_parts(solver):
    low, sparse = planted()
    result = principal_component_pursuit((low + sparse)[None], solver=solver, tolerance=1e-7)
    assert result.converged.all()
    for found, true in ((result.low_rank[0], low), (result.sparse[0], sparse)):
        assert torch.linalg.matrix_norm(found - true) < 1e-4 * torch.linalg.matrix_norm(true)
    singular = torch.linalg.svdvals(result.low_rank[0])
    assert (singular > 1e-6 * singular[0]).sum() == 3


def test_satisfies_the_optimality_conditions():
    """With L = U S V^T there is a multiplier Y in both subdifferentials (Candes et al. 2011).

    Y = UV^T + W with U^T W = W V = 0 and |W|_2 <= 1; and Y = lambda sign(S) on the support of S,
    |Y| <= lambda elsewhere. A dual certificate computed independently of the solver, by
    projections between the two conditions.
    """
    low, sparse = planted(seed=1)
    image = low + sparse
    weight = 1 / math.sqrt(max(image.shape))
    found = principal_component_pursuit(image[None], solver="admm", tolerance=1e-9, iterations=5000)
    u, s, vh = torch.linalg.svd(found.low_rank[0], full_matrices=False)
    rank = int((s > 1e-6 * s[0]).sum())
    u, vh = u[:, :rank], vh[:rank]
    support = found.sparse[0].abs() > 1e-6
    multiplier = u @ vh
    for _ in range(500):
        multiplier = torch.where(support, weight * found.sparse[0].sign(), multiplier)
        multiplier = torch.where(support, multiplier, multiplier.clamp(-weight, weight))
        rest = multiplier - u @ (u.T @ multiplier)
        rest = rest - (rest @ vh.T) @ vh
        multiplier = u @ vh + rest
    assert torch.linalg.matrix_norm(rest, ord=2) <= 1 + 1e-3
    assert (multiplier[support] - weight * found.sparse[0][support].sign()).abs().max() < 1e-3
    assert multiplier[~support].abs().max() <= weight * (1 + 1e-2)


def test_solvers_agree_on_a_real_cut(example_cut):
    image = torch.from_numpy(example_cut["spectrum"].values[::2, ::2].astype(float))[None]
    weight = 1 / math.sqrt(120)

    def objective(result):
        nuclear = torch.linalg.svdvals(result.low_rank).sum()
        return float(nuclear + weight * result.sparse.abs().sum())

    fast = principal_component_pursuit(image, tolerance=1e-5)
    exact = principal_component_pursuit(image, solver="admm", tolerance=1e-5, iterations=5000)
    assert fast.converged.all()
    assert exact.converged.all()
    assert objective(fast) == pytest.approx(objective(exact), rel=1e-3)


def test_a_larger_sparsity_weight_leaves_less_in_the_sparse_part(cut):
    parts = [cut.S.decompose_pcp(sparsity=weight).sparse for weight in (0.1, 0.3, 1.0)]
    energies = [float((part**2).sum()) for part in parts]
    assert energies[0] > energies[1] > energies[2]


def test_scale_equivariance(cut):
    one = cut.astype(float).S.decompose_pcp()
    thousand = (1000.0 * cut).S.decompose_pcp()
    xr.testing.assert_allclose(1000 * one.low_rank, thousand.low_rank, rtol=1e-4, atol=1e-2)


def test_each_image_of_a_batch_by_itself():
    images = torch.stack([sum(planted(seed)) for seed in range(3)])
    together = principal_component_pursuit(images)
    for index, image in enumerate(images):
        alone = principal_component_pursuit(image[None])
        assert alone.iterations[0] == together.iterations[index]
        torch.testing.assert_close(alone.low_rank[0], together.low_rank[index])


def test_zero_image():
    result = principal_component_pursuit(torch.zeros(1, 20, 20))
    assert result.converged.all()
    assert (result.low_rank == 0).all()
    assert (result.sparse == 0).all()


def test_the_limit_is_reported(cut):
    with pytest.warns(ConvergenceWarning, match="1 of 1 images did not converge.*raise iterations"):
        result = cut.S.decompose_pcp(iterations=3)
    assert int(result.iterations) == 3
    assert not bool(result.converged)
    assert float(result.residual) > 1e-5


def test_parts_add_up(cut):
    result = cut.S.decompose_pcp()
    xr.testing.assert_allclose(
        result.low_rank + result.sparse, cut.astype("float32"), atol=1e-3 * float(cut.max())
    )


def test_coordinates_over_batch_and_image(rng):
    stack = sample_cut(batch=3)
    stack = stack.assign_coords(Ek=(("temperature", "eV"), rng.random((3, 20))))
    parts = stack.S.decompose_pcp()
    assert parts.low_rank.coords["Ek"].identical(stack.coords["Ek"])
    assert parts.iterations.dims == ("temperature",)
    assert "hv" in parts.iterations.coords


def test_a_coordinate_with_the_name_of_a_result():
    with pytest.raises(ValueError, match="'sparse', which is the name of a result.*rename"):
        sample_cut().assign_coords(sparse=1.0).S.decompose_pcp()


def test_dimensions_of_any_name(rng):
    data = xr.DataArray(rng.random((2, 6, 7)), dims=(7, "iteration", ("a", "b")))
    parts = data.S.decompose_pcp(dims=("iteration", ("a", "b")))
    assert parts.low_rank.dims == data.dims


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_units(cut, scale):
    images = torch.from_numpy(cut.values[None].astype(float))
    found = principal_component_pursuit(images * scale).low_rank / scale
    expected = principal_component_pursuit(images).low_rank
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_batch_is_as_good_as_one_by_one():
    data = sample_cut(batch=7)
    together = data.S.decompose_pcp(device="cpu")
    for index in range(7):
        alone = data.isel(temperature=[index]).S.decompose_pcp(device="cpu")
        for name in ("low_rank", "sparse", "residual"):
            np.testing.assert_allclose(alone[name][0], together[name][index], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"solver": "magic"}, "'alm', 'admm'"),
        ({"sparsity": 0}, "sparsity must be a positive number"),
        ({"sparsity": float("nan")}, "sparsity"),
        ({"tolerance": -1}, "tolerance"),
        ({"iterations": 0}, "iterations must be a whole number"),
        ({"iterations": 2.5}, "iterations"),
    ],
)
def test_bad_parameters(cut, parameters, words):
    with pytest.raises(ValueError, match=words):
        cut.S.decompose_pcp(**parameters)
