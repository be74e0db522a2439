"""Figures hold what they promise; how they look is checked by eye in the docs."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from arpes_ml_plugins import plotting


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_compare_shows_the_data(cut):
    smooth = cut.rolling(phi=3, min_periods=1).mean()
    figure = plotting.compare(cut, smooth, cut, energy=-0.2)
    titles = [axes.get_title() for axes in figure.axes]
    assert [t for t in titles if t in ("raw", "denoised", "reference")] == [
        "raw",
        "denoised",
        "reference",
    ]
    curves = next(axes for axes in figure.axes if axes.get_title().startswith("MDC"))
    row = smooth.sel(eV=-0.2, method="nearest")
    drawn = {line.get_label(): line.get_ydata() for line in curves.lines}
    np.testing.assert_allclose(drawn["denoised"], row)
    assert curves.get_xlabel() == "phi (rad)"


def test_compare_takes_datasets_nan_and_missing_coordinates(cut):
    holed = cut.astype(float).where(cut > 0).drop_vars(["phi", "eV", "channel"])
    plotting.compare(holed.to_dataset(), holed)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: plotting.compare(c.expand_dims(b=2), c.expand_dims(b=2)), "two-dimensional"),
        (lambda c: plotting.compare(c, c, energy=3.0), "energy=3.0 lies outside"),
        (lambda c: plotting.loss_curve(xr.Dataset({"a": 1})), "variable 'loss'"),
    ],
)
def test_bad_input(cut, call, words):
    with pytest.raises(ValueError, match=words):
        call(cut)


def test_loss_curve(cut):
    result = cut.S.decompose_pcp_unet(iterations=5, rng=0)
    (axes,) = plotting.loss_curve(result).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), result.loss)
