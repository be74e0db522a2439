"""The noise estimate: right where it answers, and never silently wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter, rotate, uniform_filter, zoom

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.noise_kind import step_of
from arpes_ml_plugins.simulation.scene import draw_scene
from arpes_ml_plugins.simulation.sharp import draw_sharp

SIZE = 160


def band(mean_counts: float, size: int = SIZE) -> np.ndarray:
    """Expected counts of a curved band with a Fermi edge, (energy, momentum)."""
    k, w = np.linspace(-1, 1, size)[None, :], np.linspace(-1, 0.3, size)[:, None]
    rate = 0.03 / ((w + 0.6 - 0.7 * k**2) ** 2 + 0.03) + 0.2 - 0.1 * w
    rate = rate / (1 + np.exp(w / 0.05)) + 0.02
    return rate * mean_counts / rate.mean()


def counts(mean_counts: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(band(mean_counts)).astype(float)


def noise_of(values: np.ndarray) -> xr.Dataset:
    return xr.DataArray(values, dims=("eV", "phi")).S.estimate_noise()


@pytest.mark.parametrize("mean_counts", [0.3, 1, 10, 100])
@pytest.mark.parametrize("unit", [1.0, 25.0, 1 / 7.3])
def test_counts_in_any_unit(mean_counts, unit):
    noise = noise_of((counts(mean_counts) * unit).astype(np.float32))
    assert noise["kind"] == "counts"
    assert float(noise["gain"]) == pytest.approx(unit, rel=1e-5)
    assert float(noise["mean_counts"]) == pytest.approx(mean_counts, rel=0.03)


@pytest.mark.parametrize(("mean_counts", "tolerance"), [(0.3, 0.10), (3, 0.03), (30, 0.03)])
def test_gain_of_a_detector_with_uneven_pulses(mean_counts, tolerance):
    """Each electron makes 25 units on average, exponentially spread: variance over mean is 50."""
    electrons = counts(mean_counts)
    pulses = np.random.default_rng(1).gamma(electrons + 1e-9, 25)
    noise = noise_of(np.where(electrons > 0, pulses, 0))
    assert noise["kind"] == "scaled counts"
    assert float(noise["gain"]) == pytest.approx(50, rel=tolerance)
    assert abs(float(noise["gain"]) - 50) < 4 * float(noise["gain_error"]) + 0.06 * 50


def behind_a_stop(mean_counts: float, seed: int = 0) -> np.ndarray:
    """Counts of a band, and none beyond a hard edge."""
    seen = np.hypot(*(np.indices((SIZE, SIZE)) - SIZE / 2)) < 0.4 * SIZE
    return counts(mean_counts, seed) * seen


@pytest.mark.parametrize("mean_counts", [0.5, 2, 20])
@pytest.mark.parametrize("make", [counts, behind_a_stop])
@pytest.mark.parametrize(
    ("interpolated", "pixels"),
    [
        (lambda image: rotate(image, 7, reshape=False, mode="nearest"), 1.0),
        (lambda image: zoom(image, 1.6), 1.6**2),
    ],
)
def test_splines_that_overshoot_beside_electrons(mean_counts, make, interpolated, pixels):
    """Values below zero are no subtraction then; an electron counts in as many pixels as before."""
    noise = noise_of(interpolated(make(mean_counts)))
    assert noise["kind"] == "correlated"
    assert float(noise["gain"]) == pytest.approx(pixels, rel=0.3)


@pytest.mark.parametrize("unit", [12, 30])
@pytest.mark.parametrize("pedestal", [20, 50, 100, 400])
def test_a_pedestal_that_is_no_multiple_of_an_electron(unit, pedestal):
    """All values are multiples of 4 or 10 then, of which an electron has three."""
    noise = noise_of(unit * counts(5) + pedestal)
    assert noise["kind"] == "offset"
    assert float(noise["gain"]) == unit
    assert float(noise["shift"]) == -pedestal


def test_counts_beside_a_pedestal_are_not_taken_for_smaller_ones():
    noise = noise_of(12 * counts(60) + 400)
    assert noise["kind"] != "counts"
    assert noise["status"] == "uncertain" or float(noise["gain"]) == pytest.approx(12, rel=0.3)


def test_a_smoothed_difference_is_no_overshoot():
    dark = np.random.default_rng(1).poisson(2.0, (SIZE, SIZE))
    assert noise_of(gaussian_filter(behind_a_stop(2) - dark, 1.0))["kind"] != "correlated"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_that_rounding_has_made_negative(dtype):
    """Running sums leave -1e-15 where there are no counts, and the clean image was NaN."""
    values = uniform_filter(behind_a_stop(0.3), 3)
    values = (values - 1e-8 * (values < 1e-6)).astype(dtype)
    assert (values < 0).any()
    noise = noise_of(values)
    assert noise["kind"] == "correlated"
    assert float(noise["negative_fraction"]) == 0
    clean = xr.DataArray(values, dims=("eV", "phi")).S.denoise(adapt=False, rng=0)
    assert np.isfinite(clean).all()


@pytest.mark.parametrize(("pedestal", "read"), [(100, 3.0), (1000, 3.0), (0, 5.0)])
@pytest.mark.parametrize("seed", [2, 4])
def test_a_camera_with_pedestal_and_read_out_noise(pedestal, read, seed):
    """A pedestal hides how noise follows intensity; negative values are no subtraction."""
    rng = np.random.default_rng(seed)
    rate = simulate_scene((160, 160), counts=20, rng=seed).truth.values
    values = 7.3 * rng.poisson(rate) + pedestal + read * rng.normal(size=rate.shape)
    noise = noise_of(values)
    assert float(noise["gain"]) == pytest.approx(7.3, rel=0.15)
    assert float(noise["shift"]) == pytest.approx(read**2 / 7.3 - pedestal, abs=5)
    assert noise["kind"] == "offset"


@pytest.mark.slow
def test_the_error_is_the_spread():
    pulses = [np.random.default_rng(1000 + s).gamma(counts(20, s) + 1e-9, 1.0) for s in range(24)]
    gains = [float(noise_of(values)["gain"]) for values in pulses]
    error = float(noise_of(pulses[0])["gain_error"])
    assert np.std(gains) == pytest.approx(error, rel=0.45)
    assert np.mean(gains) == pytest.approx(2, abs=error)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda y: gaussian_filter(y, 0.6), "correlated"),
        (lambda y: gaussian_filter(y, (0, 0.6)), "correlated"),
        (lambda y: zoom(y, 1.4, order=1), "correlated"),
        (lambda y: zoom(y + 20, 1.4, order=3), "correlated"),
        (lambda y: zoom(y, 1.4, order=3), "correlated"),
        (lambda y: y - 0.9 * counts(10, 1), "local"),
        (lambda y: y + 100, "offset"),
        (lambda y: band(10) + np.random.default_rng(0).normal(0, 1, y.shape) + 5, "offset"),
        (lambda y: y * 0 + 3, "unknown"),
        (lambda y: y * 0, "unknown"),
    ],
)
def test_what_are_no_counts(change, kind):
    noise = noise_of(change(counts(10)))
    assert noise["kind"] == kind
    assert len(str(noise["verdict"].values)) > 30
    if kind == "local":
        assert np.isnan(noise["gain"])


@pytest.mark.parametrize(("added", "gain", "tolerance"), [(-4, 1, 1), (100, 1, 5), (8, 1, 3)])
def test_shift_of_a_constant(added, gain, tolerance):
    """What was added or subtracted comes back as a shift, since the variance does not know it."""
    noise = noise_of(counts(10) + added)
    assert noise["kind"] == "offset"
    assert float(noise["shift"]) == pytest.approx(-added, abs=tolerance)
    assert float(noise["gain"]) == pytest.approx(gain, rel=0.4)


@pytest.mark.parametrize(("mean_counts", "less"), [(0.5, 1.0), (4, 7.3), (12, 20.0)])
def test_counts_that_lost_a_constant_larger_than_their_mean(mean_counts, less):
    """Most values are negative, and pixels without counts show how much is missing."""
    noise = noise_of(counts(mean_counts) - less)
    assert noise["kind"] == "offset"
    assert float(noise["gain"]) == 1
    assert float(noise["shift"]) == pytest.approx(less)


@pytest.mark.parametrize("mean_counts", [0.5, 10])
def test_a_difference_of_counts_is_no_such_thing(mean_counts):
    noise = noise_of(counts(mean_counts) - 1.05 * counts(mean_counts, 1) - 0.1 * mean_counts)
    assert noise["kind"] == "local"


def test_shift_of_read_out_noise():
    values = counts(10) + 3 * np.random.default_rng(5).standard_normal((SIZE, SIZE)) + 15
    noise = noise_of(values)
    variance = float(noise["gain"]) * (values.mean() + float(noise["shift"]))
    assert variance == pytest.approx(10 + 9, rel=0.2)


@pytest.mark.parametrize("mean_counts", [1, 10, 100])
@pytest.mark.parametrize("width", [0.5, 0.6, 1.0])
def test_gain_behind_clouds_of_charge(mean_counts, width):
    """Variance over mean at long wavelengths: a blur keeps it, uneven pulses raise it to 1.25."""
    electrons = counts(mean_counts)
    pulses = np.where(electrons > 0, np.random.default_rng(1).gamma(4 * electrons + 1e-9, 0.25), 0)
    noise = noise_of(gaussian_filter(7 * pulses, width))
    assert noise["kind"] == "correlated"
    assert 0.65 < float(noise["gain"]) / (7 * 1.25) < 1.5
    cloud = gaussian_filter(np.eye(1, 31, 15)[0], width)
    expected = (cloud[1:] * cloud[:-1]).sum() / (cloud**2).sum()
    for axis in ("energy", "momentum"):
        assert float(noise[f"{axis}_correlation"]) == pytest.approx(expected, abs=0.12)


@pytest.mark.parametrize("mean_counts", [10, 30, 100, 300])
def test_a_hard_edge_is_no_correlation(mean_counts):
    """A uniform disc, and nothing around it."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    disc = np.random.default_rng(0).poisson(mean_counts * (np.hypot(rows, columns) < 60))
    noise = noise_of(disc.astype(float))
    assert noise["kind"] == "counts"
    assert float(noise["hot_fraction"]) == 0


