"""
A Fermi map at ten counts per pixel
===================================

Scanning a second angle makes a volume of cuts that resemble their neighbours. The network looks at
the neighbours of each cut. PyARPES's map is thinned here to about ten counts per pixel, so that the
result can be compared with the counts left out.
"""

import numpy as np
from arpes.io import example_data
from matplotlib import pyplot as plt

import arpes_ml_plugins  # noqa: F401  (this import adds the methods to .S)
from arpes_ml_plugins.scoring import thin_counts

volume = example_data.map.spectrum.transpose("theta", "phi", "eV").isel(
    theta=slice(12, 44)
)
print(dict(volume.sizes))

# %%
# The map's values are in units of its detector. The noise shows how many electrons they are.

verdict = volume.isel(theta=16).S.estimate_noise()
print(verdict.verdict.item())
electrons = np.round(volume / float(verdict.gain)).clip(min=0).astype(int)
fraction = 10.0 / float(electrons.mean())
thinned, rest = thin_counts(electrons.values, fraction, 0)
counts = volume.copy(data=thinned)
reference = volume.copy(data=rest * fraction / (1 - fraction))

# %%
# One line denoises the whole volume. ``adapt=False`` uses the network as it is, which is quick;
# adapting takes longer and gains little on a map.

clean = counts.S.denoise_pretrained(gain=1, adapt=False, rng=0)

# %%
# The map at the Fermi energy is the mean over 30 meV. Denoise the volume first, then cut and sum.

shown = {
    "ten counts per pixel": counts,
    "denoised": clean,
    "the counts left out": reference,
}
figure, panels = plt.subplots(
    1, 3, figsize=(11, 3.6), sharey=True, layout="constrained"
)
for axes, (title, data) in zip(panels, shown.items(), strict=True):
    image = data.sel(eV=slice(-0.03, 0.0)).mean("eV")
    top = float(reference.sel(eV=slice(-0.03, 0.0)).mean("eV").quantile(0.995))
    image.plot(ax=axes, x="phi", cmap="magma", vmin=0, vmax=top, add_colorbar=False)
    axes.set_title(title)
plt.show()

# %%
# The same for a single cut, for which the network has used the counts of its neighbours:

figure, panels = plt.subplots(
    1, 3, figsize=(11, 3.6), sharey=True, layout="constrained"
)
for axes, (title, data) in zip(panels, shown.items(), strict=True):
    cut = data.isel(theta=16)
    top = float(reference.isel(theta=16).quantile(0.995))
    cut.plot(
        ax=axes, x="phi", y="eV", cmap="magma", vmin=0, vmax=top, add_colorbar=False
    )
    axes.set_title(title)
plt.show()

# %%
# What to believe
# ---------------
# - Contours and bands that are in the denoised map, but not their sharpness.
# - Not that a weak band is absent because the denoised map lacks it: where there are few counts,
#   the faint lines of the reference are lost. ``sample_posterior`` shows how certain the map is,
#   and ``counts_needed`` how much longer to measure.
