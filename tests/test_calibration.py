"""One half of the data judges the errors that the other half states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.denoising.calibration import halves, judged
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.posterior import Deviations
from arpes_ml_plugins.denoising.splitting import Counts
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.simulation.detectors import clouds

SHAPE = (128, 128)


def smooth_noise(generator, draws, width=2.0):
    """Errors like those of a denoiser: of unit variance, alike over some pixels."""
    from scipy.ndimage import gaussian_filter

    noise = torch.randn((draws, *SHAPE), generator=generator, dtype=torch.float64).numpy()
    smooth = gaussian_filter(noise, (0, width, width), mode="wrap")
    return torch.from_numpy(smooth / smooth.std())[:, None]


def rate(counts):
    row, column = np.indices(SHAPE)
    band = np.exp(-(((column - 40 - 0.3 * row) / 8) ** 2)) + 0.2
    return torch.from_numpy(band * counts / band.mean())[None]


@pytest.mark.parametrize("exposed", ["counts", "clouds", "repeats", "odd repeats"])
@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.0])
def test_the_ratio_of_errors_is_found(exposed, wrong):
    """Errors of known size, stated ``wrong`` times too small."""
    generator = torch.Generator().manual_seed(3)
    truth, found = rate(20), []
    noise = NoiseModel(1.0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        exposures, expected = None, truth
        if exposed == "clouds":
            values, blurred = clouds(truth[0].numpy(), (1.0, 1.0), 0.0, rng)
            images, expected = torch.from_numpy(values)[None], torch.from_numpy(blurred)[None]
            noise = NoiseModel(1.0, 0.0, 0.78, 0.78)
        elif "repeats" in exposed:
            number = 5 if exposed == "odd repeats" else 4
            each = rng.poisson(truth.numpy() / number, (number, *SHAPE)) * 1.0
            exposures = torch.from_numpy(each)[None]
            images = exposures.sum(1)
        else:
            images = torch.from_numpy(rng.poisson(truth.numpy()) * 1.0)
        counts = Counts(images, torch.ones_like(images, dtype=torch.bool), False)
        half = halves(counts, noise, generator, exposures)
        part = expected * (0.6 if exposed == "odd repeats" else 0.5)
        size = 0.3 * part.sqrt()
        errors = smooth_noise(generator, 9)
        clean = part + size * errors[0]
        repeated, nothing = size / wrong * errors[1:], torch.zeros_like(clean)
        stated = Deviations(clean, repeated, nothing, nothing[None], scale=1.0)
        found.append(judged(half, stated, noise))
    assert np.mean([one.ratio for one in found]) == pytest.approx(wrong**2, rel=0.25)
    if wrong == 2.0:
        assert np.mean([one.stretch for one in found]) == pytest.approx(2, rel=0.15)
    if wrong == 0.5:
        assert all(one.stretch == 1 for one in found)


def test_halves_add_up_to_the_counts():
    images = torch.from_numpy(np.random.default_rng(0).poisson(rate(5).numpy()) * 1.0)
    counts = Counts(images, torch.ones_like(images, dtype=torch.bool), False)
    half = halves(counts, NoiseModel(1.0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(half.seen.images + half.other, images, check_dtype=False)


@pytest.mark.parametrize(
    "method", [pytest.param("decompose_pretrained", marks=pytest.mark.slow), "sample_posterior"]
)
def test_provenance_says_what_was_found(method):
    data = xr.DataArray(np.random.default_rng(0).poisson(rate(5)[0].numpy()), dims=("phi", "eV"))
    options = {"draws": 4} if method == "sample_posterior" else {}
    found = {}
    for calibrate in (False, True):
        result = getattr(data.S, method)(adapt=False, calibrate=calibrate, rng=0, **options)
        found[calibrate] = result.attrs["provenance"]["record"]["found"]
    assert "calibration" not in found[False]
    assert found[True]["calibration"].startswith("Held-out data: errors are ")
    assert found[True]["stretched"] >= 1


def test_bars_that_are_too_short_are_stretched(monkeypatch):
    from dataclasses import replace

    from arpes_ml_plugins.denoising import counts_denoiser

    right = counts_denoiser.measured_again

    def too_short(*arguments):
        return replace(right(*arguments), scale=0.35)

    truth = rate(5)[0].numpy()
    data = xr.DataArray(np.random.default_rng(1).poisson(truth), dims=("phi", "eV"))
    monkeypatch.setattr(counts_denoiser, "measured_again", too_short)
    options = {"adapt": False, "mesh": None, "rng": 0}
    short = data.S.decompose_pretrained(**options)
    with pytest.warns(CountsWarning, match="further from held-out data"):
        longer = data.S.decompose_pretrained(calibrate=True, **options)
    stretched = longer.attrs["provenance"]["record"]["found"]["stretched"]
    assert 1.5 < stretched < 5  # 2.75, and one small image tells it to 40 %
    held = [float(((x.lower <= truth) & (truth <= x.upper)).mean()) for x in (short, longer)]
    assert held[0] < 0.4 < 0.55 < held[1] < 0.95
