"""Spectral functions as a measurement shows them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.errors import (
    AxisError,
    ParameterError,
)


def test_as_measured():
    energy = np.linspace(-1, 1, 401)
    flat = xr.DataArray(np.ones((2, 401)), coords={"eV": energy}, dims=("k", "eV"))
    edge = arpes_ml_plugins.as_measured(flat, temperature=100.0, resolution=0.05)
    kt = 8.617333262e-5 * 100
    slope = float(edge[0].differentiate("eV").sel(eV=0, method="nearest"))
    # Gaussian of the resolution and derivative of the Fermi function, in quadrature
    sigma = np.hypot(0.05 / 2.3548, np.pi * kt / np.sqrt(3))
    assert slope == pytest.approx(-1 / (sigma * np.sqrt(2 * np.pi)), rel=0.1)
    assert edge.dims == flat.dims
    sharp = arpes_ml_plugins.as_measured(flat, beta=1 / kt)
    np.testing.assert_allclose(sharp[0], 1 / (np.exp(energy / kt) + 1), rtol=1e-9)
    with pytest.raises(ParameterError, match="either"):
        arpes_ml_plugins.as_measured(flat)
    with pytest.raises(ParameterError, match="positive"):
        arpes_ml_plugins.as_measured(flat, beta=-1.0)
    uneven = flat.assign_coords(eV=np.sinh(energy))
    with pytest.raises(AxisError, match="evenly"):
        arpes_ml_plugins.as_measured(uneven, beta=10.0, resolution=0.1)


def test_as_measured_keeps_what_it_was_given():
    """Chunks, precision and name."""
    energy = np.linspace(-1, 1, 101)
    values = np.random.default_rng(0).random((3, 101)).astype(np.float32)
    data = xr.DataArray(values, {"eV": energy}, ("k", "eV"), name="A")
    lazy = arpes_ml_plugins.as_measured(
        data.chunk(k=1, eV=50).transpose("eV", "k"), temperature=20, resolution=0.1
    )
    assert lazy.chunks is not None
    assert (lazy.dims, lazy.dtype, lazy.name) == (("eV", "k"), np.float32, "A")
    eager = arpes_ml_plugins.as_measured(data, temperature=20, resolution=0.1)
    xr.testing.assert_allclose(lazy.compute().transpose(*data.dims), eager, atol=1e-6)


def test_a_resolution_below_the_step_is_told():
    flat = xr.DataArray(np.ones(41), {"eV": np.linspace(-1, 1, 41)}, ("eV",))
    with pytest.warns(UserWarning, match=r"below the step 0\.05 of 'eV'"):
        arpes_ml_plugins.as_measured(flat, temperature=20, resolution=0.01)
