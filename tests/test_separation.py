"""``separate_*`` on labelled data: planted mixtures, whatever users bring, real nano-XPS."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import planted
import pytest
import torch
import xarray as xr
from planted import CENTRES, ENERGY, image, odd, peak, wrong

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import (
    AxisError,
    DataError,
    DistributionWarning,
    ParameterError,
)
from arpes_ml_plugins.networks.lpalm import SeparationNetwork
from arpes_ml_plugins.separation.blind_start import factorised
from arpes_ml_plugins.separation.least_squares import least_squares, nonnegative_sources
from arpes_ml_plugins.separation.lpalm import UnrolledSeparation
from arpes_ml_plugins.separation.matching import match_families, signal_space, simplex_weights
from arpes_ml_plugins.separation.metrics import match, nmse
from arpes_ml_plugins.separation.whiten import channel_noise, whiten
from arpes_ml_plugins.training.lpalm import LOSSES, RECIPES, mixtures_like, train_network

QUICK = {"training_steps": 200, "layers": 10, "rng": 0, "device": "cpu"}
truth = partial(planted.truth, shape=(20, 24))


# -- planted mixtures ----------------------------------------------------------------------------


def test_planted_mixture_is_found(library):
    spectra, maps = truth()
    result = image(spectra, maps).S.separate_lpalm(library=library, **QUICK)
    assert result.status.item() == "ok"
    assert list(result.component.values) == list(CENTRES)
    assert wrong(result, spectra) < 1e-4
    expected = maps * spectra.max(1)  # in the unit of the data, at the peak
    error = result.maps.transpose("y", "x", "component").values - expected
    spread = result.maps_stderr.transpose("y", "x", "component").values
    seen = expected > 10
    assert np.abs(error[seen] / spread[seen]).mean() < 1.2
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.05)
    assert (result.maps >= 0).all()


def test_parts_add_up(library):
    data = image(*truth())
    result = data.S.separate_lpalm(library=library, **QUICK)
    model = result.maps.transpose("y", "x", "component").values @ result.spectra.values
    np.testing.assert_allclose(result.reconstruction.values, model, rtol=1e-9, atol=1e-9)
    xr.testing.assert_allclose(result.reconstruction + result.residual, data)
    assert result.spectra.max("eV").values == pytest.approx(1)


@pytest.mark.parametrize(
    "method", ["separate_lpalm", pytest.param("separate_palm", marks=pytest.mark.slow)]
)
def test_any_scale_gives_the_same(method, library):
    options = QUICK if method == "separate_lpalm" else {"rng": 0, "device": "cpu"}
    data = image(*truth())
    one = getattr(data.S, method)(library=library, **options)
    other = getattr((data * 1e5).S, method)(library=library, **options)
    np.testing.assert_allclose(other.spectra, one.spectra, atol=1e-6)
    np.testing.assert_allclose(other.maps, 1e5 * one.maps, atol=1)


def test_library_in_another_order(library):
    data = image(*truth())
    turned = SpectrumLibrary({name: library[name] for name in ("c", "a", "b")})
    one = data.S.separate_palm(library=library, rng=0)
    other = data.S.separate_palm(library=turned, rng=0)
    xr.testing.assert_allclose(other.spectra.sel(component=one.component), one.spectra, atol=1e-6)


@pytest.mark.parametrize("strength", [pytest.param(1 / 3, marks=pytest.mark.slow), 3, 30])
def test_sources_of_unequal_strength(strength, library):
    spectra, maps = truth(strengths=(1, strength, 1))
    result = image(spectra, maps).S.separate_lpalm(library=library, **QUICK)
    assert result.status.item() == "ok"
    assert wrong(result, spectra) < 0.006


def test_blind():
    spectra, maps = truth()
    data = image(spectra, maps)
    for result in (
        data.S.separate_lpalm(n_components=3, **QUICK),
        data.S.separate_palm(n_components=3, rng=0),
    ):
        assert wrong(result, spectra) < 1e-2
        strength = (result.maps**2).sum(("x", "y")) * (result.spectra**2).sum("eV")
        assert (np.diff(strength) <= 0).all()


def test_negative_data_keep_their_sign(library):
    spectra, maps = truth()
    maps = maps * np.random.default_rng(3).choice([-1, 1], size=maps.shape)
    result = image(spectra, maps).S.separate_lpalm(library=library, **QUICK)
    assert wrong(result, spectra) < 1e-3
    assert float(result.maps.min()) < -10


# -- failures are told ---------------------------------------------------------------------------


def test_absent_component(library):
    spectra, maps = truth(strengths=(1, 1, 0))
    with pytest.warns(DistributionWarning, match="'c' was not detected"):
        result = image(spectra, maps).S.separate_lpalm(library=library, **QUICK)
    assert "'c'" in result.status.item()
    assert float(result.maps.sel(component="c").mean()) < 1
    assert wrong(result.sel(component=["a", "b"]), spectra[:2]) < 1e-3


def test_unknown_component(library):
    spectra, maps = truth()
    stranger = np.random.default_rng(5).random((20, 24, 1)) * 80
    data = image(np.vstack([spectra, peak(0.8, 0.1)]), np.concatenate([maps, stranger], -1))
    with pytest.warns(DistributionWarning, match="do not explain"):
        result = data.S.separate_lpalm(library=library, **QUICK)
    assert wrong(result, spectra) < 1e-2  # the known ones are right all the same


def test_a_network_that_diverges_is_replaced(library):
    spectra, maps = truth()
    broken = UnrolledSeparation(40, 3, 5)
    with torch.no_grad():
        broken.weight.fill_(3.0)
    network = SeparationNetwork(broken, library, np.ones(40), 500, "robust")
    with pytest.warns(DistributionWarning, match="diverged"):
        result = image(spectra, maps).S.separate_lpalm(network=network, rng=0)
    assert wrong(result, spectra) < 1e-3


def test_without_polish_a_diverged_network_is_not_said_to_be_polished(library):
    """What is shown is the mean of each family, and ``status`` says this."""
    broken = UnrolledSeparation(40, 3, 5)
    with torch.no_grad():
        broken.weight.fill_(3.0)
    network = SeparationNetwork(broken, library, np.ones(40), 500, "robust")
    with pytest.warns(DistributionWarning, match="the mean of each family is shown instead"):
        result = image(*truth()).S.separate_lpalm(network=network, refine=False, rng=0)
    assert "least squares" not in result.status.item()
    mean = library["a"].mean("sample").values
    np.testing.assert_allclose(result.spectra[0], mean / mean.max(), atol=2e-3)


@pytest.mark.parametrize("refine", [True, False])
def test_maps_that_the_penalty_erases_are_told(refine, library):
    with pytest.warns(DistributionWarning, match="set 3 of 3 maps to zero"):
        result = image(*truth()).S.separate_palm(
            library=library, sparsity=1e5, refine=refine, rng=0
        )
    assert ("least squares" in result.status.item()) == refine
    mean = library["a"].mean("sample").values
    same = np.allclose(result.spectra[0], mean / mean.max(), atol=2e-3)
    assert same == (not refine)


@pytest.mark.parametrize(
    ("method", "flag"),
    [
        ("separate_palm", "refine"),
        ("separate_lpalm", "refine"),
        ("separate_lpalm", "match"),
        ("separate_gmca", "refine"),
        ("separate_gmca", "nonnegative"),
        ("separate_sgmca", "match"),
        ("separate_sgmca", "refine"),
        ("choose_components", "nonnegative"),
    ],
)
@pytest.mark.parametrize("value", ["no", 0])
def test_flags_are_true_or_false(method, flag, value, library):
    known = {"separate_sgmca": {"library": library}, "choose_components": {}}
    options = known.get(method, {"n_components": 2})
    with pytest.raises(ParameterError, match=f"{flag} must be True"):
        getattr(image(*truth()).S, method)(**options, **{flag: value})


@pytest.mark.slow
def test_half_splits_tell_the_scatter(library):
    """Standard errors of spectra against the scatter over realisations of the noise."""
    spectra, maps = truth()
    runs = [
        image(spectra, maps, noise=5.0, seed=s).S.separate_palm(library=library, rng=0)
        for s in range(6)
    ]
    together = xr.concat(runs, "run")
    scatter = together.spectra.std("run", ddof=1)
    ratio = float(together.spectra_stderr.mean("run").mean() / scatter.mean())
    assert 0.4 < ratio < 2.5


# -- whatever users bring ------------------------------------------------------------------------


def test_missing_pixels(library):
    spectra, maps = truth()
    data = image(spectra, maps)
    whole = data.S.separate_lpalm(library=library, **QUICK)
    holed = data.copy(deep=True)
    holed[3, 4] = np.nan  # a pixel
    holed[5, 6, :10] = np.nan  # some values of one
    holed[7, 8, 1:] = np.nan  # all values but one, which cannot tell three components apart
    result = holed.S.separate_lpalm(library=library, **QUICK)
    assert result.maps[:, 3, 4].isnull().all()
    assert np.isnan(result.residual_chi2[3, 4])
    assert result.maps[:, 7, 8].isnull().all()
    assert result.maps.isnull().sum() == 6
    assert result.reconstruction.isnull().sum() == 2 * holed.sizes["eV"] + 10
    np.testing.assert_allclose(result.maps[:, 5, 6], whole.maps[:, 5, 6], atol=8)
    np.testing.assert_allclose(result.spectra, whole.spectra, atol=0.01)


@odd
def test_constant_and_empty_channels(library):
    data = image(*truth())
    data[..., 0], data[..., 1] = 5.0, 0.0
    result = data.S.separate_lpalm(library=library, **QUICK)
    assert "1 constant channel was left out" in result.status.item()
    assert "1 channel of nothing but zeros was left out" in result.status.item()
    assert np.isfinite(result.spectra).all()
    assert float(np.abs(result.spectra[:, 1]).max()) < 1e-6


def test_batches_and_images_as_spectra():
    """Channels of two axes; space of one."""
    rng = np.random.default_rng(0)
    images = rng.random((2, 12, 10)) ** 3
    weights = 100 * rng.random((60, 2)) * (rng.random((60, 2)) < 0.6)
    values = np.einsum("tn,nij->tij", weights, images) + 0.5 * rng.normal(size=(60, 12, 10))
    data = xr.DataArray(values, dims=("temperature", "phi", "eV"))
    result = data.S.separate_palm(n_components=2, channels=["phi"], transform="none", rng=0)
    assert result.spectra.dims == ("component", "eV", "phi")
    found = result.spectra.transpose("phi", "eV", "component").values.reshape(120, 2)
    found = torch.from_numpy(found / np.linalg.norm(found, axis=0))
    expected = torch.from_numpy(images.reshape(2, 120).T)
    expected = expected / expected.norm(dim=0)
    order, _ = match(found, expected)
    assert nmse(found[:, order], expected) < 0.01


def test_library_on_another_axis(library):
    data = image(*truth())
    finer = data.isel(eV=slice(2, -2))
    result = finer.S.separate_palm(library=library, rng=0)
    assert result.spectra.sizes["eV"] == 36
    with pytest.raises(AxisError, match="library only from"):
        data.assign_coords(eV=ENERGY + 5).S.separate_palm(library=library)
    with pytest.raises(AxisError, match="no coordinate"):
        data.drop_vars("eV").S.separate_palm(library=library)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ParameterError, "either library=.*n_components="),
        ({"n_components": 0}, ParameterError, "n_components"),
        ({"n_components": 99}, DataError, "too small for 99 components"),
        ({"n_components": 2, "transform": "fourier"}, ParameterError, "transform"),
        ({"n_components": 2, "noise": -1.0}, ParameterError, "noise"),
        ({"n_components": 2, "nonnegative": "no"}, ParameterError, "nonnegative"),
        ({"n_components": 2, "noise": xr.DataArray([1.0], dims="q")}, AxisError, "noise"),
        ({"n_components": 2, "channels": ["eV"]}, AxisError, "channels names 'eV'"),
        ({"library": "W 4f"}, ParameterError, "SpectrumLibrary"),
        ({"n_components": 2, "sparsity": 0}, ParameterError, "sparsity"),
    ],
)
def test_bad_parameters(options, error, words):
    with pytest.raises(error, match=words):
        image(*truth()).S.separate_palm(**options)


def test_bad_networks(library):
    data = image(*truth())
    with pytest.raises(ParameterError, match="train_lpalm"):
        data.S.separate_lpalm(network="mine")
    network = SeparationNetwork(UnrolledSeparation(40, 3, 2), library, np.ones(40), 500, "robust")
    with pytest.raises(ParameterError, match="not both"):
        data.S.separate_lpalm(network=network, library=library)
    with pytest.raises(ParameterError, match="recipe"):
        data.S.separate_lpalm(library=library, recipe="best")
    sparse = data.where(np.random.default_rng(0).random(data.shape) < 0.25)
    with pytest.raises(DataError, match="pixels have values in most channels"):
        sparse.S.separate_palm(library=library)


def test_threads_leave_the_filters_of_warnings_as_they_were():
    """Filters belong to the process; scikit-learn warns whenever 3 rounds are too few."""
    import sklearn.exceptions  # noqa: F401  (its import adds filters)

    pixels = torch.rand((20, 200), generator=torch.Generator().manual_seed(0))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(factorised, pixels, 3, seed=seed, rounds=3) for seed in range(60)]
    assert not any(run.result()[1] for run in runs)
    assert warnings.filters == before


@pytest.mark.slow
@odd
def test_results_of_own_networks_are_replayed(tmp_path, library):
    """From a file alone: the network goes with the result, trained again or not."""
    data = image(*truth())
    network = arpes_ml_plugins.train_lpalm(library, steps=7, layers=3)
    result = data.S.separate_lpalm(network=network, rng=0)
    arpes_ml_plugins.save(result, tmp_path / "result.nc")
    again = arpes_ml_plugins.load(tmp_path / "result.nc")
    xr.testing.assert_equal(arpes_ml_plugins.replay(again, data), result)


def test_training_is_cached_and_reproducible(library, own_cache):
    first = arpes_ml_plugins.train_lpalm(library, steps=7, layers=3)
    files = set(own_cache.glob("lpalm-*"))
    seen = []
    again = arpes_ml_plugins.train_lpalm(library, steps=7, layers=3, progress=seen.append)
    assert set(own_cache.glob("lpalm-*")) == files
    assert seen[-1].done == seen[-1].total == 7
    assert torch.equal(first.network.weight, again.network.weight)
    for file in files:
        file.write_bytes(b"damaged")
    third = arpes_ml_plugins.train_lpalm(library, steps=7, layers=3)
    assert torch.equal(first.network.weight, third.network.weight)
    with pytest.raises(ParameterError, match="snr"):
        arpes_ml_plugins.train_lpalm(library, snr=(30, 10))
    with pytest.raises(AxisError, match="noise"):
        arpes_ml_plugins.train_lpalm(library, noise=xr.DataArray([1.0], dims="eV"))


@odd
def test_published_maps_are_the_networks_own(library):
    """Its own sources, not those by least squares with its spectra."""
    data = image(*truth())
    options = {"transform": "none", "recipe": "published", "training_steps": 30, "layers": 6}
    result = data.S.separate_lpalm(library=library, **options, rng=0, device="cpu")
    assert result.library_distance.isnull().all()  # neither matched nor refined
    network = arpes_ml_plugins.train_lpalm(
        library, recipe="published", snr=(30, 30), steps=30, layers=6
    )
    x = torch.from_numpy(data.transpose("eV", "y", "x").values).flatten(1)
    mixing, sources = network.network.separate(x[None], 500)
    expected = (sources[0] * mixing[0].abs().amax(0)[:, None]).reshape(3, 20, 24)
    np.testing.assert_allclose(result.maps, expected, rtol=1e-4, atol=1e-3)
    fitted = (torch.linalg.pinv(mixing[0]) @ x).reshape(3, 20, 24)
    assert float((sources[0].reshape(3, 20, 24) - fitted).norm() / fitted.norm()) > 1e-3


@odd
def test_published_maps_have_the_coarse_scale_too(library):
    """An image is its details and its coarse scale; the network sees the details only."""
    spectra, maps = truth()
    data = image(spectra, maps + 50)
    options = {"recipe": "published", "training_steps": 30, "layers": 6}
    result = data.S.separate_lpalm(library=library, **options, rng=0, device="cpu")
    assert float(result.reconstruction.mean() / data.mean()) == pytest.approx(1, abs=0.1)


def test_published_training_has_all_spectra_and_no_validation():
    """Appendix A: the loss of eq. 9, and as many steps as it says."""
    families = torch.rand(3, 40, 12, generator=torch.Generator().manual_seed(0))
    options = {"snr": (30.0, 30.0), "pixels": 50}
    mixtures, validation = mixtures_like(families, "published", **options)
    assert validation is None
    assert torch.equal(mixtures.spectra, families)
    train, held = mixtures_like(families, "robust", **options)
    assert train.spectra.shape[1] + held.spectra.shape[1] == 40
    recipe = RECIPES["published"]
    assert (recipe.steps, recipe.batch, recipe.weight_rate) == (75_000, 1, 1e-4)
    x, a, s = mixtures.draw(2, torch.Generator().manual_seed(1))
    loss = LOSSES[recipe.loss](x, a, s, 1.1 * a, 0.8 * s)
    torch.testing.assert_close(loss, torch.full((2,), 0.01 + 0.04))
    reported = []
    draw, network = torch.Generator().manual_seed(0), UnrolledSeparation(12, 3, 2)
    short = replace(recipe, steps=40)
    train_network(network, mixtures, short, draw, lambda *step: reported.append(step))
    assert sum(steps for steps, _ in reported) == 40


@odd
def test_training_leaves_the_process_alone(library, monkeypatch, own_cache):
    """Neither torch's own random numbers nor its default dtype, which other threads may use."""
    for name in ("manual_seed", "set_default_dtype", "set_rng_state", "seed"):
        monkeypatch.setattr(torch, name, lambda *_: pytest.fail("process-global state"))
    before = torch.get_rng_state()
    arpes_ml_plugins.train_lpalm(library, steps=2, layers=2, seed=91)
    arpes_ml_plugins.train_iae(library, steps=2, seed=91)
    image(*truth()).S.separate_sgmca(
        library=library, manifold="iae", training_steps=3, training_seed=92, rng=0
    )
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("train", ["train_lpalm", "train_iae"])
def test_networks_do_not_depend_on_the_default_dtype(train, library, own_cache):
    def weights(seed):
        trained = getattr(arpes_ml_plugins, train)(library, steps=3, seed=seed)
        network = trained.network if train == "train_lpalm" else trained.networks["a"]
        return [value.clone() for value in network.state_dict().values()]

    expected = weights(93)
    for file in own_cache.glob("*.safetensors"):
        file.unlink()
    torch.set_default_dtype(torch.float64)
    try:
        found = weights(93)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


