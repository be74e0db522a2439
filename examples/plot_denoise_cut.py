"""
Denoise a real cut
==================

PyARPES comes with a measured cut of 240 x 240 pixels and 20.5 million counts. To see what denoising
can do, and to be able to judge it, we keep 2 % of the counts and hide the rest.
"""

import arpes_ml_plugins
from arpes_ml_plugins import plotting
from arpes_ml_plugins.demo import load_cut, thin_cut

cut = load_cut()
noisy, hidden = thin_cut(cut, fraction=0.02, seed=0)
noisy["spectrum"]

# %%
# One line denoises it. The Dataset comes back with its spectrum replaced; ``rng`` fixes the
# networks' first weights, so that this page shows the same picture each time.

clean = noisy.S.denoise_pcp_unet(rng=0)
figure = plotting.compare(noisy, clean, hidden)

# %%
# The hidden counts were never seen: where the red line follows the black one and not the grey dots,
# noise was removed and signal was not.
#
# Everything that PyARPES knows of the data is still there, and its history has one more entry:

print(clean["spectrum"].S.short_history())
print(clean["spectrum"].attrs["location"], float(clean["hv"]))

# %%
# What was taken away
# -------------------
#
# ``decompose_pcp_unet`` returns all parts. Residuals are divided by the square root of the
# intensity here, so that noise looks the same everywhere. A band in this picture would be a band
# that was removed.

from matplotlib import pyplot as plt

parts = noisy.S.decompose_pcp_unet(rng=0, networks=1)
scaled = parts["residual"] / (parts["clean"].clip(0) + 0.5) ** 0.5
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
scaled.plot(
    x="phi", ax=axes[0], cmap="RdBu_r", vmin=-3, vmax=3, cbar_kwargs={"label": "residual / √I"}
)
parts["prior"].plot(x="phi", ax=axes[1], cmap="magma", vmin=0, cbar_kwargs={"label": "counts"})
axes[0].set_title("residual")
axes[1].set_title("prior: low-rank part")

# %%
# The loss ends flat: the fit is over. For Poisson counts it ends near one half.

figure = plotting.loss_curve(parts)

# %%
# As published
# ------------
#
# The published recipe freezes on these data: its sparse term takes up the noise together with the
# signal, and the image stays noisy. See :doc:`/denoising` for the numbers.

published = noisy.S.denoise_pcp_unet(recipe="published", iterations=500, rng=0)
figure = plotting.compare(noisy, published, clean)

# %%
# Repeating it
# ------------
#
# Provenance holds enough to run a step again, bit for bit on the same CPU:

again = arpes_ml_plugins.replay(published, noisy)
print((again["spectrum"].values == published["spectrum"].values).all())
