"""
A detector mesh
===============

Many analysers have a mesh in front of the detector. It modulates the intensity by about ten
per cent, always at the same pixels. That is not noise: a denoiser keeps it, as it must keep a band.
``denoise`` finds the mesh in the data and divides it out first.
"""

import numpy as np
from matplotlib import pyplot as plt

import arpes_ml_plugins
from arpes_ml_plugins.scoring import psnr

scene = arpes_ml_plugins.simulate_scene((200, 200), counts=10, rng=13)
rows, columns = np.indices(scene["truth"].shape)
mesh = 1 - 0.25 * ((rows % 12 < 3) | (columns % 12 < 3))
mesh = mesh / mesh.mean()  # what the wires take on average cannot be known
seen = scene["truth"].copy(data=np.random.default_rng(0).poisson(scene["truth"] * mesh))

# %%
# The cut is denoised with the mesh left in, and with the mesh found in the data and divided out.
# ``remove_mesh`` does only the latter, and also returns the transmission, ``flat``.

as_it_is = seen.S.denoise(rng=0, mesh=None)
divided = seen.S.denoise(rng=0)
print(divided.attrs["provenance"]["record"]["found"]["mesh"])

figure, panels = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
images = {
    "seen": seen,
    "denoised": as_it_is,
    "found, divided out": divided,
    "truth": scene["truth"],
}
top = float(scene["truth"].quantile(0.995))
for axes, (title, image) in zip(panels, images.items(), strict=True):
    image.plot(ax=axes, vmin=0, vmax=top, cmap="magma", add_colorbar=False)
    axes.set_title(
        f"{title}: {psnr(image, scene['truth']):.1f} dB" if title != "truth" else title
    )

# %%
# The mesh is still there in the second picture, cleaner than before; in the third it is gone.
#
# What to believe
# ---------------
# - That a mesh is there, if one is divided out: it must be significant and the same everywhere.
# - Not that there is none if none is reported: a shallow mesh in few counts is hidden by the noise,
#   and then appears in the denoised image. Look at the second derivative for a regular pattern.
# - A pattern of the sample that repeats, such as a superlattice in momentum, is left in only if it
#   changes with energy. Check ``result.flat``.
