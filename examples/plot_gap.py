"""
A gap that closes on warming
============================

The gap of a superconducting band is fitted to a series of cuts with one count per pixel, from 20 to
110 K. The error bars contain the noise of the counts and the effect of the denoiser, and the
simulated truth shows whether they are right.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from lmfit import Model

import arpes_ml_plugins

# %%
# The simulated series has a hole-like band with a gap of 20 meV that closes at 90 K, seen with a
# resolution of about 6 meV.

temperature = np.arange(20.0, 111.0, 15.0)
energy, momentum = np.linspace(-0.12, 0.06, 112), np.linspace(-0.12, 0.12, 96)
true_gap = 0.020 * np.sqrt(np.clip(1 - (temperature / 90) ** 2, 0, None))


def scene(gap, kelvin):
    """BCS spectral function of a linear band, with the Fermi function."""
    bare = 0.9 * momentum
    quasi = np.sqrt(bare**2 + gap**2)
    occupied = (1 - bare / np.maximum(quasi, 1e-9)) / 2
    spectral = sum(
        weight / (1 + ((energy[:, None] - place) / 0.008) ** 2)
        for place, weight in ((-quasi, occupied), (quasi, 1 - occupied))
    )
    return spectral / (1 + np.exp(energy / (8.617e-5 * kelvin)))[:, None] + 0.02


rate = np.stack(
    [scene(gap, kelvin) for gap, kelvin in zip(true_gap, temperature, strict=True)]
)
series = xr.DataArray(
    np.random.default_rng(2).poisson(rate / rate.mean()),
    dims=("temperature", "eV", "kp"),
    coords={"temperature": temperature, "eV": energy, "kp": momentum},
)

# %%
# Samples of the clean series are drawn. For each cut the network also sees the neighbouring
# temperatures.

samples = series.S.sample_posterior(draws=12, adapt=False, rng=0)
shown = {"20 K": series[0], "20 K, denoised": samples.mean("draw")[0]}
shown |= {"110 K": series[-1], "110 K, denoised": samples.mean("draw")[-1]}
figure, panels = plt.subplots(1, 4, figsize=(12, 3), sharey=True, layout="constrained")
for axes, (title, image) in zip(panels, shown.items(), strict=True):
    image.plot(ax=axes, cmap="magma", vmin=0, vmax=9, add_colorbar=False)
    axes.set_title(title)
plt.show()

# %%
# The EDC at the Fermi momentum, symmetrised to remove the Fermi function, is a pair of Lorentzians
# at plus and minus the gap. It is fitted to every sample; the scatter of the results is
# the error.


def pair(x, height, gap, width, floor):
    """Two symmetric lines."""
    lines = [1 / (1 + ((x - at) / width) ** 2) for at in (gap, -gap)]
    return height * (lines[0] + lines[1]) + floor


def symmetrised(images):
    """EDCs around the Fermi momentum, plus their mirror image about the Fermi level."""
    edc = images.sel(kp=slice(-0.008, 0.008)).mean("kp")
    even = np.linspace(-0.055, 0.055, 68)
    return edc.interp(eV=even) + edc.interp(eV=-even).assign_coords(eV=even)


model = Model(pair)
start = model.make_params(height=4, gap=0.015, width=0.01, floor=0.2)
start["gap"].set(min=0.0, max=0.04)
start["width"].set(min=0.004, max=0.03)
fit = arpes_ml_plugins.fit_draws(symmetrised(samples), model, "eV", params=start)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
edcs = symmetrised(samples).mean("draw")
for step in range(len(temperature)):
    raw = symmetrised(series.astype(float))[step]
    left.plot(1e3 * raw.eV, raw + 5 * step, ".", color="0.7", markersize=3)
    left.plot(1e3 * edcs.eV, edcs[step] + 5 * step, color=plt.cm.plasma(step / 8))
left.set(title="symmetrised EDCs; dots: counts", xlabel="energy (meV)", yticks=())
right.errorbar(
    temperature, 1e3 * fit.gap, 1e3 * fit.gap_error, fmt="o", label="fitted to samples"
)
right.plot(temperature, 1e3 * true_gap, color="black", label="truth")
right.set(title="gap", xlabel="temperature (K)", ylabel="meV", ylim=(-1, 26))
right.legend(frameon=False)
plt.show()

# %%
# What to believe
# ---------------
# - A gap well above its error bar and the resolution. The fit takes no account of the resolution
#   and of thermal broadening: near the transition, where the two lines merge, a fitted gap is a
#   bound.
# - The trend from temperature to temperature only as far as the raw EDCs (dots) show it too: the
#   network looks at neighbouring temperatures. Check an abrupt transition with ``series=None``.
