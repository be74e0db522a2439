"""
A nano-XPS map that charges up
==============================

On an insulating or inhomogeneous sample every pixel has its own energy zero: it charges, its bands
bend, its work function differs. A line that moves is no sum of a few fixed spectra, and separation
then shows chemistry that is not there. Here the truth is known: three chemical states with lines of
0.5 eV, and a shift of 0.6 eV from one side of the map to the other.
"""

import numpy as np
import xarray as xr
from matplotlib import pyplot as plt

import arpes_ml_plugins
from arpes_ml_plugins import plotting

energy = np.linspace(-37, -30, 70)
states = {"metal": -34.1, "oxide": -33.15, "sulphide": -32.3}


def doublet(centre, energy=energy):
    """Two lines of 0.5 eV, 2.15 eV apart, on a constant background."""
    lines = [
        np.exp(-4 * np.log(2) * ((energy - c) / 0.5) ** 2)
        for c in (centre, centre - 2.15)
    ]
    return lines[0] + 0.75 * lines[1] + 0.1


rows, columns = np.mgrid[:48, :48]
level = np.sin(columns / 7 + 1) + np.cos(rows / 9) + 0.5 * np.sin((rows + columns) / 11)
maps = np.stack([np.exp(-((level - at) ** 2) / 0.5) for at in (-1.1, 0.1, 1.3)])
maps /= maps.sum(0)
ramp = 0.3 * (columns / 23.5 - 1)
rate = sum(
    share[..., None] * doublet(centre, energy - ramp[..., None])
    for share, centre in zip(maps, states.values(), strict=True)
)
counts = np.random.default_rng(0).poisson(100 * rate / rate.max())
nano = xr.DataArray(counts.astype(float), coords={"eV": energy}, dims=("y", "x", "eV"))

# %%
# Without shifts
# --------------
# A separation that does not know of shifts has three components that look right at first sight. But
# the maps are wrong at the left and right ends, where lines have moved onto those of another state,
# and chi^2 is nearly 5. The title is the status of the result: it says that spectra which move
# explain more than fixed ones.

fixed = nano.S.separate_gmca(n_components=3, shift=False, rng=0)
plotting.components(fixed)
plt.show()

# %%
# A blind separation with shifts
# ------------------------------
# By default, the blind methods look for shifts and undo them. They do so only if shifts explain
# more than one component more would.

blind = nano.S.separate_gmca(n_components=3, rng=0)
plotting.components(blind)
plt.show()

# %%
# With a library
# --------------
# With references of the three states, chemistry can be told from charging: the energy of each pixel
# may shift, as long as each family stays more like itself than like another. The shifts are found,
# undone, and returned. Real references differ a little from the spectra of a map; so do these.

references = {
    name: xr.DataArray(doublet(centre + offset), coords={"eV": energy}, dims="eV")
    for (name, centre), offset in zip(states.items(), (0.05, -0.06, 0.04), strict=True)
}
library = arpes_ml_plugins.SpectrumLibrary.from_spectra(
    references, shift=0.2, broaden=0.1
)
result = nano.S.separate_sgmca(library=library, rng=0)
plotting.components(result)
plt.show()

# %%
# The shift itself is a measurement: of charging, of band bending, of the work function. It is
# relative to the mean of all pixels, and has a standard error for each pixel.

figure, panels = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
result["shift"].plot(ax=panels[0], x="x", cmap="RdBu_r", cbar_kwargs={"label": "eV"})
panels[0].set(title="shift, found", aspect="equal")
truth = result["shift"].copy(data=ramp)
(result["shift"] - truth).plot(
    ax=panels[1], x="x", cmap="RdBu_r", cbar_kwargs={"label": "eV"}
)
panels[1].set(title="found minus true", aspect="equal")
result["shift_stderr"].plot(
    ax=panels[2], x="x", cmap="viridis", cbar_kwargs={"label": "eV"}
)
panels[2].set(title="stated standard error", aspect="equal")
plt.show()

difference = result["shift"] - truth
print(f"rms error {1e3 * float(difference.std()):.0f} meV")

# %%
# What to believe
# ---------------
# - With a library, the maps and the shifts, as long as ``status`` is "ok".
# - Without one, the differences of shifts between pixels. The zero of energy is not determined, and
#   each blind component contains a share of the others.
# - All components of a pixel shift alike. For an oxide that charges on a metal that does not, pass
#   ``shift="by component"``.
