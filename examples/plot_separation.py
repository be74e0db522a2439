"""
Chemical states from a nano-XPS map
===================================

A beam of some hundred nanometres scans a flake of a tungsten compound; at every point a spectrum of
the W 4f doublet is taken. Which chemical states are there, and where?
"""

from arpes.io import example_data
from lmfit.models import LinearModel, PseudoVoigtModel

import arpes_ml_plugins
from arpes_ml_plugins import plotting

nano = example_data.nano_xps.spectrum
print(dict(nano.sizes))

# %%
# First without any knowledge: how do three components look? ``separate_palm`` starts from
# non-negative matrix factorisation. It takes a second.
blind = nano.S.separate_palm(n_components=3, rng=0)
plotting.components(blind)

# %%
# A smooth spectrum of the substrate, and two doublets, the weaker of them 0.4 eV higher and at a
# particle and the rim of the flake. Now say what is known: a spin-orbit doublet of fixed splitting
# and ratio at two places, on a background that may slope, and the substrate's own spectrum as it
# was found. Ranges of parameters make a family of spectra of each.


def doublet(lowest, highest):
    model = PseudoVoigtModel(prefix="left_") + PseudoVoigtModel(prefix="right_")
    model += LinearModel(prefix="background_")
    model.set_param_hint("left_center", expr="right_center - 2.13")
    model.set_param_hint("left_amplitude", expr="right_amplitude * 0.62")
    model.set_param_hint("left_sigma", expr="right_sigma")
    model.set_param_hint("left_fraction", expr="right_fraction")
    ranges = {
        "right_center": (lowest, highest),
        "right_sigma": (0.15, 0.45),
        "right_fraction": (0.2, 0.8),
        "right_amplitude": 1.0,
        "background_slope": (-0.02, 0.02),
        "background_intercept": (0.7, 1.0),
    }
    return model, ranges


states = arpes_ml_plugins.SpectrumLibrary.from_lmfit(
    {"W 4f": doublet(-32.7, -32.35), "W 4f, shifted": doublet(-32.3, -31.9)}, nano.eV
)
substrate = arpes_ml_plugins.SpectrumLibrary.from_blind(blind.isel(component=[0]))
library = arpes_ml_plugins.SpectrumLibrary({**states, "substrate": substrate["1"]})
print(library)

# %%
# The network is trained on mixtures of these, with the noise of these data: half a minute, once.
result = nano.S.separate_lpalm(library=library, rng=0)
plotting.components(result)

# %%
# How far is each family from what the data contain? And is anything left?
print(result.library_distance.to_series().round(3))
print(f"chi2 a value: {float(result.residual_chi2.mean()):.2f}; status: {result.status.item()}")