# -- the pieces ----------------------------------------------------------------------------------


def test_noise_of_channels():
    draw = torch.Generator().manual_seed(0)
    true = torch.logspace(-1, 1, 20, dtype=torch.float64)
    smooth = torch.outer(torch.ones(20), torch.linspace(0, 50, 40 * 40)).double()
    rough = torch.outer(torch.rand(20, generator=draw), 30 * torch.rand(1600, generator=draw))
    for signal in (smooth, rough.double()):
        noise = true[:, None] * torch.randn(20, 1600, generator=draw).double()
        found = channel_noise((signal + noise).reshape(20, 40, 40), torch.ones(40, 40).bool())
        ratio = found / true
        assert float(ratio.median()) == pytest.approx(1, abs=0.05)
        assert ratio.min() > 0.9  # errs upwards only
    dead = torch.full((3, 5, 5), 4.0).double()
    assert (channel_noise(dead, torch.ones(5, 5).bool()) == 0).all()


def test_noise_of_few_pixels_without_order():
    """Fewer pixels than a regression on all channels needs, and no likeness of neighbours."""
    draw = torch.Generator().manual_seed(0)
    peaks = torch.stack(
        [torch.exp(-(((torch.linspace(-1, 1, 64) - c) / 0.15) ** 2)) for c in (0, 0.4)]
    )
    pixels = 30 * torch.rand(100, 2, generator=draw) @ peaks + torch.randn(100, 64, generator=draw)
    found = channel_noise(pixels.mT.double(), torch.ones(100).bool())
    assert float(found.median()) == pytest.approx(1, abs=0.15)


