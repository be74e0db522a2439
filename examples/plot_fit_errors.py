"""
Error bars that reach the fit
=============================

A gap, a velocity or a self-energy is fitted to many pixels. After denoising, the errors of these
pixels are not independent, and the error that a fit reports is several times too small. Here a
band with known positions is fitted in three ways.
"""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from lmfit.models import ConstantModel, LorentzianModel

import arpes_ml_plugins
from arpes_ml_plugins import plotting

energy, momentum = np.linspace(-0.3, 0.02, 128), np.linspace(-0.25, 0.25, 160)
dispersion = -0.02 + energy / 2.4
width = 0.012 + 0.3 * energy**2
rate = 1.5 / (1 + ((momentum - dispersion[:, None]) / width[:, None]) ** 2) + 0.15
rate /= 1 + np.exp(energy / 0.006)[:, None]
cut = xr.DataArray(
    np.random.default_rng(1).poisson(rate),
    dims=("eV", "kp"),
    coords={"eV": energy, "kp": momentum},
)
float(cut.mean())

# %%
# Sixteen samples are images that are plausible given these counts. Their curves deviate over many
# pixels together, not pixel by pixel:

samples = cut.S.sample_posterior(draws=16, rng=0)
figure = plotting.draws(samples, cut, energy=-0.1, momentum=-0.06)

# %%
# Every MDC of every sample is fitted. The scatter of the results is the error of a position, with
# the effect of denoising included. The same fit is made to the raw counts, and to the denoised
# image as if its pixels were independent.

model = LorentzianModel() + ConstantModel()
start = model.make_params(amplitude=0.05, center=-0.06, sigma=0.015, c=0.2)
start["center"].set(min=-0.2, max=0.1)
some = slice(4, 118, 6)
fit = arpes_ml_plugins.fit_draws(samples.isel(eV=some), model, "kp", params=start)


def naive(image):
    """Positions and the errors that lmfit reports, MDC by MDC."""
    fits = [model.fit(row.values, start, x=momentum) for row in image.isel(eV=some)]
    return np.array(
        [(f.params["center"].value, f.params["center"].stderr or np.nan) for f in fits]
    )


ways = {
    "raw counts": naive(cut.astype(float)),
    "denoised, errors of the fit": naive(samples.mean("draw")),
    "samples": np.stack([fit.center, fit.center_error], 1),
}
truth = dispersion[some]

figure, both = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
for axes, (name, (place, error)) in zip(
    both, ((k, v.T) for k, v in ways.items()), strict=True
):
    inside = np.mean(np.abs(place - truth) < error)
    axes.errorbar(
        energy[some], 1e3 * (place - truth), 1e3 * error, fmt="o", markersize=3
    )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(title=f"{name}\n68 % bars hold {inside:.0%}", xlabel="eV", ylim=(-12, 12))
both[0].set_ylabel("position minus truth (10⁻³ 1/Å)")

# %%
# How long to measure
# -------------------
#
# ``counts_needed`` simulates measurements of such samples that take half to eight times as long,
# and estimates when the error of a quantity is as small as you want.


def position(image):
    """Position of the band at -100 meV."""
    curve = image.sel(eV=-0.1, method="nearest")
    return model.fit(curve.values, start, x=momentum).params["center"].value


needed = arpes_ml_plugins.counts_needed(cut, position, error=3e-4, draws=6, rng=0)
print(
    f"now ± {1e3 * needed.error_now.item():.2f}, wanted ± 0.3 (10⁻³ 1/Å): {needed.status.item()},"
)
print(f"{needed.factor.item():.1f} ± {needed.factor_error.item():.1f} times as long")

# %%
# What to believe
# ---------------
# - The errors from samples: they contain noise and denoising.
# - Not the errors that a fit to a denoised image reports: they are several times too small.
# - Not the factor of ``counts_needed`` to ten per cent: it has an error of its own. Estimate again
#   after half of the time.
