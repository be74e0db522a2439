"""
From a nano-XPS map to chemical states
======================================

A beam of some hundred nanometres scans a flake of a tungsten compound. Every point of the map has a
spectrum of the W 4f doublet: which chemical states are there, and where? If you have never
separated sources before, begin here.

Everything rests on one assumption, the *linear mixture*: the spectrum at a point is a sum of a few
component spectra, the same everywhere, each times its intensity at that point. Separation finds
both the spectra and the maps of their intensities. Many pairs of spectra and maps explain the same
data, so something must be known besides: that intensities are not negative, that maps are sparse,
or, best, how a spectrum may look.
"""

from arpes.io import example_data
from lmfit.models import LinearModel, PseudoVoigtModel

import arpes_ml_plugins
from arpes_ml_plugins import plotting

nano = example_data.nano_xps.spectrum
print(dict(nano.sizes), nano.dtype)

# %%
# The noise first
# ---------------
# Every method below measures the noise of each channel itself and divides the data by it, so
# nothing has to be done. But look at the verdict: noise that is correlated between energies, as
# here, is not quite white after that, so a chi^2 of 1.1 or 1.2 is no sign of a missing component.
print(nano.S.estimate_noise(dims=("eV", "x")).verdict.item())

# %%
# How many components?
# --------------------
# Each number is tried on all pixels, and on halves of them chosen at random. The left panel shows
# what is left unexplained, the right one whether both halves find the same spectra.
number = nano.S.choose_components(rng=0)
plotting.component_count(number)

# %%
# There are three. With more, the misfit still falls a little, since the noise is not quite white,
# but the halves no longer agree on what the further components are.
#
# A blind start
# -------------
# GMCA knows nothing of the spectra. It looks for non-negative maps whose details are sparse.
blind = nano.S.separate_gmca(n_components=3, rng=0)
plotting.components(blind)

# %%
# It finds a smooth spectrum of the substrate, a doublet on the flake, and a weaker one, half an eV
# higher, at one particle and along the edge. Non-negative matrix factorisation, below, explains the
# data equally well with different spectra: the substrate and the weaker doublet dip where the
# flake's doublet peaks, which no photoelectron spectrum does. Each blind component contains a share
# of the others, and nothing in the data shows how large it is.
plotting.components(nano.S.separate_nmf(n_components=3, rng=0))

# %%
# What is known
# -------------
# Both states are spin-orbit doublets: they have a fixed splitting and ratio, one width, and a
# background that may slope. In lmfit that is a model, and the ranges of its parameters define a
# family of spectra.


def doublet(lowest, highest):
    model = PseudoVoigtModel(prefix="right_") + PseudoVoigtModel(prefix="left_")
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
print(states)

# %%
# sGMCA: two components known, one free
# -------------------------------------
# Nothing is trained. The method finds out which component belongs to which family. The substrate
# has no model and is the third component.
result = nano.S.separate_sgmca(library=states, n_components=3, rng=0)
plotting.components(result)

# %%
# The shifted state is a doublet by construction now, with its background, at the particle and
# hardly anywhere else. The substrate, without a model, is as smooth as before.
#
# LPALM: all components known
# ---------------------------
# This method learns to separate mixtures of the library (half a minute, once), so it needs a family
# for the substrate too. The blind result gives one, with a variable share of the others.
substrate = arpes_ml_plugins.SpectrumLibrary.from_blind(blind)["1"]
library = arpes_ml_plugins.SpectrumLibrary({**states, "substrate": substrate})
learned = nano.S.separate_lpalm(library=library, rng=0)
plotting.components(learned)

# %%
# What to believe
# ---------------
# Look at the distance of each family from what the data contain (the sine of an angle; well below
# 0.1 is good), and at what is left in the residual.
for name, one in {"sGMCA": result, "LPALM": learned}.items():
    print(name, one.library_distance.to_series().round(3).to_dict())
    chi2 = float(one.residual_chi2.mean())
    print(f"  chi2 per degree of freedom {chi2:.2f}; status: {one.status.item()}")

# %%
# - Binding energies and maps of the two doublets: all methods agree on them, and so do the halves.
# - Not the background under a doublet, and with it the substrate's intensity on the flake. Any
#   share of a smooth spectrum can be moved from one component to another, and the methods differ in
#   it. With a library the error bars show this, since they cover all spectra of a family that agree
#   with the data. Those of GMCA contain the noise alone, and do not.
# - The residual is above 1 on the flake: line shapes change there a little from point to point,
#   which no sum of three spectra describes.
position = result.spectra.sel(component=list(states)).idxmax("eV")
print(position.to_series().round(2).to_dict())
