"""Samples of the truth, and fits to them: the stated error is the error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from lmfit import Model
from lmfit.models import ConstantModel, LorentzianModel

import arpes_ml_plugins
from arpes_ml_plugins.denoising.posterior import Deviations
from arpes_ml_plugins.errors import AxisError, ConvergenceWarning, DataError, ParameterError
from arpes_ml_plugins.simulation.detectors import clouds

SIZE = 96
ENERGY, MOMENTUM = np.linspace(-0.4, 0.05, SIZE), np.linspace(-0.3, 0.3, SIZE)
PLACE, WIDTH = 0.06, 0.02
QUICK = {"adapt": False, "mesh": None}


def rate(counts: float) -> np.ndarray:
    """A band that does not move with energy, ``(eV, phi)``, so that all MDCs have one truth."""
    line = 1 / (1 + ((MOMENTUM - PLACE) / WIDTH) ** 2) + 0.1
    image = line[None] * (1 + 0.5 * np.sin(8 * ENERGY))[:, None]
    return image * counts / image.mean()


def labelled(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("eV", "phi"), coords={"eV": ENERGY, "phi": MOMENTUM})


def measured(counts: float, seed: int) -> xr.DataArray:
    return labelled(np.random.default_rng(seed).poisson(rate(counts)))


@pytest.fixture(scope="module")
def samples() -> xr.DataArray:
    return measured(4, 0).S.sample_posterior(draws=12, rng=0, **QUICK)


class TestSamples:
    def test_their_mean_is_the_clean_image(self, samples):
        clean = measured(4, 0).S.denoise_pretrained(rng=0, **QUICK)
        assert float(abs(samples.mean("draw") - clean).max()) < 0.02 * float(clean.max())

    def test_they_hold_the_truth_two_times_in_three(self):
        inside = []
        for seed in range(4):
            image = measured((0.5, 2, 8, 30)[seed], seed)
            drawn = image.S.sample_posterior(draws=10, rng=seed, **QUICK)
            truth = rate((0.5, 2, 8, 30)[seed])
            off = abs(drawn.mean("draw") - truth) < drawn.std("draw", ddof=1)
            inside.append(float(off.mean()))
        assert 0.58 < np.mean(inside) < 0.78

    @pytest.mark.parametrize("draws", [3, 6, 16])
    def test_few_draws_scatter_by_no_more_than_the_error(self, draws):
        """Noise of variance 1 and a bias of 0.5; the mean of few repetitions was counted twice."""
        rows, columns = np.indices((64, 64))
        bias = torch.from_numpy(0.5 * (-1.0) ** (rows + columns)).float()
        generator = torch.Generator().manual_seed(0)
        repeated = torch.randn(draws, 1, 64, 64, generator=generator) + bias
        clean = torch.full((1, 64, 64), 100.0)
        nothing = torch.zeros(1, 64, 64)
        found = Deviations(clean, repeated, nothing, nothing[None], scale=1.0)
        variance = float(found.samples(generator).var(0).mean())
        assert variance == pytest.approx(1.25, rel=0.05)

    def test_neighbouring_pixels_err_together(self, samples):
        """What no error bar of a single pixel can tell."""
        off = (samples - samples.mean("draw")).values / samples.std("draw").values
        together = np.mean(off[:, :, 1:] * off[:, :, :-1])
        assert together > 0.5

    @pytest.mark.slow
    def test_total_intensity_is_as_sure_as_the_counts(self):
        for counts, seed in ((3, 5), (10, 2)):
            image = measured(counts, seed)
            total = image.S.sample_posterior(draws=32, rng=0, **QUICK).sum(("eV", "phi"))
            assert 0.7 < float(total.std()) / float(image.sum()) ** 0.5 < 1.3

    def test_units_do_not_matter(self):
        image = measured(3, 6)
        one, other = (x.S.sample_posterior(draws=3, rng=0, **QUICK) for x in (image, 25.0 * image))
        np.testing.assert_allclose(other, 25 * one, rtol=2e-3, atol=0.05)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:.* gain is uncertain:arpes_ml_plugins.errors.CountsWarning")
    def test_correlated_noise_is_drawn_as_such(self):
        """Behind clouds of charge the samples scatter as much as behind none, and no less."""
        plain, cloudy = [], []
        for seed in range(3):
            values, truth = clouds(rate(4), (0.8, 0.8), 0.5, np.random.default_rng(seed))
            drawn = labelled(values).S.sample_posterior(draws=12, rng=0, **QUICK)
            cloudy.append(float((abs(drawn.mean("draw") - truth) < drawn.std("draw")).mean()))
            plain.append(float(drawn.std("draw").mean()))
        assert 0.5 < np.mean(cloudy) < 0.85
        assert min(plain) > 0

    @pytest.mark.filterwarnings("ignore:.* gain is uncertain:arpes_ml_plugins.errors.CountsWarning")
    def test_bars_behind_clouds_at_few_counts(self):
        """Noise of few counts has a long tail; with a Gaussian, cut off at zero, bars are wide."""
        held = []
        for seed in range(2):
            values, truth = clouds(rate(0.5), (0.5, 0.5), 0.5, np.random.default_rng(seed))
            bars = labelled(values).S.decompose_pretrained(rng=0, **QUICK)
            held.append(float(((bars.lower <= truth) & (truth <= bars.upper)).mean()))
        assert 0.55 < np.mean(held) < 0.85

    @pytest.mark.slow
    def test_a_series_and_its_exposures(self):
        images = xr.concat([measured(3, seed) for seed in range(4)], "sweep")
        drawn = images.S.sample_posterior(draws=2, rng=0, **QUICK)
        assert drawn.dims == ("draw", "eV", "phi")
        series = images.rename(sweep="temperature")
        drawn = series.S.sample_posterior(draws=2, rng=0, **QUICK)
        assert drawn.dims == ("draw", "temperature", "eV", "phi")

    def test_a_dimension_of_that_name_is_refused(self):
        images = xr.concat([measured(3, seed) for seed in range(2)], "draw")
        with pytest.raises(AxisError, match="rename"):
            images.S.sample_posterior(rng=0, **QUICK)

    @pytest.mark.parametrize("draws", [1, 0, 2.5, True])
    def test_wrong_numbers_of_draws(self, draws):
        with pytest.raises(ParameterError, match="at least 2"):
            measured(3, 0).S.sample_posterior(draws=draws)


class TestFits:
    model = LorentzianModel() + ConstantModel()

    @pytest.fixture
    def lines(self) -> xr.DataArray:
        """Samples of two MDCs, made without a network."""
        truth = labelled(rate(4)).isel(eV=[80, 95])
        noise = np.random.default_rng(0).normal(0, 0.1, (6, *truth.shape))
        return xr.DataArray(noise, dims=("draw", *truth.dims)) + truth

    def params(self):
        return self.model.make_params(amplitude=0.5, center=0.05, sigma=0.03, c=0.5)

    @pytest.mark.slow
    def test_the_stated_error_is_the_error(self):
        """Of positions at many energies, which all have one truth."""
        off, stated = [], []
        for seed in range(3):
            drawn = measured(6, 10 + seed).S.sample_posterior(draws=16, rng=0, **QUICK)
            fit = arpes_ml_plugins.fit_draws(
                drawn.isel(eV=slice(4, None, 16)), self.model, "phi", params=self.params()
            )
            off.append((fit.center - PLACE).values)
            stated.append(fit.center_error.values)
        ratio = np.sqrt(np.mean(np.square(off)) / np.mean(np.square(stated)))
        assert 0.6 < ratio < 1.6

    def test_naive_errors_are_too_small(self, samples):
        """The reason for all this: lmfit's own error of the denoised curve."""
        clean = samples.mean("draw").isel(eV=40)
        naive = self.model.fit(clean.values, self.params(), x=MOMENTUM).params["center"].stderr
        fit = arpes_ml_plugins.fit_draws(
            samples.isel(eV=[40]), self.model, "phi", params=self.params()
        )
        assert float(fit.center_error[0]) > 1.5 * naive

    def test_shapes_and_names(self, samples):
        fit = arpes_ml_plugins.fit_draws(
            samples.isel(eV=[10, 20, 30]), self.model, "phi", params=self.params()
        )
        assert fit.center.dims == ("eV",)
        assert fit.center_draws.dims == ("eV", "draw")
        np.testing.assert_allclose(fit.eV, ENERGY[[10, 20, 30]])
        np.testing.assert_allclose(fit.center_error, fit.center_draws.std("draw", ddof=1))
        assert float(fit.failed.max()) == 0

    def test_missing_points_are_left_out(self, samples):
        holed = samples.isel(eV=[10]).where(abs(samples.phi - 0.2) > 0.02)
        fit = arpes_ml_plugins.fit_draws(holed, self.model, "phi", params=self.params())
        assert float(fit.center[0]) == pytest.approx(PLACE, abs=0.02)

    def test_a_model_without_values_is_an_error(self, samples):
        def broken(x, a):
            return np.full_like(x, np.nan) if a > 1.0 else a * x

        with pytest.raises(ValueError, match="NaN"):
            arpes_ml_plugins.fit_draws(
                samples.isel(eV=[1]), Model(broken), "phi", params=Model(broken).make_params(a=2)
            )

    def test_curves_without_values_do_not_stop_the_others(self, lines):
        """As those outside of what was measured, after a conversion to momentum."""
        holed = lines.where(lines.eV > 0)
        fit = arpes_ml_plugins.fit_draws(holed, self.model, "phi", params=self.params())
        assert np.isnan([float(fit.center[0]), float(fit.center_error[0])]).all()
        assert float(fit.failed[0]) == 1
        assert float(fit.center[1]) == pytest.approx(PLACE, abs=0.01)

    def test_a_model_that_raises_has_failed(self, lines):
        def broken(x, a, c):
            if a > float(lines.max()):
                raise RuntimeError("too high")
            return a / (1 + ((x - PLACE) / WIDTH) ** 2) + c

        model, start = Model(broken), {"a": 1.0, "c": 0.0}
        high = xr.concat([lines, 3 * lines.isel(draw=[0])], "draw")
        fit = arpes_ml_plugins.fit_draws(high, model, "phi", params=model.make_params(**start))
        assert float(fit.failed[0]) == pytest.approx(1 / high.sizes["draw"])

    def test_a_parameter_at_its_bound_has_too_small_an_error(self, lines):
        start = self.params()
        start["center"].set(max=PLACE - 0.005)
        with pytest.warns(ConvergenceWarning, match="center is at its bound of 0.055 in 100%"):
            arpes_ml_plugins.fit_draws(lines, self.model, "phi", params=start)

    def test_weights_decide_which_points_count(self, lines):
        """A second line, which the model does not have, is left out by weights, in any form."""
        ghost = 3 / (1 + ((lines.phi + 0.15) / 0.01) ** 2)
        away = abs(lines.phi + 0.15) > 0.06
        fits = [
            arpes_ml_plugins.fit_draws(
                lines + ghost, self.model, "phi", params=self.params(), weights=weights
            )
            for weights in (None, away.astype(float), away.values, (1.0 * away).where(away))
        ]
        without = arpes_ml_plugins.fit_draws(lines, self.model, "phi", params=self.params())
        plain, *weighed = (float(abs(fit.c - without.c).max()) for fit in fits)
        assert plain > 5 * max(weighed)
        per_curve = xr.concat([1.0 * away, 5.0 * away], lines.eV)
        fit = arpes_ml_plugins.fit_draws(
            lines + ghost, self.model, "phi", params=self.params(), weights=per_curve
        )
        np.testing.assert_allclose(fit.center, fits[1].center, atol=1e-6)

    def test_dim_points_count_by_their_errors(self):
        """A constant below a line of other noise: weights by the scatter make its error smaller."""
        rng = np.random.default_rng(0)
        error = np.where(np.arange(60) < 30, 1.0, 0.05)
        samples = xr.DataArray(5 + error * rng.normal(size=(200, 60)), dims=("draw", "phi"))
        plain, weighed = (
            arpes_ml_plugins.fit_draws(samples, ConstantModel(), "phi", weights=weights).c_error
            for weights in (None, 1 / samples.std("draw"))
        )
        assert float(weighed) < 0.2 * float(plain)

    @pytest.mark.parametrize(
        ("weights", "said"),
        [
            (np.ones(3), "one number per point"),
            (xr.DataArray(np.ones(2), dims="x"), "dimensions among"),
            (-np.ones(SIZE), "from 0, got -1"),
            (np.full(SIZE, np.inf), "from 0"),
        ],
    )
    def test_weights_that_do_not_fit(self, lines, weights, said):
        with pytest.raises(ParameterError, match=said):
            arpes_ml_plugins.fit_draws(
                lines, self.model, "phi", params=self.params(), weights=weights
            )

    def test_a_dataset_of_samples(self, lines):
        both = (lines, lines.to_dataset(name="spectrum"))
        one, other = (
            arpes_ml_plugins.fit_draws(x, self.model, "phi", params=self.params()) for x in both
        )
        xr.testing.assert_identical(one, other)

    def test_errors_say_what_to_do(self, samples):
        with pytest.raises(AxisError, match="sample_posterior"):
            arpes_ml_plugins.fit_draws(measured(1, 0), self.model, "phi")
        with pytest.raises(AxisError, match="sample_posterior"):
            arpes_ml_plugins.fit_draws(samples, self.model, "kx")
        with pytest.raises(AxisError, match="axis of a curve"):
            arpes_ml_plugins.fit_draws(samples, self.model, "draw")
        with pytest.raises(ParameterError, match="lmfit.Model"):
            arpes_ml_plugins.fit_draws(samples, np.sin, "phi")
        with pytest.raises(ParameterError, match="params="):
            arpes_ml_plugins.fit_draws(samples, self.model, "phi")
        with pytest.raises(DataError, match="points"):
            arpes_ml_plugins.fit_draws(
                samples.isel(phi=[0, 1]), self.model, "phi", params=self.params()
            )

    def test_units_and_numbers_as_parameters(self, lines):
        pint = pytest.importorskip("pint")
        with_unit = lines.copy(data=pint.UnitRegistry().Quantity(lines.values, "count"))
        fit = arpes_ml_plugins.fit_draws(with_unit, self.model, "phi", params=self.params())
        xr.testing.assert_identical(
            fit, arpes_ml_plugins.fit_draws(lines, self.model, "phi", params=self.params())
        )
        with pytest.raises(ParameterError, match="make_params"):
            arpes_ml_plugins.fit_draws(lines, self.model, "phi", params={"center": 0.1})
