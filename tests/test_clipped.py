"""Noise of images of which a large part has the highest value that a file can hold."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins import simulate_scene

SCENE = simulate_scene((96, 96), counts=160, rng=88).truth.values


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
@pytest.mark.parametrize("share", [0.4, 0.6])
def test_pixels_that_are_cut_off_do_not_spoil_the_noise(share):
    """Errors of the others were 0.6 to 0.7 times those of the data."""
    counts = np.random.default_rng(1).poisson(SCENE)
    top = np.quantile(counts, 1 - share)
    data = np.minimum(np.round(counts / top * 255), 255).astype(np.uint8)
    truth = SCENE / top * 255
    clean = xr.DataArray(data, dims=("eV", "phi")).S.denoise(adapt=False, rng=0).values
    below = truth < 200
    error, usual = (np.square(x - truth)[below].mean() for x in (clean, data))
    assert error < 0.3**2 * usual