@pytest.mark.parametrize("mean_counts", [3, 30, 300, 3000])
@pytest.mark.parametrize("width", [0.8, 1.3])
def test_sharp_lines_are_no_correlation(mean_counts, width):
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2.0
    rate = np.exp(-(((rows - 0.3 * columns) / width) ** 2) / 2) + 0.03
    values = np.random.default_rng(0).poisson(rate * mean_counts / rate.mean())
    noise = noise_of(values.astype(float))
    assert noise["kind"] in ("counts", "scaled counts")
    assert 0.6 < float(noise["gain"]) < 1.6  # a factor of two changes a denoised image by 0.5 dB
    assert float(noise["hot_fraction"]) < 1e-3


def test_correlation_is_told_by_axis():
    noise = noise_of(gaussian_filter(counts(10), (0, 0.6)))
    assert float(noise["momentum_correlation"]) > 0.2
    assert abs(float(noise["energy_correlation"])) < 0.1


def test_hot_pixels_dead_lines_and_gaps_do_not_matter():
    values = counts(10)
    rng = np.random.default_rng(3)
    hot = rng.random(values.shape) < 0.005
    values[hot] = rng.uniform(0.5, 3, hot.sum()) * values.max()
    values[70] = values[:, 20] = 0
    values[:40, :30] = np.nan
    noise = noise_of(values)
    assert float(noise["gain"]) == pytest.approx(1, rel=0.06)
    assert float(noise["hot_fraction"]) == pytest.approx(0.005, rel=0.4)
    assert float(noise["missing_fraction"]) == pytest.approx(1200 / SIZE**2)


