"""The sum of intensities: it is conserved, or the record says that it is not."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.signal import savgol_filter

import arpes_ml_plugins
from arpes_ml_plugins.denoising.cut_off import cut_off_of
from arpes_ml_plugins.denoising.gain_scales import find_scaling
from arpes_ml_plugins.denoising.marks import mark_of
from arpes_ml_plugins.denoising.recovery import conserve
from arpes_ml_plugins.denoising.residual import excess_of

N = 112
ENERGY, ANGLE = np.linspace(-0.5, 0.1, N)[:, None], np.linspace(-0.4, 0.4, N)[None]


def scene(counts):
    """Two bands below a Fermi edge, and hardly anything above it."""
    flat = 0.006 / ((ENERGY + 0.05) ** 2 + 0.006**2) * np.exp(-((ANGLE / 0.25) ** 2))
    wave = 0.02 / ((ENERGY + 0.3 + 0.05 * np.cos(12 * ANGLE)) ** 2 + 0.02**2)
    bands = flat + wave + 2.5
    image = gaussian_filter(bands / (1 + np.exp(ENERGY / 0.004)) + 0.1, 0.8, mode="nearest")
    return counts * image / image.mean()


def electrons(counts, seed=0):
    return np.random.default_rng(seed).poisson(scene(counts)).astype(float)


def labelled(values):
    return xr.DataArray(values, {"eV": ENERGY[:, 0], "phi": ANGLE[0]}, ("eV", "phi"))


def notched(image):
    """Without a band of frequencies along energy, as lines of a camera are removed."""
    spectrum, first = np.fft.fft(image, axis=0), int(0.2 * N)
    spectrum[first : first + 3] = spectrum[N - first - 2 : N - first + 1] = 0
    return np.fft.ifft(spectrum, axis=0).real


@pytest.mark.parametrize("filtered", [notched, lambda y: savgol_filter(y, 7, 2, axis=0)])
def test_filtered_images_are_not_taken_for_divided_lines(filtered):
    for counts, seed in ((1, 3), (5, 4)):
        images = torch.from_numpy(filtered(electrons(counts, seed)))[None]
        assert find_scaling(images, torch.ones_like(images, dtype=torch.bool)).kind == 0


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
def test_conserves_the_sum_of_faint_electrons_behind_strong_read_out_noise():
    rng = np.random.default_rng(1)
    data = 3 * electrons(0.3) + 4 * rng.normal(size=(N, N))
    clean = arpes_ml_plugins.denoise(labelled(data), adapt=False, rng=0)
    assert abs(float(clean.sum()) / data.sum() - 1) < 0.05  # 0.1 more without it


def test_what_is_chance_in_every_region_is_none_in_all():
    generator = torch.Generator().manual_seed(0)
    truth = torch.full((1, 96, 96), 2.0)
    counts = torch.poisson(truth, generator=generator)
    clean = conserve(counts, truth * 1.02, torch.ones_like(counts, dtype=torch.bool))
    assert abs(float(clean.sum() / counts.sum()) - 1) < 0.01


def test_excess_is_told_only_beyond_chance():
    generator = torch.Generator().manual_seed(0)
    truth = torch.full((2, 96, 96), 3.0)
    counts, everywhere = torch.poisson(truth, generator=generator), truth > 0
    assert float(excess_of(counts, truth, everywhere)) == 0
    assert float(excess_of(counts, 1.03 * truth, everywhere)) == pytest.approx(0.03, abs=0.01)


def test_recognises_values_cut_off_beside_few_electrons():
    rng = np.random.default_rng(5)
    expected = np.geomspace(0.2, 0.8, 128) * np.ones((128, 1))
    measured = rng.poisson(expected) + 0.4 * rng.normal(size=expected.shape)
    images = torch.from_numpy(np.maximum(measured, 0))[None]
    everywhere = torch.ones_like(images, dtype=torch.bool)
    cut = cut_off_of(images, everywhere, torch.tensor(torch.nan), gain=1.0)
    assert float(cut.level) == 0
    assert float(cut.noise) == pytest.approx(0.4, rel=0.2)


@pytest.mark.parametrize("constant", [0.9, 3])
def test_counts_less_a_constant_and_cut_off_are_uncertain(constant):
    data = np.maximum(electrons(10 if constant == 3 else 3, 6) - constant, 0)
    noise = arpes_ml_plugins.estimate_noise(labelled(data))
    assert str(noise.status.values) == "uncertain"
    assert "negative values were set to 0" in str(noise.verdict.values)
    counts = arpes_ml_plugins.estimate_noise(labelled(electrons(3, 6)))
    assert str(counts.status.values) == "ok"
    assert np.isnan(float(counts.cut_off))


def test_a_round_detector_is_not_cut_off():
    row, column = np.mgrid[-1 : 1 : N * 1j, -1 : 1 : N * 1j]
    noise = arpes_ml_plugins.estimate_noise(
        labelled(electrons(4, 2) * (np.hypot(row, column) < 0.9))
    )
    assert str(noise.status.values) == "ok"
    assert np.isnan(float(noise.cut_off))


@pytest.mark.parametrize(("mark", "scattered"), [(-999, True), (-1, False), (65535, False)])
def test_marks_of_missing_data_are_left_out_and_stay(mark, scattered):
    row, column = np.mgrid[-1 : 1 : N * 1j, -1 : 1 : N * 1j]
    missing = np.hypot(row, column) > 0.9
    if scattered:
        missing = np.random.default_rng(0).random((N, N)) < 0.03
    data = np.where(missing, mark, electrons(4, 2))
    noise = arpes_ml_plugins.estimate_noise(labelled(data))
    assert str(noise.kind.values) == "counts"
    assert float(noise.mark) == mark
    assert float(noise.missing_fraction) == pytest.approx(missing.mean())
    clean = arpes_ml_plugins.denoise(labelled(data), adapt=False, rng=0).values
    assert (clean[missing] == mark).all()
    others = arpes_ml_plugins.denoise(
        labelled(np.where(missing, np.nan, data)), adapt=False, rng=0
    ).values
    np.testing.assert_allclose(clean[~missing], others[~missing], rtol=1e-5)


def window(radius=0.85):
    row, column = np.mgrid[-1 : 1 : N * 1j, -1 : 1 : N * 1j]
    return np.hypot(row, column) < radius


def moved(counts):
    """Interpolated between rows, in each column at another place: these are counts no more."""
    share = np.linspace(0.21, 0.83, N)[None]
    return (1 - share) * counts + share * np.roll(counts, 1, 0)


def zero_mark(values):
    images = torch.from_numpy(np.asarray(values, float))[None]
    return mark_of(images, torch.ones_like(images, dtype=torch.bool))


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
@pytest.mark.parametrize("change", [moved, lambda counts: gaussian_filter(counts, 0.8)])
@pytest.mark.parametrize("place", [window(), np.mgrid[:N, :N].sum(0) > N / 2])
def test_zeros_around_what_was_moved_or_filtered_are_missing(change, place):
    values = change(np.random.default_rng(3).poisson(6 + scene(8)) * 1.0)
    results = [
        arpes_ml_plugins.denoise(labelled(np.where(place, values, outside)), adapt=False, rng=0)
        for outside in (0.0, np.nan)
    ]
    clean, other = (result.values for result in results)
    assert (clean[~place] == 0).all()
    np.testing.assert_allclose(clean[place], other[place], rtol=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        electrons(8, 3) * window(),  # counts, which may well be none
        gaussian_filter(electrons(8, 3) * window(), 1.0, truncate=2.0),  # a detector behind clouds
        gaussian_filter(np.random.default_rng(0).poisson(np.full((N, N), 0.02)) * 1.0, 1.0),
        np.maximum(gaussian_filter(electrons(1, 3) - 1.0, 1.5), 0),
        moved(electrons(8, 3) * (np.mgrid[:N, :N][0] < N / 2)),  # dark, if not quite
        moved(np.random.default_rng(1).poisson(np.where(window(), 5.0, 0.02)) * 1.0),
        moved(np.where(window(), 9 + electrons(8, 3), np.arange(N * N).reshape(N, N) == 3 * N + 3)),
    ],
)
def test_dark_is_not_missing(values):
    assert np.isnan(zero_mark(values))


def test_a_hot_pixel_among_zeros_is_no_electron():
    values = np.where(window(), moved(6 + electrons(8, 3)), 0.0)
    assert zero_mark(values) == 0
    values[3, 3] = 300
    assert zero_mark(values) == 0


def test_the_lowest_value_of_counts_less_a_constant_is_no_mark():
    images = torch.from_numpy(electrons(1, 2) - 1)[None]
    assert np.isnan(mark_of(images, torch.ones_like(images, dtype=torch.bool)))


def test_counts_between_many_bright_spots_are_counts():
    row, column = np.mgrid[:N, :N]
    rng = np.random.default_rng(0)
    places = rng.uniform(8, N - 8, (60, 2))
    spots = sum(np.exp(-((row - a) ** 2 + (column - b) ** 2) / 2) for a, b in places)
    truth = 2 + np.exp(-(((row - 60) / 8) ** 2)) + 300 * spots
    noise = arpes_ml_plugins.estimate_noise(labelled(rng.poisson(truth)))
    assert str(noise.kind.values) == "counts"


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
def test_spots_that_are_left_out_as_hot_are_told():
    row, column = np.mgrid[:N, :N]
    spots = sum(
        100 * np.exp(-((row - a) ** 2 + (column - b) ** 2) / 2 / 0.5**2)
        for a, b in ((20, 30), (50.4, 60), (80, 90.3))
    )
    rng = np.random.default_rng(1)
    clean = arpes_ml_plugins.denoise(labelled(rng.poisson(2 + spots)), adapt=False, rng=0)
    assert "have bright neighbours" in clean.attrs["provenance"]["record"]["found"]["residual"]
    alone = rng.poisson(np.full((N, N), 2.0))
    alone[20, 30] = alone[50, 60] = 300
    clean = arpes_ml_plugins.denoise(labelled(alone), adapt=False, rng=0)
    assert "neighbours" not in clean.attrs["provenance"]["record"]["found"]["residual"]