def test_whitened_noise_is_one():
    cube = 3 * torch.randn(12, 96, 96, generator=torch.Generator().manual_seed(0)).double()
    ready = whiten(cube, torch.ones(96, 96).bool())
    assert float(ready.pixels.std()) == pytest.approx(1, abs=0.05)
    for scale in range(3):
        part = slice(scale * 9216, (scale + 1) * 9216)
        measured = ready.sparse[:, part].std() / ready.sparse_noise[part][0]
        assert float(measured) == pytest.approx(1, abs=0.1)
    assert not whiten(cube - 30, torch.ones(96, 96).bool()).nonnegative


def test_signal_space_and_reliability():
    """Reliability is the squared cosine between the measured and the true direction."""
    draw = torch.Generator().manual_seed(0)
    cosines, predicted = [], []
    for _ in range(20):
        x = torch.randn(30, 300, generator=draw).double()
        x[0] += torch.randn(300, generator=draw).double()
        space = signal_space(x)
        assert space.directions.shape[1] <= 1
        cosines += space.directions[0].square().tolist()
        predicted += space.reliability.tolist()
    assert len(predicted) >= 10
    assert np.mean(predicted) == pytest.approx(np.mean(cosines), abs=0.1)
    assert signal_space(torch.randn(30, 300, generator=draw)).directions.shape[1] == 0


