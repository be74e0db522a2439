"""
The two-stage method, and what it takes away
============================================

``denoise_pcp_unet`` assumes nothing about counts. ``denoise`` uses it if the noise cannot be
measured, because there are too few pixels, or constant values.
"""

from arpes_ml_plugins import plotting
from arpes_ml_plugins.demo import load_cut, thin_cut

cut = load_cut().isel(eV=slice(96, 216))  # half of it, to be quick
noisy, hidden = thin_cut(cut, fraction=0.02, seed=0)

# %%
# ``decompose_pcp_unet`` returns all parts. The residual is divided by the square root of the
# intensity here, so that noise looks the same everywhere. A band in this picture would be a band
# that was removed.

from matplotlib import pyplot as plt

parts = noisy.S.decompose_pcp_unet(rng=0, networks=1)
scaled = parts["residual"] / (parts["clean"].clip(0) + 0.5) ** 0.5
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
scaled.plot(
    x="phi",
    ax=axes[0],
    cmap="RdBu_r",
    vmin=-3,
    vmax=3,
    cbar_kwargs={"label": "residual / √I"},
)
parts["prior"].plot(
    x="phi", ax=axes[1], cmap="magma", vmin=0, cbar_kwargs={"label": "counts"}
)
axes[0].set_title("residual")
axes[1].set_title("prior: low-rank part")

# %%
# The loss ends flat: the fit is over. For Poisson counts it ends near one half.

figure = plotting.loss_curve(parts)

# %%
# As published
# ------------
#
# The fit by the published recipe stalls on these data: its sparse term absorbs what the network has
# not yet learned, noise and signal alike, and the network's image stays half finished (the sum of
# both is still noisy). See :doc:`/two_stage` and :doc:`/sparse_noise` for the numbers. In the picture
# the published form is the one called denoised, and the robust form of above the reference.

published = noisy.S.denoise_pcp_unet(recipe="published", iterations=150, rng=0)
figure = plotting.compare(noisy, published, parts)

# %%
# What to believe
# ---------------
# - The robust form, if the noise can be measured neither as that of counts nor from place to place.
#   Otherwise ``denoise`` is better and faster.
# - Nothing that only the sparse part shows: it contains outliers, and sharp structure with them.
