"""Simulated scenes: reproducible, physical, open about their truth."""

from __future__ import annotations

import numpy as np
import pytest

import arpes_ml_plugins
from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.simulation.self_energy import SelfEnergy


def test_same_seed_same_scene():
    first, again = (arpes_ml_plugins.simulate_scene((40, 50), rng=3) for _ in range(2))
    assert first.identical(again)
    assert not first.equals(arpes_ml_plugins.simulate_scene((40, 50), rng=4))


def test_counts_are_poisson_of_the_truth():
    scene = arpes_ml_plugins.simulate_scene((200, 200), counts=5, rng=0)
    assert float(scene.truth.mean()) == pytest.approx(5)
    chi2 = ((scene.spectrum - scene.truth) ** 2 / scene.truth).where(scene.truth > 0.5).mean()
    assert float(chi2) == pytest.approx(1, abs=0.05)


def test_all_draws_are_usable():
    for seed in range(60):
        scene = arpes_ml_plugins.simulate_scene((32, 40), rng=seed)
        truth = scene["truth"].values
        assert np.isfinite(truth).all()
        assert truth.min() >= 0
        assert truth.max() <= 3.1e4
        assert (np.diff(scene["eV"]) > 0).all()


def test_a_series_changes_little_from_slice_to_slice():
    scene = arpes_ml_plugins.simulate_scene((64, 64), slices=6, counts=5, rng=2)
    truth = scene["truth"]
    near = float(abs(truth[2] - truth[3]).mean())
    far = float(abs(truth[0] - truth[5]).mean())
    assert truth.dims == ("scan", "eV", "phi")
    assert 0 < near < far


@pytest.mark.parametrize(
    "options",
    [{"size": (8, 40)}, {"size": (40,)}, {"counts": 0}, {"counts": np.inf}, {"slices": 0}],
)
def test_bad_parameters(options):
    with pytest.raises(ParameterError):
        arpes_ml_plugins.simulate_scene(**options)


def test_the_self_energy_is_causal():
    """Debye phonons at T = 0 have a real part that is known in closed form."""
    coupling, cutoff = 0.8, 0.06
    own = SelfEnergy(0.01, 0.0, 1.0, coupling, cutoff, temperature=1.0)
    energy = np.linspace(-0.15, 0.15, 301)
    real, width = own(energy)
    x = energy / cutoff + 1e-9
    expected = -(coupling * cutoff / 3) * (
        x**3 * np.log(np.abs(1 - x**-2)) + np.log(np.abs((1 + x) / (1 - x))) + x
    )
    away = np.abs(np.abs(x) - 1) > 0.15
    np.testing.assert_allclose(real[away], expected[away], atol=0.12 * np.abs(expected).max())
    saturated = 0.01 + np.pi * coupling * cutoff / 3
    assert width.max() == pytest.approx(saturated, rel=0.02)
    assert width[150] == pytest.approx(0.01, abs=0.001)


def test_hot_electrons_scatter_more():
    energy = np.linspace(-0.1, 0.1, 101)
    cold, hot = (SelfEnergy(0.01, 1.0, 1.0, 0.5, 0.05, t)(energy)[1] for t in (10, 300))
    assert (hot > cold).all()


@pytest.mark.pyarpes
def test_scenes_convert_to_momentum_in_pyarpes():
    pytest.importorskip("arpes.xarray_extensions")
    from arpes.utilities.conversion import convert_to_kspace

    scene = arpes_ml_plugins.simulate_scene((40, 50), counts=5, rng=0)
    momentum = convert_to_kspace(scene["truth"])
    reach = 0.5123 * np.sqrt(21.2 - 4.3) * np.sin(float(abs(scene.phi).max()))
    assert set(momentum.dims) == {"eV", "kp"}
    assert float(momentum.kp.max()) == pytest.approx(reach, rel=0.05)


def test_scenes_convert_to_momentum_in_erlab():
    pytest.importorskip("erlab")
    scene = arpes_ml_plugins.simulate_scene((40, 50), counts=5, rng=0)
    cut = scene["truth"].rename(phi="alpha")
    momentum = cut.assign_coords(alpha=np.rad2deg(cut.alpha)).kspace.convert(silent=True)
    assert set(momentum.dims) == {"kx", "eV"}
