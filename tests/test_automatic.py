"""``denoise``: what it chooses, and that it records the choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.recipes import RECIPES, ROBUST
from arpes_ml_plugins.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def cut():
    return simulate_scene((48, 48), counts=6, rng=5)["spectrum"]


@pytest.fixture
def quick(monkeypatch):
    """The two-stage method with few iterations; its quality is tested elsewhere."""
    monkeypatch.setitem(RECIPES, "robust", replace(ROBUST, iterations=4, networks=1))


def found(result):
    return result.attrs["provenance"]["record"]["found"]


def test_counts_go_to_the_pretrained_network(cut):
    clean = cut.S.denoise(rng=0, adapt=False)
    assert found(clean)["method"] == "denoise_pretrained"
    assert "electrons per pixel" in found(clean)["why"]
    assert len(found(clean)["weights"]["denoiser"]) == 64
    xr.testing.assert_equal(clean, cut.S.denoise_pretrained(rng=0, adapt=False))


@pytest.mark.parametrize(
    ("change", "method", "words"),
    [
        (lambda d: d - d[::-1].values, "denoise_pretrained", "negative"),
        (lambda d: 0 * d + 3.0, "denoise_pcp_unet", "too few"),
        (lambda d: d + 100.0, "denoise_pretrained", "pedestal"),
        (
            lambda d: d.interp(eV=d.eV + 0.5 * float(d.eV[1] - d.eV[0])),
            "denoise_pretrained",
            "correlated",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.* gain is uncertain:arpes_ml_plugins.errors.CountsWarning")
@pytest.mark.filterwarnings("ignore:the difference between data and clean image")  # mirrored noise
def test_other_data(cut, quick, change, method, words):
    clean = change(cut).S.denoise(rng=0)
    assert found(clean)["method"] == method
    assert words in found(clean)["why"]


@pytest.mark.slow
def test_asked_for(cut, quick):
    for name in ("counts", "pcp_unet", "pretrained"):
        clean = cut.S.denoise(method=name, gain=1, adapt=False, rng=0)
        assert found(clean)["method"] == f"denoise_{name}"
        assert found(clean)["why"] == "it was requested"
    assert found(cut.S.denoise(gain=1, adapt=False, rng=0))["why"] == "gain was given"


@pytest.mark.parametrize("offset", [0.0, -3.0])
@pytest.mark.filterwarnings("ignore:.* gain is uncertain:arpes_ml_plugins.errors.CountsWarning")
def test_lazy_data_get_the_same(cut, quick, offset):
    data = cut + offset
    lazy = data.chunk({"eV": 20}).S.denoise(adapt=False, rng=0)
    assert lazy.chunks is not None
    eager = data.S.denoise(adapt=False, rng=0)
    scale = float(abs(eager).max())
    np.testing.assert_allclose(lazy.compute(scheduler="synchronous"), eager, atol=1e-4 * scale)


@pytest.mark.parametrize("offset", [0.0, -3.0])
@pytest.mark.filterwarnings("ignore:.* gain is uncertain:arpes_ml_plugins.errors.CountsWarning")
def test_the_choice_for_lazy_data_can_be_read_once_they_are_computed(cut, quick, offset, tmp_path):
    data = cut + offset
    eager = data.S.denoise(adapt=False, rng=0)
    lazy = data.chunk({"eV": 20}).S.denoise(adapt=False, rng=0)
    assert lazy.denoise_method.chunks is not None  # not known yet
    assert "denoise_method" in found(lazy)["method"]
    assert found(lazy)["weights"] == found(cut.S.denoise_pretrained(adapt=False))["weights"]
    done = lazy.compute(scheduler="synchronous")
    assert done.denoise_method.item() == found(eager)["method"]
    assert done.denoise_reason.item() == found(eager)["why"]
    arpes_ml_plugins.save(done, tmp_path / "done.nc")
    assert (
        arpes_ml_plugins.load(tmp_path / "done.nc").denoise_method.item()
        == (found(eager)["method"])
    )


def test_the_choice_for_a_lazy_dataset(cut):
    data = xr.Dataset({"spectrum": cut.chunk(), "current": 3.0})
    clean = data.S.denoise(adapt=False, rng=0).compute(scheduler="synchronous")
    assert clean["spectrum"].denoise_method.item() == "denoise_pretrained"
    assert "electrons per pixel" in clean["spectrum"].denoise_reason.item()


def test_a_dataset_keeps_the_rest(cut):
    data = xr.Dataset({"spectrum": cut, "current": 3.0})
    clean = data.S.denoise(gain=1, adapt=False, rng=0)
    assert float(clean["current"]) == 3
    assert found(clean)["method"] == "denoise_pretrained"


@pytest.mark.parametrize(
    "options", [{"method": "magic"}, {"gain": 0}, {"adapt": "no"}, {"adapt": 1}, {"adapt": None}]
)
def test_bad_parameters(cut, options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        cut.S.denoise(**options)


@pytest.mark.parametrize("lazy", [False, True])
def test_second_derivatives_are_refused(lazy):
    """The network takes their structure for noise: it was up to 20 times worse than the data."""
    from scipy.ndimage import gaussian_filter

    energy, momentum = np.meshgrid(np.linspace(-0.4, 0.1, 96), np.linspace(-0.3, 0.3, 96))
    rate = 60 / (1 + ((energy + 0.3 - 4 * momentum**2) / 0.02) ** 2) + 3
    counts = np.random.default_rng(0).poisson(rate).astype(float)
    curved = xr.DataArray(-gaussian_filter(counts, 2, order=(0, 2)), dims=("phi", "eV"))
    data = curved.chunk({"phi": 48}) if lazy else curved
    with pytest.raises(DataError, match=r"second derivative.*method='pcp_unet'"):
        data.S.denoise(adapt=False, rng=0).compute()
    assert str(curved.S.estimate_noise().kind.values) == "derivative"


@pytest.mark.parametrize("change", ["difference", "background", "slope"])
def test_other_subtracted_data_are_no_derivatives(change):
    rng = np.random.default_rng(1)
    energy, momentum = np.meshgrid(np.linspace(-0.4, 0.1, 96), np.linspace(-0.3, 0.3, 96))
    rate = 20 / (1 + ((energy + 0.3 - 4 * momentum**2) / 0.02) ** 2) + 3
    one, other = rng.poisson([rate, np.roll(rate, 2, 1)]).astype(float)
    values = {
        "difference": one - other,
        "background": one - one.mean(1, keepdims=True),
        "slope": np.gradient(one, axis=1),
    }[change]
    data = xr.DataArray(values, dims=("phi", "eV"))
    assert str(data.S.estimate_noise().kind.values) != "derivative"
