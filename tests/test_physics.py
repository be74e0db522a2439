"""What a denoiser must not do to a band: shift it, broaden it, move the Fermi edge, lose counts."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import curve_fit

MOMENTUM = np.linspace(-0.2, 0.2, 96)
ENERGY = np.linspace(-0.30, 0.08, 96)
VELOCITY, CROSSING, WIDTH = 1.6, 0.03, 0.030  # eV A, 1/A, 1/A
KT = 0.010  # eV: an edge some five pixels wide


def true_rate(counts: float) -> np.ndarray:
    """A straight Lorentzian band cut by the Fermi edge, over a background; (momentum, energy)."""
    k, w = MOMENTUM[:, None], ENERGY[None, :]
    centre = CROSSING + w / VELOCITY
    band = WIDTH**2 / ((k - centre) ** 2 + WIDTH**2)
    rate = (band + 0.15) / (1 + np.exp(w / KT)) + 0.01
    return rate * counts / rate.mean()


def lorentzian(k, height, centre, width, offset):
    return height * width**2 / ((k - centre) ** 2 + width**2) + offset


def fermi(w, height, edge, kt, offset):
    return height / (1 + np.exp((w - edge) / kt)) + offset


def mdc_peaks(image: np.ndarray) -> np.ndarray:
    """Centre and half width of the MDC of every fourth energy well below the Fermi level."""
    found = []
    for index in np.flatnonzero((ENERGY > -0.25) & (ENERGY < -0.03))[::4]:
        start = (np.ptp(image[:, index]), CROSSING + ENERGY[index] / VELOCITY, WIDTH, 0.0)
        parameters, _ = curve_fit(lorentzian, MOMENTUM, image[:, index], start, maxfev=5000)
        found.append((parameters[1], abs(parameters[2])))
    return np.array(found)


def edge_of(image: np.ndarray) -> tuple[float, float]:
    edc = image.mean(0)
    near = ENERGY > -0.05
    start = (edc[near].max(), 0.0, KT, edc.min())
    parameters, _ = curve_fit(fermi, ENERGY[near], edc[near], start)
    return parameters[1], parameters[2]


@pytest.fixture(scope="module", params=[1.0, 25.0], ids=["counts", "gain of 25"])
def pair(request):
    truth = true_rate(10.0) * request.param
    counts = np.random.default_rng(1).poisson(true_rate(10.0)) * request.param
    cut = xr.DataArray(counts, dims=("kp", "eV"), coords={"kp": MOMENTUM, "eV": ENERGY})
    return truth, cut, cut.S.denoise_pcp_unet(iterations=400, rng=0).values


@pytest.mark.slow
class TestPhysics:
    def test_the_noise_is_gone(self, pair):
        truth, cut, clean = pair
        assert np.mean((clean - truth) ** 2) < 0.04 * np.mean((cut.values - truth) ** 2)

    def test_bands_stay_where_they_are(self, pair):
        truth, _, clean = pair
        step = MOMENTUM[1] - MOMENTUM[0]
        shift = (mdc_peaks(clean) - mdc_peaks(truth))[:, 0] / step
        assert np.sqrt(np.mean(shift**2)) < 0.35  # pixels
        assert abs(shift.mean()) < 0.15

    def test_bands_keep_their_width(self, pair):
        truth, _, clean = pair
        ratio = mdc_peaks(clean)[:, 1] / mdc_peaks(truth)[:, 1]
        assert abs(np.median(ratio) - 1) < 0.06

    def test_the_fermi_edge_stays(self, pair):
        truth, _, clean = pair
        (edge, kt), (true_edge, true_kt) = edge_of(clean), edge_of(truth)
        step = ENERGY[1] - ENERGY[0]
        assert abs(edge - true_edge) < 0.25 * step
        assert abs(kt / true_kt - 1) < 0.12

    def test_counts_are_conserved(self, pair):
        _, cut, clean = pair
        assert clean.sum() == pytest.approx(float(cut.sum()), rel=0.01)

    def test_structure_follows_the_data(self, pair):
        """EDCs keep their integrals: no intensity moves between momenta."""
        truth, _, clean = pair
        assert np.abs(clean.sum(1) / truth.sum(1) - 1).max() < 0.08


@pytest.mark.slow
def test_hot_pixels_and_gaps_do_little_harm():
    truth = true_rate(10.0)
    rng = np.random.default_rng(2)
    counts = rng.poisson(truth).astype(float)
    hot = rng.random(counts.shape) < 0.005
    spoiled = np.where(hot, rng.uniform(0, 3 * truth.max(), counts.shape), counts)
    gaps = np.zeros(counts.shape, dtype=bool)
    gaps[:12, :20] = gaps[60] = True
    spoiled[gaps] = np.nan
    errors = []
    for values in (counts, spoiled):
        cut = xr.DataArray(values, dims=("kp", "eV"))
        clean = cut.S.denoise_pcp_unet(iterations=400, networks=1, rng=0).values
        errors.append(np.mean((clean - truth)[~gaps & ~hot] ** 2))
    assert errors[1] < 1.6 * errors[0]


@pytest.mark.slow
def test_a_real_cut_agrees_with_its_other_counts(example_cut):
    """PyARPES's cut, thinned: the denoised image predicts counts that it has never seen."""
    from scipy.ndimage import gaussian_filter

    from arpes_ml_plugins.scoring import held_out_likelihood, psnr, thin_counts

    counts = example_cut["spectrum"]
    thinned, rest = thin_counts(counts.values, 0.02, rng=0)
    noisy = counts.copy(data=thinned)
    clean = noisy.S.denoise_pcp_unet(iterations=400, networks=1, rng=0)
    ratio = 0.02 / 0.98
    reference, variance = rest * ratio, rest * ratio**2
    smooth = gaussian_filter(thinned.astype(float), 2.0)
    assert psnr(clean, reference, variance) > psnr(thinned, reference, variance) + 13
    assert psnr(clean, reference, variance) > psnr(smooth, reference, variance)
    assert held_out_likelihood(clean, rest, 1 / ratio) > held_out_likelihood(
        smooth, rest, 1 / ratio
    )


@pytest.mark.slow
def test_the_rim_is_as_good_as_the_inside():
    """Sides that are no multiple of 16 are padded by mirroring and cropped again."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, 77), np.linspace(-1, 1, 90), indexing="ij")
    truth = 5 + 40 * np.exp(-(((rows - 0.5 * columns) / 0.2) ** 2))
    counts = np.random.default_rng(0).poisson(truth)
    cut = xr.DataArray(counts, dims=("kp", "eV"))
    error = (cut.S.denoise_pcp_unet(iterations=300, rng=0).values - truth) ** 2 / truth
    inside = error[4:-4, 4:-4].mean()
    for rim in (error[:4], error[-4:], error[:, :4], error[:, -4:]):
        assert rim.mean() < 4 * inside
    noise = ((counts - truth) ** 2 / truth).mean()
    assert inside < 0.06 * noise
