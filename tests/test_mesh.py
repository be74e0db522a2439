"""A mesh is found if there is one, and the sample's own periods are no mesh."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.denoising import noise_estimate
from arpes_ml_plugins.denoising.mesh import estimate_mesh
from arpes_ml_plugins.denoising.splitting import Counts, predict
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.methods.stored_network import pretrained
from arpes_ml_plugins.scoring import psnr

SIZE = 160
ROWS, COLUMNS = np.indices((SIZE, SIZE)).astype(float)
K, E = 2 * ROWS / SIZE - 1, 2 * COLUMNS / SIZE - 1
EDGE = 1 / (1 + np.exp(np.clip((E - 0.6) / 0.03, -50, 50)))


def line(distance, width):
    return 1 / (1 + (2 * distance / width) ** 2)


def band():
    scene = EDGE * (0.2 + line(E - 0.4 + 0.9 * K**2, 0.15)) + 0.05
    return scene / scene.mean()


def wires(period, degrees, *, depth=0.25, bend=0.0, directions=2, shift=0.0):
    """Transmission over its mean."""
    angle = np.deg2rad(degrees)
    rows, columns = ROWS + bend * E**2 - shift, COLUMNS + bend * K * E
    along = np.cos(angle) * rows + np.sin(angle) * columns
    across = np.cos(angle) * columns - np.sin(angle) * rows
    flat = np.ones_like(ROWS)
    for place in (along, across)[:directions]:
        distance = np.abs((place / period + 0.5) % 1 - 0.5)
        flat *= 1 - depth / (1 + np.exp((distance - 0.125) / 0.03))
    return flat / flat.mean()


def counts(rate, seed=0):
    return np.random.default_rng(seed).poisson(rate).astype(float)


def denoised(images, valid):
    network = pretrained(0)
    with torch.no_grad():
        return predict(network, Counts(images.float(), valid, False), flips=1, pixels=SIZE**2).to(
            images
        )


def found_in(images):
    images = torch.as_tensor(images).reshape(-1, SIZE, SIZE)
    return estimate_mesh(images, torch.ones_like(images, dtype=torch.bool), denoised)


def labelled(values):
    return xr.DataArray(
        values, dims=("eV", "phi"), coords={"eV": E[0], "phi": K[:, 0]}, attrs={"sample": "Bi"}
    )


@pytest.mark.parametrize(
    "mesh",
    [
        {"period": 5.3, "degrees": -12},
        {"period": 11.7, "degrees": 3},
        {"period": 20, "degrees": 40},
        {"period": 11.7, "degrees": 3, "directions": 1},
        {"period": 9.2, "degrees": 0, "directions": 1},
        {"period": 11.7, "degrees": 3, "bend": 3.0},
    ],
    ids=str,
)
def test_meshes_are_found(mesh):
    flat = wires(**mesh)
    result = found_in(counts(30 * band() * flat))
    assert len(result.frequencies) == mesh.get("directions", 2)
    periods = 1 / result.frequencies.norm(dim=1)
    assert periods.numpy() == pytest.approx(mesh["period"], rel=0.02)
    assert np.std(result.flat.numpy() - flat) < 0.25 * np.std(flat)
    assert float(result.flat.mean()) == pytest.approx(1, abs=0.01)


PERIODIC = {
    "band": band(),
    "flat field": np.ones_like(E),
    "lines parallel to an axis": EDGE * (0.1 + sum(line(E - 0.15 * n, 0.04) for n in range(-6, 5))),
    "columns": EDGE * (0.1 + sum(line(K - 0.15 * n, 0.04) for n in range(-6, 7))),
    "replicas": EDGE
    * (0.1 + sum(line(E - 0.4 + 4 * (K - 0.2 * n) ** 2, 0.05) for n in range(-6, 7))),
    "moire": EDGE
    * (0.05 + line(E + 0.2 - 0.3 * K, 0.4) * (1 + 0.5 * np.cos(2 * np.pi * (10 * K + 4 * E)))),
    "pockets": 0.05
    + sum(
        line(np.hypot(K - 0.2 * n, E - 0.2 * m) - 0.07, 0.03)
        for n in range(-5, 6)
        for m in range(-5, 6)
    ),
    "standing wave": band()
    * (1 + 0.2 * np.cos(2 * np.pi * (np.arange(SIZE) / 9.7 + np.arange(SIZE)[:, None] / 60))),
    "stripes of bins": np.where(np.arange(SIZE) % 4 == 0, 2.0, 1.0) * band(),
}


@pytest.mark.parametrize("level", [1, 30, 1000])
@pytest.mark.parametrize("name", PERIODIC)
def test_the_sample_is_no_mesh(name, level):
    scene = PERIODIC[name]
    result = found_in(counts(level * scene / scene.mean()))
    assert not result.found
    assert bool((result.flat == 1).all())
    assert result.depth == 0


def test_one_mesh_for_many_images():
    """Too few counts in each."""
    flat = wires(11.7, 3)
    images = np.stack([counts(0.3 * np.roll(band(), 6 * n, 0) * flat, n) for n in range(25)])
    assert not found_in(images[0]).found
    result = found_in(images)
    assert np.std(result.flat.numpy() - flat) < 0.4 * np.std(flat)


def test_small_images_have_none():
    images = torch.ones(1, 40, 40, dtype=torch.float64)
    assert not estimate_mesh(images, images > 0, denoised).found


def test_remove_mesh_keeps_labels_and_missing_values():
    flat = wires(11.7, 3)
    values = counts(20 * band() * flat)
    values[ROWS + COLUMNS < 40] = np.nan
    cut = labelled(values)
    result = cut.S.remove_mesh()
    np.testing.assert_allclose(result.clean.values, values / result.flat.values)
    assert result.clean.dims == cut.dims
    assert result.clean.attrs["sample"] == "Bi"
    xr.testing.assert_equal(result.flat.coords["eV"], cut.coords["eV"])
    assert np.nanstd(result.flat.values - flat) < 0.25 * np.std(flat)
    found = result.attrs["provenance"]["record"]["found"]
    assert sorted(found["mesh_periods"]) == pytest.approx([11.7, 11.7], rel=0.01)
    assert found["mesh"].startswith("A mesh was divided out")


def test_without_a_mesh_nothing_changes():
    cut = labelled(counts(20 * band()))
    result = cut.S.remove_mesh()
    assert bool((result.flat == 1).all())
    np.testing.assert_array_equal(result.clean, cut)
    assert result.attrs["provenance"]["record"]["found"]["mesh"] == "No mesh was found."
    with_, without = (cut.S.denoise(adapt=False, rng=0, mesh=m) for m in ("auto", None))
    np.testing.assert_array_equal(with_, without)


@pytest.mark.slow
def test_meshes_of_their_own():
    """Swept over the detector, the mesh is elsewhere in each image."""
    flats = np.stack([wires(11.7, 3, shift=4 * n) for n in range(3)])
    scan = xr.DataArray(counts(30 * band() * flats), dims=("temperature", "eV", "phi"))
    result = scan.S.remove_mesh(fixed=False)
    assert result.flat.dims == scan.dims
    assert np.std(result.flat.values - flats) < 0.25 * np.std(flats)


@pytest.mark.parametrize("lazy", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_denoise_divides_the_mesh_out(lazy):
    rate = 10 * band()
    cut = labelled(counts(rate * wires(11.7, 3)))
    data = cut.chunk({"phi": 40}) if lazy else cut
    clean = data.S.denoise(adapt=False, rng=0)
    ignored = cut.S.denoise(adapt=False, rng=0, mesh=None)
    truth = labelled(rate)
    assert psnr(clean.compute(), truth) > psnr(ignored, truth) + 8
    if not lazy:
        found = clean.attrs["provenance"]["record"]["found"]
        assert found["mesh"].startswith("A mesh was divided out")
        assert found["mesh_depth"] > 0.3
        assert "mesh" not in ignored.attrs["provenance"]["record"]["found"]


@pytest.mark.parametrize("depth", [0.0, 0.25])
def test_noise_is_estimated_again_only_behind_a_mesh(depth, monkeypatch):
    cut = labelled(counts(10 * band() * wires(11.7, 3, depth=depth)))
    estimate, calls = noise_estimate.estimate, []

    def counted(*arguments, **options):
        calls.append(1)
        return estimate(*arguments, **options)

    monkeypatch.setattr(noise_estimate, "estimate", counted)
    eager = cut.S.denoise(adapt=False, rng=0)
    assert len(calls) == (2 if depth else 1)
    lazy = cut.chunk().S.denoise(adapt=False, rng=0).compute(scheduler="sync")
    assert len(calls) == 2 * (2 if depth else 1)
    np.testing.assert_allclose(lazy, eager, rtol=1e-6)


def test_lines_that_may_be_the_sample_are_told():
    """Nothing tells parallel wires from parallel dark lines of the sample."""
    cut = labelled(counts(30 * band() * wires(11.7, 20, depth=0.4, directions=1)))
    with pytest.warns(CountsWarning, match=r"dark lines 11\.[67] px apart .* mesh=None"):
        cut.S.denoise(adapt=False, rng=0)


def test_lazy_and_eager_agree():
    cut = labelled(counts(10 * band() * wires(11.7, 3)))
    eager, lazy = (x.S.remove_mesh() for x in (cut, cut.chunk({"eV": 50})))
    assert lazy.flat.chunks is not None
    np.testing.assert_allclose(lazy.flat.compute(), eager.flat)


def test_a_pattern_that_may_be_a_mesh_is_told():
    """Narrow places are bright: no mesh, but periodic everywhere."""
    rows, columns = np.indices((128, 128))
    lines = 1 + 0.5 * (rows % 11 < 3)
    counts = np.random.default_rng(0).poisson(30 * (0.3 + columns / 128) * lines)
    data = xr.DataArray(counts, dims=("phi", "eV"))
    result = data.S.remove_mesh()
    words = result.attrs["provenance"]["record"]["found"]["mesh"]
    assert float(result["depth"]) == 0
    assert float(result["period_1"]) == pytest.approx(11, abs=0.2)
    assert "may be one" in words
    clean = data.S.denoise_pretrained(adapt=False, mesh="auto", rng=0)
    assert clean.attrs["provenance"]["record"]["found"]["mesh"] == words


@pytest.mark.parametrize("seed", [0, 4])
def test_lines_that_were_divided_by_numbers_of_their_own_are_no_wires(seed):
    """The numbers are exact, so the mesh is looked for without them."""
    rng = np.random.default_rng(seed)
    row, column = np.indices((96, 96))
    truth = 10 * (0.3 + np.exp(-(((column - 30 - 0.4 * row) / 6) ** 2) / 2))
    factors = rng.uniform(0.6, 1.5, (96, 1))
    data = xr.DataArray(rng.poisson(truth) * factors, dims=("phi", "eV"))
    clean = data.S.denoise_pretrained(adapt=False, rng=0)
    assert clean.attrs["provenance"]["record"]["found"]["mesh"] == "No mesh was found."
    assert np.sqrt(np.mean((clean.values / factors - truth) ** 2)) < 0.12 * np.sqrt(truth.mean())
