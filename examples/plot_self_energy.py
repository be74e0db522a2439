"""
From a self-energy at Matsubara frequencies to a measured cut
=============================================================

Dynamical mean-field theory ends with a self-energy at Matsubara frequencies. What an ARPES
experiment would show follows in five lines: continue it, put it into the bands, multiply by the
Fermi function and broaden.
"""

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

import arpes_ml_plugins

# %%
# The self-energy has a known answer: a Fermi liquid with two humps at -1.4 and 1.6 eV, on a
# Hartree-Fock constant of 1.2 eV, at an inverse temperature of 40/eV, with errors of 1 meV.

beta, error, constant = 40.0, 1e-3, 1.2
fine = np.linspace(-8, 8, 8001)
step = fine[1] - fine[0]
humps = np.exp(-((fine + 1.4) ** 2) / 0.4) + 0.8 * np.exp(-((fine - 1.6) ** 2) / 0.5)
density = 0.8 * humps * fine**2 / (fine**2 + 0.3)
w_n = (2 * np.arange(120) + 1) * np.pi / beta
exact = (density / (1j * w_n[:, None] - fine)).sum(1) * step
draw = np.random.default_rng(0)
noise = error * (draw.normal(size=120) + 1j * draw.normal(size=120))
sigma = xr.DataArray(
    exact + constant + noise,
    dims="iwn",
    coords={"iwn": ("iwn", w_n, {"units": "eV"})},
)

# %%
# The result also has the constant part and the first moment, with their errors:

result = sigma.S.continue_self_energy(
    beta=beta, stderr=error, omega=np.linspace(-4, 4, 401)
)
for name in ("constant", "moment"):
    print(f"{name}: {float(result[name]):.4f} +- {float(result[name + '_stderr']):.4f}")
print(
    "exactly: 1.2 and",
    round(float(density.sum() * step), 4),
    "| status:",
    result.status.item(),
)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
energy = result.eV
result.self_energy.real.plot(ax=left)
left.set(title="real part", ylabel="eV")
left.axhline(constant, color="0.6", linestyle=":")
right.fill_between(
    energy,
    -np.pi * result.upper,
    -np.pi * result.lower,
    alpha=0.3,
    label="90 % interval",
)
result.self_energy.imag.plot(ax=right, label="continued")
right.plot(fine, -np.pi * density, "k", linewidth=0.8, label="exact")
right.set(title="imaginary part", xlim=(-4, 4), ylabel="eV")
right.legend(frameon=False)
plt.show()

# %%
# Put into a band, it gives what would be measured at 290 K with a resolution of 50 meV. The
# chemical potential compensates the constant. The kink and the flattened band near the Fermi level
# are the mass renormalisation; the smeared weight below is incoherent.

k = np.linspace(-1, 1, 121)
bare = xr.DataArray(1.2 * (k**2 - 0.35), dims="k", coords={"k": k})
mu = float(result.self_energy.sel(eV=0, method="nearest").real)
cut = arpes_ml_plugins.spectral_function_of(
    result.self_energy, bare, mu=mu, broadening=0.02
)
seen = arpes_ml_plugins.as_measured(cut, temperature=290, resolution=0.05)

figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
top = 0.5 * float(seen.max())
seen.plot(ax=axes, x="k", cmap="magma", ylim=(-2.2, 0.2), vmax=top, add_colorbar=False)
axes.plot(k, bare, "w:", linewidth=1, label="bare band")
axes.set(title="as measured", ylabel="energy (eV)")
axes.legend(frameon=False, labelcolor="white")
plt.show()

# %%
# What to believe
# ---------------
# - The constant part, the first moment, and the width near the Fermi level, with the errors that
#   the result states.
# - Not a sharp structure of the self-energy at high energy: the data hardly depend on it.