@pytest.mark.parametrize("share", [0.001, 0.005])
@pytest.mark.parametrize("height", [100.0, 1e4, 1e7])
def test_the_brightest_hot_pixels_do_not_hide(share, height):
    values = np.random.default_rng(0).poisson(5.0, (128, 128)).astype(float)
    hot = np.random.default_rng(1).random(values.shape) < share
    noise = noise_of(np.where(hot, height, values))
    assert noise["kind"] == "counts"
    assert float(noise["gain"]) == 1
    assert float(noise["hot_fraction"]) == pytest.approx(hot.mean(), rel=0.1)


def test_few_valid_pixels_are_no_reason_to_refuse():
    rng = np.random.default_rng(0)
    for _ in range(12):
        values = rng.poisson(3.0, (96, 96)).astype(float)
        values[30:] = np.nan
        assert str(noise_of(values)["kind"].values) in ("counts", "scaled counts")


def test_nothing_but_nan_is_unknown():
    lazy = xr.DataArray(np.full((20, 20), np.nan), dims=("eV", "phi")).chunk()
    assert lazy.S.estimate_noise().compute()["kind"] == "unknown"


def test_a_stack_is_one_detector():
    stack = xr.DataArray(
        np.stack([counts(2, seed) for seed in range(40)]), dims=("delay", "eV", "phi")
    )
    noise = stack.S.estimate_noise()
    assert noise.sizes == {}
    assert float(noise["gain"]) == 1
    alone = stack.isel(delay=0).S.estimate_noise()
    assert float(noise["gain_error"]) < 0.7 * float(alone["gain_error"])


