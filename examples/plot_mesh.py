"""
A detector mesh
===============

Many analysers have a mesh in front of the detector. It modulates the intensity by some ten per
cent, always at the same pixels. That is not noise: a denoiser must keep it, as it must keep a band.
Divide it out before.
"""

import numpy as np
from matplotlib import pyplot as plt

import arpes_ml_plugins
from arpes_ml_plugins.scoring import psnr

scene = arpes_ml_plugins.simulate_scene((200, 200), counts=10, rng=13)
rows, columns = np.indices(scene["truth"].shape)
mesh = 1 - 0.25 * ((rows % 12 < 3) | (columns % 12 < 3))
seen = scene["truth"].copy(data=np.random.default_rng(0).poisson(scene["truth"] * mesh))

# %%
# Denoised as it is, and divided by the mesh first. The mesh is known from an exposure of something
# featureless. After the division the noise is no longer exactly that of counts (its variance is a
# third larger behind the wires), but nearly so: ``gain=1`` says that we know.

as_it_is = seen.S.denoise(rng=0)
divided = (seen / mesh).S.denoise(gain=1, rng=0)

figure, panels = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
images = {"seen": seen, "denoised": as_it_is, "divided, denoised": divided, "truth": scene["truth"]}
top = float(scene["truth"].quantile(0.995))
for axes, (title, image) in zip(panels, images.items(), strict=True):
    image.plot(ax=axes, vmin=0, vmax=top, cmap="magma", add_colorbar=False)
    axes.set_title(f"{title}: {psnr(image, scene['truth']):.1f} dB" if title != "truth" else title)

# %%
# The mesh is still there in the second picture, cleaner than before; in the third it is gone.
