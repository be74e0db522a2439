"""
From imaginary time to A(k, ω)
==============================

Quantum Monte Carlo gives Green's functions in imaginary time, with noise; an ARPES experiment sees
the spectral function at real frequencies. Here the spectral function is known, so that the
continuation can be compared with it.
"""

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

import arpes_ml_plugins
from arpes_ml_plugins import plotting

# %%
# The band hybridises with a flat one: the self-energy has a pole at -0.3 eV, which opens a gap.

k = np.linspace(-1, 1, 41)
energy = np.linspace(-2.5, 2.5, 1001)
band = -1.2 + 2.0 * k**2
self_energy = 0.35**2 / (energy + 0.3 + 0.08j) - 0.08j
green = 1 / (energy - band[:, None] - self_energy)
truth = xr.DataArray(
    -green.imag / np.pi, coords={"k": k, "eV": energy}, dims=("k", "eV")
)
truth /= truth.integrate("eV")

# %%
# Its Green's function is computed at an inverse temperature of 40/eV (290 K), with errors of 1e-4.
# As ``tau`` is in 1/eV, results have an axis ``eV`` like ARPES data.

beta, error = 40.0, 1e-4
g = arpes_ml_plugins.simulate_greens_function(
    truth, beta=beta, times=161, stderr=error, rng=0
)

# %%
# All momenta are continued at once, by the network that comes with the package and maximum entropy
# after it. Without ``omega=`` the window is as wide as the data allow; here we know where the bands
# end.

omega = np.linspace(-2.5, 2.5, 201)
result = g.S.continue_rlista(beta=beta, stderr=error, omega=omega)
print(
    result[["chi2", "out_of_distribution"]]
    .to_dataframe()
    .describe()
    .loc[["mean", "max"]]
)

# %%
# The image, one spectrum with its 90 % credible interval (black is the truth), and the fit to the
# data are in one figure:

plotting.spectrum(result, g, truth, at=0.7)
plt.show()

# %%
# Maximum entropy with a flat default model is the comparison. Both explain the data equally well;
# the network knows more about what spectra look like.

flat = g.S.continue_maxent(beta=beta, stderr=error, omega=omega)
shown = {"truth": truth, "continue_rlista": result, "continue_maxent": flat}
figure, panels = plt.subplots(
    1, 3, figsize=(12, 3.6), sharey=True, layout="constrained"
)
for axes, (title, what) in zip(panels, shown.items(), strict=True):
    image = what if title == "truth" else what["spectral_function"]
    image.plot(
        ax=axes, x="k", vmin=0, vmax=3, cmap="magma", add_colorbar=False, ylim=(-2, 1.3)
    )
    on_grid = truth.interp(eV=image.eV)
    missed = float(np.abs(image - on_grid).integrate("eV").mean())
    axes.set_title(title if title == "truth" else f"{title}: {missed:.0%} misplaced")
    axes.set_ylabel("energy (eV)")
plt.show()

# %%
# ``as_measured`` multiplies by the Fermi function at the sample's temperature and broadens by the
# energy resolution, for a comparison with measured EDCs.

seen = arpes_ml_plugins.as_measured(
    result.spectral_function, temperature=290, resolution=0.05
)
exact = arpes_ml_plugins.as_measured(truth, temperature=290, resolution=0.05)
figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
for momentum in (0.0, 0.5, 0.7):
    seen.sel(k=momentum, method="nearest").plot(ax=axes, label=f"k = {momentum}")
    exact.sel(k=momentum, method="nearest").plot(ax=axes, color="black", linewidth=0.7)
axes.set(title="EDCs as measured; thin: exact", xlim=(-2, 0.3))
axes.legend(frameon=False)
plt.show()

# %%
# What to believe
# ---------------
# - Positions and weights of peaks, and the credible interval, if ``status`` is "ok".
# - Not widths below ``result.resolution``: imaginary time resolves them the less, the farther a
#   peak is from zero. Such a peak has the right place and weight, and the wrong width.
# - Not a result for which the errors of the data were guessed. Errors that are too small turn noise
#   into peaks; chi^2 is then far from 1.