@pytest.mark.pyarpes
class TestPyarpesData:
    """Facts: ``cut`` holds integers with smoothed noise; the maps are interpolated."""

    @pytest.mark.parametrize("name", ["cut", "map", "photon_energy", "temperature_dependence"])
    def test_as_bundled(self, examples, name):
        assert getattr(examples, name).S.estimate_noise()["kind"] == "correlated"

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("cut", marks=pytest.mark.slow),
            pytest.param("photon_energy", marks=pytest.mark.slow),
            "temperature_dependence",
        ],
    )
    def test_converted_to_momentum(self, examples, name):
        from arpes.utilities.conversion import convert_to_kspace

        converted = convert_to_kspace(getattr(examples, name)["spectrum"])
        scanned = next((dim for dim in converted.dims if dim not in ("eV", "kp")), None)
        if scanned is not None:  # a few images show it as well
            converted = converted.isel({scanned: slice(None, None, 12)})
        noise = converted.S.estimate_noise()
        assert noise["kind"] == "correlated"
        assert float(noise["missing_fraction"]) > 0

    def test_nano_xps_counts_many_units_an_electron(self, examples):
        noise = examples.nano_xps.S.estimate_noise(dims=("y", "x"))
        assert noise["kind"] == "scaled counts"
        assert float(noise["step"]) == 1
        assert 16 < float(noise["gain"]) < 30

    @pytest.mark.parametrize("fraction", [0.002, 0.02])
    def test_thinned_counts_are_counts(self, example_cut, fraction):
        from arpes_ml_plugins.scoring import thin_counts

        spectrum = example_cut["spectrum"]
        thinned = spectrum.copy(data=thin_counts(spectrum.values, fraction, rng=0)[0])
        noise = thinned.S.estimate_noise()
        assert noise["kind"] == "counts"
        assert float(noise["gain"]) == 1


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_structure_of_bright_counts_is_no_gain(seed):
    """Bands behind a hard edge at 300 counts: in their quietest places the noise is that of counts.

    Electrons that count once or twice at random (gain 5/3) have no such places.
    """
    rows, columns = np.indices((160, 160)) - 79.5
    band = 0.3 + 1 / (1 + ((rows + 10 - 0.006 * columns**2) / 3) ** 2)
    truth = 600 * band * (np.hypot(rows, 1.1 * columns) < 65) + 0.05
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(truth)
    once = xr.DataArray(electrons * 1.0, dims=("phi", "eV")).S.estimate_noise()
    assert str(once.kind.values) == "counts"
    some_twice = electrons + rng.binomial(electrons, 0.5)
    twice = xr.DataArray(some_twice * 1.0, dims=("phi", "eV")).S.estimate_noise()
    assert str(twice.kind.values) == "scaled counts"
    assert float(twice.gain) > 1.4


