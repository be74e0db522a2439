"""Denoisers for counts: splitting, the referee, what they keep and what they refuse."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter, uniform_filter1d

import arpes_ml_plugins
from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising import network_image
from arpes_ml_plugins.denoising.adapting import Training
from arpes_ml_plugins.denoising.counts_denoiser import ADAPTED, denoise_counts_images, new_network
from arpes_ml_plugins.denoising.mixture import DRAWS, ROUNDS
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.plan import ALL_FLIPS, FLIPS, steps_of
from arpes_ml_plugins.denoising.splitting import Counts, predict, split, whole_counts
from arpes_ml_plugins.errors import AxisError, CountsWarning, DataError, ParameterError
from arpes_ml_plugins.labelled.series import choose_series
from arpes_ml_plugins.methods.counts_run import CountsRun


def band(mean_counts: float, size: int = 80, bottom: float = -0.6) -> np.ndarray:
    """Expected counts of a curved band with a Fermi edge, (energy, momentum)."""
    k, w = np.linspace(-1, 1, size)[None, :], np.linspace(-1, 0.3, size)[:, None]
    rate = 0.03 / ((w - bottom - 0.7 * k**2) ** 2 + 0.03) + 0.2 - 0.1 * w
    rate = rate / (1 + np.exp(w / 0.05)) + 0.02
    return rate * mean_counts / rate.mean()


def labelled(values, *dims):
    return xr.DataArray(values, dims=(*dims, "eV", "phi"))


@pytest.fixture(scope="module")
def truth():
    return band(8.0)


@pytest.fixture(scope="module")
def counts(truth):
    return np.random.default_rng(0).poisson(truth).astype(float)


def as_counts(values, *, reach=0):
    images = torch.from_numpy(np.atleast_3d(values).reshape(-1, *values.shape[-2:])).float()
    return Counts(images, torch.ones_like(images, dtype=torch.bool), reach)


def squared_error(image, truth):
    return float(np.mean((np.asarray(image) - truth) ** 2))


class TestSplitting:
    def test_parts_add_up_and_are_independent(self):
        image = torch.poisson(torch.full((1, 300, 300), 6.0), generator=torch.Generator())
        whole = Counts(image, torch.ones_like(image, dtype=torch.bool), False)
        first, second = split(whole, 0.3, torch.Generator().manual_seed(0))
        assert torch.equal(first.images + second.images, image)
        assert float(first.images.mean()) == pytest.approx(1.8, rel=0.01)
        for part, mean in ((first, 1.8), (second, 4.2)):
            assert float(part.images.var()) == pytest.approx(mean, rel=0.03)
        together = torch.stack([first.images.flatten(), second.images.flatten()])
        assert abs(float(torch.corrcoef(together)[0, 1])) < 0.015

    def test_whole_counts_keep_the_mean(self):
        values = torch.full((1, 400, 400), 7.3 / 3, dtype=torch.float64)
        found = whole_counts(values, torch.Generator().manual_seed(0))
        assert set(found.unique().tolist()) == {2.0, 3.0}
        assert float(found.mean()) == pytest.approx(7.3 / 3, rel=2e-3)

    def test_whole_counts_are_left_alone(self):
        exact = torch.arange(1000.0).reshape(1, 20, 50) * 0.1
        found = whole_counts(exact / 0.1, torch.Generator())
        assert torch.equal(found.flatten(), torch.arange(1000.0))


class TestReferee:
    @pytest.mark.slow
    def test_training_from_nothing_is_used(self, counts, truth):
        cut = labelled(counts)
        untrained = new_network(0)
        blurred = predict(untrained, as_counts(counts), flips=1, pixels=10_000).detach()[0]
        clean = cut.S.denoise_counts(gain=1, rng=0)
        assert squared_error(clean, truth) < 0.7 * squared_error(blurred, truth)

    def test_a_network_that_sees_things_is_replaced(self, counts):
        """Even adapted, it must not lose to a Gaussian filter by the measure of held-out counts."""
        network = new_network(0)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            network.leave.weight.copy_(torch.randn(network.leave.weight.shape, generator=generator))
        cut = as_counts(counts)
        with pytest.warns(CountsWarning, match="Gaussian filter"):
            result = denoise_counts_images(
                cut.images.double(),
                cut.valid,
                NoiseModel(1.0),
                network,
                Training(steps=1, learning_rate=1e-9),
                series=False,
                seed=0,
            )
        assert squared_error(result.clean[0], band(8.0)) < 0.3 * squared_error(counts, band(8.0))


class TestQuality:
    @pytest.mark.parametrize("adapt", [False, True])
    def test_far_better_than_a_gaussian(self, counts, truth, adapt):
        best = min(
            squared_error(gaussian_filter(counts, s), truth) for s in np.arange(0.5, 6, 0.25)
        )
        clean = labelled(counts).S.denoise_pretrained(adapt=adapt, rng=0)
        assert squared_error(clean, truth) < 0.5 * best

    @pytest.mark.parametrize("mean_counts", [0.3, 1.0, 30.0])
    def test_counts_are_conserved(self, mean_counts):
        values = np.random.default_rng(1).poisson(band(mean_counts, 120))
        clean = labelled(values).S.denoise_pretrained(adapt=False, gain=1, rng=0)
        tolerance = 0.01 + 1 / np.sqrt(values.sum())
        assert float(clean.sum()) == pytest.approx(values.sum(), rel=tolerance)

    @pytest.mark.parametrize("mean_counts", [0.5, 20.0])
    def test_no_structure_is_invented(self, mean_counts):
        """Where there is nothing, there is nothing afterwards: less than a tenth of the noise."""
        flat = np.random.default_rng(2).poisson(mean_counts, (96, 96))
        clean = labelled(flat).S.denoise_pretrained(adapt=False, gain=1, rng=0)
        assert float(clean.std()) < 0.1 * np.sqrt(mean_counts)

    def test_the_default_dtype_of_the_user_does_not_matter(self, counts):
        options = {"gain": 1, "rng": 0, "iterations": 3, "precision": "float32"}
        expected = labelled(counts[:, :40]).S.denoise_counts(**options)
        torch.set_default_dtype(torch.float64)
        try:
            result = labelled(counts[:, :40]).S.denoise_counts(**options)
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)
        xr.testing.assert_equal(result, expected)

    def test_any_unit_gives_the_same(self, counts):
        clean = labelled(counts).S.denoise_pretrained(adapt=False, rng=0)
        scaled = labelled(counts * 0.125).S.denoise_pretrained(adapt=False, rng=0)
        np.testing.assert_allclose(scaled, 0.125 * clean, rtol=1e-5)

    def test_mirror_images_give_mirror_images(self, counts):
        options = {"adapt": False, "gain": 1, "rng": 0}
        clean = labelled(counts).S.denoise_pretrained(**options).values
        turned = labelled(counts[:, ::-1]).S.denoise_pretrained(**options).values[:, ::-1]
        assert squared_error(turned, clean) < 0.2 * squared_error(clean, band(8.0))

    def test_bands_stay_where_they_are(self, counts, truth):
        clean = labelled(counts).S.denoise_pretrained(rng=0).values
        rows = np.arange(len(truth))[:, None]
        top = slice(15, 65)

        def centre(image):
            weight = image[:40, top] ** 2
            return (weight * rows[:40]).sum(0) / weight.sum(0)

        shift = centre(clean) - centre(truth)
        assert np.sqrt(np.mean(shift**2)) < 0.3
        assert abs(shift.mean()) < 0.1


class TestErrorBars:
    @pytest.mark.parametrize(
        "seed",
        [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)],
    )
    def test_they_hold_the_truth_two_times_in_three(self, seed):
        scene = simulate_scene((128, 128), counts=[0.5, 3, 15, 80][seed], rng=40 + seed)
        result = scene.spectrum.S.decompose_pretrained(adapt=False, gain=1, rng=0)
        inside = (result.lower <= scene.truth) & (scene.truth <= result.upper)
        assert 0.5 < float(inside.mean()) < 0.88

    @pytest.mark.slow
    def test_over_exposures(self):
        fractions = []
        for seed, counts in enumerate((0.5, 3, 15, 80)):
            scene = simulate_scene((128, 128), counts=counts, rng=40 + seed)
            result = scene.spectrum.S.decompose_pretrained(adapt=False, gain=1, rng=0)
            inside = (result.lower <= scene.truth) & (scene.truth <= result.upper)
            fractions.append(float(inside.mean()))
        assert min(fractions) > 0.5
        assert 0.6 < np.mean(fractions) < 0.78

    @pytest.mark.slow
    def test_on_average(self):
        shares = []
        for seed in range(8):
            scene = simulate_scene((64, 64), counts=5, rng=60 + seed)
            result = scene.spectrum.S.decompose_pretrained(adapt=False, gain=1, rng=0)
            inside = (result.lower <= scene.truth) & (scene.truth <= result.upper)
            shares.append(float(inside.mean()))
        assert 0.60 < np.mean(shares) < 0.76

    @pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
    def test_structure_that_was_missed_widens_them(self, counts, truth):
        """Texture that the network smooths away shows as misfit over a few pixels.

        In single pixels it could not be told from noise that is stronger than that of counts.
        """
        rng = np.random.default_rng(3)
        signs = rng.choice((-1, 1), [-(-size // 3) for size in truth.shape])
        blocks = np.kron(signs, np.ones((3, 3)))[: truth.shape[0], : truth.shape[1]]
        texture = truth * 12 * (1 + 0.25 * blocks)
        options = {"adapt": False, "gain": 1, "rng": 0}
        rough, plain = (
            labelled(rng.poisson(rate)).S.decompose_pretrained(**options)
            for rate in (texture, truth * 12)
        )
        widths = [float((r.upper - r.clean).mean()) for r in (rough, plain)]
        assert widths[0] > 1.5 * widths[1]

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:the difference between data and clean image")
    @pytest.mark.filterwarnings("ignore:.* gain is uncertain:arpes_ml_plugins.errors.CountsWarning")
    def test_over_dispersed_counts_have_larger_ones(self, truth):
        """Variance m + m² / 20: the bars hold the truth, and are not wider than that."""
        inside = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            values = rng.poisson(rng.gamma(20, truth * 10 / 20))
            bars = labelled(values).S.decompose_pretrained(adapt=False, rng=0)
            held = (bars.lower <= 10 * truth) & (10 * truth <= bars.upper)
            inside.append(float(held.mean()))
        assert 0.55 < np.mean(inside) < 0.85


class TestDefects:
    def test_hot_pixels_are_filled_in(self, counts, truth):
        hot = np.random.default_rng(1).random(counts.shape) < 0.005
        spoiled = np.where(hot, 3 * counts.max(), counts)
        options = {"adapt": False, "rng": 0}
        errors = [
            squared_error(labelled(v).S.denoise_pretrained(**options), truth)
            for v in (counts, spoiled)
        ]
        assert errors[1] < 1.15 * errors[0]

    def test_dead_lines_are_filled_in(self, counts, truth):
        spoiled = counts.copy()
        spoiled[:, 33] = spoiled[20] = 0
        clean = labelled(spoiled).S.denoise_pretrained(adapt=False, rng=0).values
        dead = np.zeros(truth.shape, dtype=bool)
        dead[:, 33] = dead[20] = True
        assert np.sqrt(np.mean((clean / truth - 1)[dead & (truth > 2)] ** 2)) < 0.15

    def test_a_real_dark_line_stays(self):
        """A gap in the intensity as wide as the resolution is no dead line."""
        rate = band(20.0)
        rate[:, 38:42] = 0.2
        values = np.random.default_rng(0).poisson(rate)
        clean = labelled(values).S.denoise_pretrained(adapt=False, gain=1, rng=0).values
        assert clean[:50, 39:41].mean() < 0.1 * rate[:50].mean()

    def test_missing_corners(self, counts, truth):
        row, column = np.indices(counts.shape)
        gone = row + column < 40
        holed = np.where(gone, np.nan, counts)
        clean = labelled(holed).S.denoise_pretrained(adapt=False, rng=0).values
        assert (np.isnan(clean) == gone).all()
        whole = labelled(counts).S.denoise_pretrained(adapt=False, rng=0).values
        assert squared_error(clean[~gone], truth[~gone]) < 1.6 * squared_error(
            whole[~gone], truth[~gone]
        )


def smoothed(values):
    return xr.DataArray(values, dims=("eV", "phi")).rolling(phi=3, min_periods=1).mean()


@pytest.mark.parametrize(("seed", "pixels"), [(2, 3), (1, 4)])
def test_a_running_mean_leaves_no_structure_in_the_noise(seed, pixels):
    """Its noise has power again where that of a cloud would have none."""
    scene = simulate_scene((96, 96), counts=3, rng=seed)
    smooth, truth = (
        uniform_filter1d(scene[name].values.astype(float), pixels, axis=0)
        for name in ("spectrum", "truth")
    )
    clean = xr.DataArray(smooth, dims=("eV", "phi")).S.denoise_pretrained(adapt=False, rng=0)
    filtered = min(squared_error(gaussian_filter(smooth, s), truth) for s in (0.5, 1, 1.5, 2, 3))
    assert squared_error(clean.values, truth) < 0.5 * filtered


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (smoothed, "correlated"),
            (lambda y: y - 3.0, "negative|subtracted"),
            (lambda y: y + 200.0, "pedestal"),
        ],
    )
    def test_what_cannot_be_split(self, counts, change, words):
        cut = labelled(np.asarray(change(counts)))
        with pytest.raises(DataError, match=f"(?s)({words}).*Use denoise,.*gain="):
            cut.S.denoise_counts(rng=0)

    def test_differences_are_refused(self, counts, truth):
        other = np.random.default_rng(1).poisson(truth)
        with pytest.raises(DataError, match="(?s)negative.*Use denoise,.*gain="):
            labelled(counts - other).S.denoise_counts(rng=0)

    def test_lazy_data_refuse_when_computed(self, counts):
        lazy = labelled(0 * counts + 3).chunk().S.denoise_pretrained(rng=0)
        with pytest.raises(DataError, match="not that of counts"):
            lazy.compute(scheduler="synchronous")

    def test_who_insists_is_warned(self, counts):
        cut = labelled(counts - counts[::-1])
        with pytest.warns(CountsWarning) as told:
            cut.S.denoise_pretrained(adapt=False, gain=1, rng=0)
        assert any("negative" in str(warning.message) for warning in told)
        with pytest.warns(CountsWarning) as told:
            labelled(counts).S.denoise_pretrained(adapt=False, gain=3, rng=0)
        assert re.search("gain=3.*gain of 1", str(told[0].message))
        assert "0.34 times that of noise" in str(told[1].message)

    @pytest.mark.parametrize(
        "options",
        [
            {"gain": 0},
            {"gain": -1},
            {"gain": "one"},
            {"precision": "half"},
            {"series": "scan"},
            {"adapt": "no"},
            {"adapt": 0},
        ],
    )
    @pytest.mark.parametrize("method", ["denoise_pretrained", "decompose_pretrained"])
    def test_bad_parameters(self, counts, method, options):
        with pytest.raises((ParameterError, ValueError), match=next(iter(options))):
            getattr(labelled(counts).S, method)(rng=0, **options)

    def test_too_small(self):
        with pytest.raises(DataError, match="too small"):
            labelled(np.ones((8, 40))).S.denoise_pretrained(rng=0)


class TestOtherDetectors:
    """What cannot be split is served all the same: nearly as good as counts."""

    @pytest.mark.parametrize(
        ("change", "back"),
        [
            (lambda y: y + 200.0, lambda y: y - 200.0),
            (lambda y: y - 3.0, lambda y: y + 3.0),
            (lambda y: 7 * y + 30.0, lambda y: (y - 30.0) / 7),
        ],
    )
    def test_pedestals_and_subtractions(self, change, back):
        truth = band(8.0, 160)
        counts = np.random.default_rng(0).poisson(truth).astype(float)
        best = squared_error(labelled(counts).S.denoise_pretrained(adapt=False, rng=0), truth)
        clean = labelled(change(counts)).S.denoise_pretrained(adapt=False, rng=0)
        assert squared_error(back(clean.values), truth) < 2 * best

    @pytest.mark.parametrize("width", [0.6, 1.0])
    def test_clouds_of_charge(self, counts, truth, width):
        """Blurred counts: as near to the blurred truth as counts come to the truth."""
        best = squared_error(labelled(counts).S.denoise_pretrained(adapt=False, rng=0), truth)
        data, blurred = (gaussian_filter(image, width) for image in (counts, truth))
        clean = labelled(data).S.denoise_pretrained(rng=0)
        assert squared_error(clean, blurred) < 1.3 * best
        assert clean.attrs["provenance"]["record"]["found"]["noise"].startswith("The noise of")


@pytest.fixture(scope="module")
def scene():
    """A band that moves up from image to image."""
    truth = np.stack([band(1.5, 64, bottom) for bottom in np.linspace(-0.75, -0.55, 8)])
    counts = np.random.default_rng(0).poisson(truth)
    coords = {"scan": np.arange(8)}
    return xr.Dataset(
        {"spectrum": (("scan", "eV", "phi"), counts), "truth": (("scan", "eV", "phi"), truth)},
        coords=coords,
    )


class TestSeries:
    def test_neighbours_help(self, scene):
        options = {"adapt": False, "gain": 1, "rng": 0}
        together = scene.spectrum.S.denoise_pretrained(**options)
        alone = scene.spectrum.S.denoise_pretrained(series=None, **options)
        truth = scene.truth.values
        assert squared_error(together, truth) < 0.8 * squared_error(alone, truth)
        assert together.attrs["provenance"]["record"]["found"]["series"] == ["scan"]

    def test_unrelated_images_are_kept_apart(self):
        rng = np.random.default_rng(0)
        rates = np.stack([simulate_scene((64, 64), counts=3, rng=s).truth for s in range(6)])
        data = labelled(rng.poisson(rates), "scan")
        options = {"adapt": False, "gain": 1, "rng": 0}
        together = squared_error(data.S.denoise_pretrained(**options), rates)
        alone = squared_error(data.S.denoise_pretrained(series=None, **options), rates)
        assert together < 1.05 * alone

    def test_several_axes_in_turn(self):
        """The mean of two series is nearer to the truth than either."""
        options = {"adapt": False, "gain": 1, "mesh": None, "rng": 0, "precision": "float32"}
        truth = np.stack([band(1.5, 24, bottom) for bottom in np.linspace(-0.75, -0.55, 16)])
        data = labelled(np.random.default_rng(0).poisson(truth), "scan")
        both = data.S.denoise_pretrained(series=("scan", "phi"), **options)
        each = [
            data.S.denoise_pretrained(series=series, dims=dims, **options).transpose(*data.dims)
            for series, dims in (("scan", ("eV", "phi")), ("phi", ("eV", "scan")))
        ]
        np.testing.assert_allclose(both, sum(each) / 2, rtol=1e-4)
        assert squared_error(both, truth) < min(squared_error(one, truth) for one in each)
        assert both.dims == data.dims
        assert both.attrs["provenance"]["record"]["found"]["series"] == ["scan", "phi"]

    @pytest.mark.slow
    def test_lazy_series_in_turn(self):
        data = labelled(np.random.default_rng(0).poisson(np.stack([band(1.5, 20)] * 17)), "scan")
        options = {"adapt": False, "gain": 1, "rng": 0, "precision": "float32"}
        options["series"] = ("scan", "phi")
        eager = data.S.denoise_pretrained(**options)
        lazy = data.chunk({"scan": 3}).S.denoise_pretrained(**options)
        np.testing.assert_allclose(lazy.compute(scheduler="synchronous"), eager, rtol=1e-4)

    @pytest.mark.parametrize("series", [("scan", "T"), ("phi", "eV"), ("scan", "scan"), ()])
    def test_series_that_cannot_be_taken_in_turn(self, scene, series):
        with pytest.raises(AxisError, match="different dimensions of the data"):
            scene.spectrum.S.denoise_pretrained(series=series)

    def test_any_sequence_of_series_and_what_each_has_found(self):
        """An array was compared with "auto", and provenance spoke of the first series alone."""
        data = labelled(np.random.default_rng(0).poisson(np.stack([band(1.5, 17)] * 16)), "scan")
        series = np.array(["scan", "phi"])
        clean = data.S.denoise_pretrained(adapt=False, gain=1, mesh=None, rng=0, series=series)
        found = clean.attrs["provenance"]["record"]["found"]
        assert found["series"] == ["scan", "phi"]
        assert set(found["residual_power"]) == {"scan", "phi"}
        assert found["gain"] == 1

    def test_images_of_all_series_are_large_enough_before_anything_is_done(self, monkeypatch):
        data = labelled(np.random.default_rng(0).poisson(np.stack([band(1.5, 20)] * 8)), "scan")
        monkeypatch.setattr(CountsRun, "_run", None)  # the first series would be denoised
        with pytest.raises(DataError, match="scan: 8"):
            data.S.denoise_pretrained(adapt=False, gain=1, mesh=None, series=("scan", "phi"))

    def test_bars_have_one_series(self, scene):
        with pytest.raises(ParameterError, match="takes one series"):
            scene.spectrum.S.decompose_pretrained(series=("scan", "phi"))

    @pytest.mark.slow
    def test_lazy_series_agree(self, scene):
        options = {"adapt": False, "gain": 1, "rng": 0, "precision": "float32"}
        lazy = scene.spectrum.chunk({"scan": 3}).S.denoise_pretrained(**options)
        eager = scene.spectrum.S.denoise_pretrained(**options)
        xr.testing.assert_allclose(lazy.compute(scheduler="synchronous"), eager, rtol=1e-4)

    @pytest.mark.slow
    def test_four_dimensions_and_uneven_axes(self, scene):
        stack = scene.spectrum.rename(scan="hv").isel(hv=slice(0, 6))
        stack = stack.assign_coords(hv=np.geomspace(20, 60, 6))
        data = xr.concat([stack, stack], dim="polarisation")
        clean = data.S.denoise_pretrained(adapt=False, gain=1, rng=0)
        assert clean.dims == data.dims
        assert clean.coords["hv"].identical(data.coords["hv"])
        assert clean.attrs["provenance"]["record"]["found"]["series"] == ["hv"]

    @pytest.mark.parametrize(
        "order", [("T", "scan"), pytest.param(("scan", "T"), marks=pytest.mark.slow)]
    )
    def test_lazy_and_eager_data_choose_the_same_axis(self, scene, order):
        """The shorter axis has the more similar images here: what decides is the length alone."""
        stack = scene.spectrum[:6, 18:34, 24:40]
        data = xr.concat([stack] * 4, dim="T").assign_coords(T=[10.0, 20.0, 40.0, 80.0])
        data = data.transpose(*order, "eV", "phi")
        options = {"adapt": False, "gain": 1, "rng": 0, "precision": "float32"}
        eager = data.S.denoise_pretrained(**options)
        lazy = data.chunk({"scan": 2, "T": 1}).S.denoise_pretrained(**options)
        for result in (eager, lazy):
            assert result.attrs["provenance"]["record"]["found"]["series"] == ["scan"]
        np.testing.assert_allclose(lazy.compute(scheduler="synchronous"), eager, rtol=1e-4)

    @pytest.mark.parametrize(
        ("sizes", "chosen"),
        [
            ({"T": 5, "ky": 6}, "ky"),
            ({"T": 6, "ky": 5}, "T"),
            ({"T": 6, "ky": 6}, "T"),
            ({"theta": 6, "delay": 6}, "delay"),
            ({"T": 3, "ky": 3}, None),
            ({"T": 3, "ky": 4}, "ky"),
        ],
    )
    def test_the_axis_that_is_chosen(self, sizes, chosen):
        data = xr.DataArray(np.zeros((*sizes.values(), 16, 16)), dims=(*sizes, "eV", "phi"))
        expected = () if chosen is None else (chosen,)
        for form in (data, data.transpose(*reversed(data.dims)), data.chunk({"eV": 4})):
            assert choose_series(form, ("eV", "phi"), "auto") == expected

    def test_an_axis_without_order_is_no_series(self, scene):
        shuffled = scene.spectrum.assign_coords(scan=[3, 1, 2, 0, 7, 5, 6, 4])
        clean = shuffled.S.denoise_pretrained(adapt=False, gain=1, rng=0)
        assert clean.attrs["provenance"]["record"]["found"]["series"] == []

    def test_empty_images_in_a_series(self, scene):
        data = scene.spectrum.astype(float)
        data[3] = np.nan
        clean = data.S.denoise_pretrained(adapt=False, gain=1, rng=0)
        assert np.isnan(clean[3]).all()
        assert np.isfinite(clean[[2, 4]]).all()

    @pytest.mark.slow
    def test_progress_reaches_its_end(self, scene):
        seen = []
        scene.spectrum[:5, :32, :32].S.denoise_pretrained(gain=1, rng=0, progress=seen.append)
        assert seen[-1].done == seen[-1].total


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
def test_memory_is_bounded_by_the_window(monkeypatch):
    """However long the series: the network is given a few images at a time."""
    monkeypatch.setattr(network_image, "GROUP_PIXELS", 10_000)
    largest = 0
    network = new_network(0)
    forward = network.forward

    def watched(images, *others):
        nonlocal largest
        largest = max(largest, images.numel())
        return forward(images, *others)

    network.forward = watched
    generator = torch.Generator().manual_seed(0)
    images = torch.poisson(torch.full((24, 32, 32), 3.0), generator=generator)
    denoise_counts_images(
        images.double(),
        torch.ones_like(images, dtype=torch.bool),
        NoiseModel(1.0),
        network,
        Training(steps=2, learning_rate=1e-3, pixels=8_000),
        series=True,
        seed=0,
    )
    assert 5_000 < largest <= 10_000 < images.numel()


def test_weights_of_the_network_are_not_changed(counts):
    before = {k: v.clone() for k, v in arpes_ml_plugins.library("denoiser").items()}
    labelled(counts[:32, :32]).S.denoise_pretrained(gain=1, rng=0)
    after = arpes_ml_plugins.library("denoiser")
    assert all(torch.equal(v, before[k]) for k, v in after.items())


@pytest.mark.pyarpes
@pytest.mark.slow
def test_a_real_cut_agrees_with_its_other_counts(example_cut):
    from scipy.ndimage import gaussian_filter

    from arpes_ml_plugins.scoring import held_out_likelihood, psnr, thin_counts

    spectrum = example_cut["spectrum"]
    thinned, rest = thin_counts(spectrum.values, 0.02, rng=0)
    ratio = 0.02 / 0.98
    reference, variance = rest * ratio, rest * ratio**2
    clean = spectrum.copy(data=thinned).S.denoise(rng=0)
    best = max(
        psnr(gaussian_filter(thinned.astype(float), s), reference, variance)
        for s in np.arange(1, 5, 0.25)
    )
    assert psnr(clean, reference, variance) > best + 1
    for sigma in (2.0, 3.0):
        smooth = gaussian_filter(thinned.astype(float), sigma)
        assert held_out_likelihood(clean, rest, 1 / ratio) > held_out_likelihood(
            smooth, rest, 1 / ratio
        )


@pytest.mark.parametrize(("images", "times"), [(1, 1), (2, 2**0.5), (16, 4), (1000, 4)])
def test_a_large_series_takes_more_steps_but_never_four_times_more(images, times):
    trained, untrained = (
        steps_of(training, images, ADAPTED.pixels, series=True) for training in (ADAPTED, None)
    )
    # Denoised on the way, and finished.
    passes = images * ((FLIPS + 1) * ADAPTED.tests + ALL_FLIPS - FLIPS)
    each = ADAPTED.passes(images, ADAPTED.pixels)
    assert trained - untrained - passes == each * round(times * ADAPTED.steps)


def test_reported_steps_are_those_that_are_taken(counts, monkeypatch):
    """One by one (a training step takes longer), without a rest that is reported in the end."""
    seen = []
    labelled(counts[:32, :32]).S.denoise_pretrained(gain=1, rng=0, progress=seen.append)
    total = steps_of(ADAPTED, 1, 32 * 32, series=False)
    total += 1  # the residual
    steps = np.diff([0, *(one.done for one in seen)])
    second = 3 * DRAWS * (ROUNDS - 1)  # of the comparison with similar patches, if it is no use
    assert {1, ADAPTED.passes(1, 32 * 32)} <= set(steps) <= {1, ADAPTED.passes(1, 32 * 32), second}
    assert seen[-1].done == seen[-1].total == total


@pytest.mark.filterwarnings("ignore:.*gain is uncertain:arpes_ml_plugins.errors.CountsWarning")
def test_the_dark_level_of_a_camera_stays():
    """Values below the mean of the dark are not cut off: its level would rise."""
    rng, columns = np.random.default_rng(0), np.linspace(-3, 3, 64)
    rate = np.broadcast_to(0.03 + 6 * np.exp(-2 * columns**2), (64, 64))
    values = 20 * rng.poisson(rate) + 100 + rng.normal(0, 6, rate.shape)
    image = xr.DataArray(values, dims=("eV", "phi"))
    clean = image.S.denoise_pretrained(adapt=False, mesh=None, rng=0)
    dark = abs(columns) > 2
    assert float(clean[:, dark].mean()) == pytest.approx(values[:, dark].mean(), abs=0.5)
