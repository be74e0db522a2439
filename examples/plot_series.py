"""
Separating a temperature or photon-energy series
================================================

A series of images can be a mixture too: each image is a sum of a few component images, and their
strengths change along the series. Pass the series axis as the axis of the "spectra", and the maps
are images in energy and angle. This helps if features change in strength, and misleads if they
move. Both are shown here.
"""

from arpes.io import example_data

from arpes_ml_plugins import plotting

# %%
# Where it helps: strengths that change
# -------------------------------------
# A band reorganises on warming from 16 to 100 K. Take three components without negative values.
warming = example_data.temperature_dependence.spectrum
parts = warming.S.separate_nmf(n_components=3, dims=("temperature",), rng=0)
plotting.components(parts)

# %%
# One temperature dependence sets in between 65 and 70 K and belongs to intensity where the band
# is at high temperature; another falls. The data show where in energy and angle, and at which
# temperature. They do not show that there are two or three "phases": a band that shifts gives the
# same picture, one component for its old place and one for its new one.
#
# The number of components is a warning here: all curves are alike to within a few per cent, so a
# large share of one can be hidden in another.
print(warming.S.choose_components(dims=("temperature",), rng=0).reason.item())

# %%
# Where it misleads: bands that move
# ----------------------------------
# From 50 to 90 eV of photon energy, matrix elements change, which a mixture describes. The momentum
# perpendicular to the surface changes too, which moves bands: no finite sum of fixed images
# describes that.
energies = example_data.photon_energy.spectrum
parts = energies.S.separate_nmf(n_components=3, dims=("hv",), rng=0)
plotting.components(parts)

# %%
# The status says that three components leave a thousand times more than noise, and the residual is
# bright along the bands. The curves are still useful, as a summary of which photon energies show
# which bands, but the images are not separate bands.
print(parts.status.item())
print(energies.S.choose_components(dims=("hv",), rng=0).reason.item())

# %%
# What to believe
# ---------------
# - How the strength of a feature changes along the series, if the status is "ok".
# - Not that components are phases, or bands: a feature that moves is split over several of them.