@pytest.mark.parametrize("gain", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_pedestal_outside_the_detector_is_known_exactly(gain):
    rows, columns = np.indices((128, 128)) - 63.5
    band = 0.3 + 1 / (1 + ((rows - 0.3 * columns) / 2) ** 2)
    truth = 30 * band * (np.hypot(rows, columns) < 50)
    counts = gain * np.random.default_rng(0).poisson(truth)
    plain = xr.DataArray(counts * 1.0, dims=("phi", "eV"))
    noise = (plain + 12).S.estimate_noise()
    assert str(noise.kind.values) == "offset"
    assert float(noise.gain) == gain
    assert float(noise["shift"]) == -12
    clean = (plain + 12).S.denoise(adapt=False, rng=0)
    np.testing.assert_allclose(clean - 12, plain.S.denoise(adapt=False, rng=0), atol=1e-3 * gain)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_values_below_zero_throughout_are_told(spread):
    """A difference of two scenes, the brighter one subtracted."""
    rng = np.random.default_rng(0)
    difference = spread * rng.standard_normal((64, 64)) - rng.poisson(20.0, (64, 64))
    noise = xr.DataArray(difference, dims=("phi", "eV")).S.estimate_noise()
    assert str(noise.kind.values) == "local"
    assert bool(np.isnan(noise.gain))
    assert float(noise.deviation) == pytest.approx((20 + spread**2) ** 0.5, rel=0.1)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("jitter", [0.1, 0.2])
def test_a_beam_that_fluctuates_is_told(axis, jitter):
    """Every energy, or every momentum, has an exposure of its own."""
    rng = np.random.default_rng(7)
    exposures = np.expand_dims(rng.normal(1, jitter, SIZE).clip(0.2), 1 - axis)
    noise = noise_of(rng.poisson(band(20) * exposures).astype(float))
    along, across = ("energy", "momentum")[axis], ("momentum", "energy")[axis]
    assert float(noise[f"{along}_jitter"]) == pytest.approx(jitter, rel=0.25)
    assert float(noise[f"{across}_jitter"]) == 0
    assert float(noise[f"{along}_alternation"]) == 0
    assert f"from one {('eV', 'phi')[axis]} to the next" in str(noise["verdict"].values)


@pytest.mark.parametrize("share", [1.3, 2.0])
def test_bins_of_one_and_two_channels_are_told(share):
    rate = band(10)
    rate[:, ::2] *= share
    noise = noise_of(np.random.default_rng(3).poisson(rate).astype(float))
    assert float(noise["momentum_alternation"]) == pytest.approx(share - 1, rel=0.15)
    assert "Every second phi" in str(noise["verdict"].values)


def test_a_full_detector_is_told():
    values = np.minimum(counts(20), 60)
    noise = noise_of(values)
    assert float(noise["clipped_fraction"]) == pytest.approx((values == 60).mean())
    assert "the true intensity is higher" in str(noise["verdict"].values)


def test_asymmetries_of_few_counts_do_not_saturate():
    """Most of them are at 1 or -1."""
    up, down = np.random.default_rng(0).poisson([[[1.0]], [[0.7]]], size=(2, 96, 96))
    counted = up + down
    values = np.where(counted > 0, (up - down) / np.maximum(counted, 1), np.nan)
    noise = xr.DataArray(values, dims=("phi", "eV")).S.estimate_noise()
    assert float(noise["clipped_fraction"]) == 0


def test_noise_is_measured_between_scattered_gaps():
    """Hardly a pixel has all neighbours that would predict it."""
    columns = np.linspace(-1, 1, 96)[None] * np.ones((96, 1))
    rate = 5 + 20 / (1 + (columns / 0.2) ** 2)
    rng = np.random.default_rng(0)
    values = np.where(rng.random(rate.shape) < 0.4, np.nan, rng.poisson(rate) - 12.0)
    noise = xr.DataArray(values, dims=("phi", "eV")).S.estimate_noise()
    known = noise["deviation"] if str(noise.kind.values) == "local" else (5 * noise["gain"]) ** 0.5
    assert float(known) == pytest.approx(np.sqrt(np.median(rate)), rel=0.3)


def test_counts_of_a_fluctuating_source_are_told():
    rng = np.random.default_rng(5)
    noise = noise_of(rng.poisson(rng.gamma(5, band(20) / 5)).astype(float))
    assert noise["kind"] == "scaled counts"
    assert "source fluctuates" in str(noise["verdict"].values)


def test_nothing_is_told_of_good_counts():
    """Of the simulator's scenes, sharp ones among them."""
    rng = np.random.default_rng(11)
    for _ in range(4):
        for rate in (draw_sharp((96, 128), rng).rate, draw_scene((96, 128), 1, rng).rate[0]):
            exposed = rng.poisson(rate * 10 ** rng.uniform(-1, 2.5) / rate.mean())
            noise = noise_of(exposed.astype(float))
            for name in ("jitter", "alternation"):
                assert float(noise[f"energy_{name}"]) == float(noise[f"momentum_{name}"]) == 0
            assert float(noise["clipped_fraction"]) == float(noise["curvature"]) == 0


def test_noise_that_is_the_same_everywhere_has_no_electrons():
    energy = np.linspace(-1, 0, 96)
    smooth = 10 + 5 * np.sin(9 * energy)[:, None] * np.ones(96)
    data = xr.DataArray(
        smooth + np.random.default_rng(0).normal(0, 1, (96, 96)), dims=("eV", "phi")
    )
    verdict = data.S.estimate_noise().verdict.item()
    assert "hardly depends on the intensity" in verdict
    assert "electrons per pixel" not in verdict


@pytest.mark.parametrize("gain", [5.3, 674.13, 3.7e9])
@pytest.mark.parametrize("mean_counts", [8, 20])
def test_counts_that_were_rounded_on_another_scale(gain, mean_counts):
    """Scaled to 8 or 16 bits, or stored in single precision."""
    counts = np.random.default_rng(0).poisson(mean_counts, (64, 64)) * gain
    values = counts.astype(np.float32) if gain > 1e6 else np.round(counts)
    noise = xr.DataArray(values.astype(float), dims=("eV", "phi")).S.estimate_noise()
    assert str(noise.kind.values) == "counts"
    assert float(noise.gain) == pytest.approx(gain, rel=2e-3)


def test_whole_numbers_are_no_rounded_multiples_by_chance():
    rng = np.random.default_rng(1)
    for _ in range(100):
        largest, number = 10 ** rng.uniform(1, 5), rng.integers(3, 60)
        values = np.unique(rng.integers(1, int(largest), number)).repeat(3)
        assert float(step_of(torch.tensor(values).double())) == np.gcd.reduce(values)