def test_matching_finds_the_exact_spectrum():
    """Correlated dense maps, which no sparsity tells apart."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.linspace(-0.2, 0.2, 80).double()
    energy = torch.linspace(-1, 1, 50).double()

    def family(at):
        rows = torch.exp(-((energy - at - centres[:, None]) ** 2) / 0.05)
        return rows / rows.norm(dim=1, keepdim=True)

    families = [family(-0.4), family(0.4)]
    true = torch.stack([f[33] for f in families], 1)
    maps = 50 + 10 * torch.randn(2, 400, generator=draw).double()
    x = true @ maps + 0.1 * torch.randn(50, 400, generator=draw).double()
    found = match_families(signal_space(x), families)
    assert found.present.all()
    assert nmse(found.spectra, true) < 1e-5


def test_nonnegative_sources_are_optimal():
    draw = torch.Generator().manual_seed(0)
    a = torch.rand(20, 4, generator=draw).double()
    x = torch.randn(20, 30, generator=draw).double()
    s = nonnegative_sources(x, a)
    from scipy.optimize import nnls

    for i in range(30):
        best, _ = nnls(a.numpy(), x[:, i].numpy())
        np.testing.assert_allclose(s[:, i], best, atol=1e-5)
    positive = a @ torch.rand(4, 5, generator=draw).double()
    assert torch.allclose(nonnegative_sources(positive, a), least_squares(positive, a)[0])


def test_simplex_weights_add_up():
    corners = torch.rand(8, 5, generator=torch.Generator().manual_seed(0)).double()
    weights = simplex_weights(corners, corners @ torch.tensor([0.5, 0.2, 0, 0.3, 0]).double())
    assert (weights >= 0).all()
    assert float(weights.sum()) == pytest.approx(1)


# -- real data -----------------------------------------------------------------------------------


def test_nano_xps(examples):
    nano = examples.nano_xps.spectrum
    with pytest.warns(DistributionWarning, match="uncertain"):  # two look like the background
        result = nano.S.separate_palm(n_components=3, rng=0)
    assert float(result.residual_chi2.mean()) < 1.15
    flake = result.maps[1]  # W 4f, of the flake alone
    bright = flake > 0.5 * float(flake.max())
    assert 0.05 < float(bright.mean()) < 0.4
    assert float(result.spectra[1].idxmax("eV")) == pytest.approx(-32.5, abs=0.15)
    assert result.maps.coords["x"].identical(nano.coords["x"])


@pytest.mark.skipif(
    not Path(os.environ.get("CASSIOPEIA_XRAY", "")).is_file(),
    reason="CASSIOPEIA_XRAY does not name the file of the public simulations",
)
def test_public_simulations():
    file = np.load(os.environ["CASSIOPEIA_XRAY"])
    names = ("sync", "therm", "fe1", "fe2")
    axis = {"eV": np.arange(65.0)}
    families = {n: xr.DataArray(file[f"spectra_{n}"][:600], axis, ("sample", "eV")) for n in names}
    spectra = np.stack([file[f"spectra_{n}"][700] for n in names])
    maps = np.stack([file[f"map_{n}"] / np.linalg.norm(file[f"map_{n}"]) for n in names], -1)
    clean = maps @ spectra
    sigma = np.sqrt((clean**2).mean() * 1e-3)
    values = clean + sigma * np.random.default_rng(0).normal(size=clean.shape)
    data = xr.DataArray(values, axis, ("y", "x", "eV"))
    with pytest.warns(DistributionWarning):
        result = data.S.separate_lpalm(library=SpectrumLibrary(families), **QUICK)
    found = torch.from_numpy(result.spectra.values.T).double()
    expected = torch.from_numpy(spectra.T / np.linalg.norm(spectra.T, axis=0))
    assert nmse(found / found.norm(dim=0), expected) < 1e-4
