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
# What noise is it? The thinned counts are counts: variance equals mean (middle), and the noise is
# white (right).

figure = plotting.diagnose(noisy)

# %%
# One line denoises it. The Dataset comes back with its spectrum replaced; ``rng`` fixes the random
# numbers, so that this page shows the same picture each time.

clean = noisy.S.denoise(rng=0)
print(clean.attrs["provenance"]["record"]["found"]["why"])
figure = plotting.compare(noisy, clean, hidden)

# %%
# The hidden counts were never seen: where the red line follows the black one and not the grey dots,
# noise was removed and signal was not.
#
# Everything that PyARPES knows of the data is still there, and its history has one more entry:

print(clean["spectrum"].S.short_history())
print(clean["spectrum"].attrs["location"], float(clean["hv"]))

# %%
# How sure is it?
# ---------------
#
# ``decompose_pretrained`` returns ``lower`` and ``upper`` as well. The truth lies between them in
# 68 % of the pixels; ``compare`` shows the interval in the curves. Here the network is not
# adapted to the data, which is quicker.

result = noisy.S.decompose_pretrained(adapt=False, rng=0)
figure = plotting.compare(noisy, result, hidden, energy=-0.2, momentum=0.45, derivative="curvature")

# %%
# The noise of the whole cut, not thinned, is correlated between neighbouring channels: these are
# not independent counts. The network knows such noise too; it is only not adapted to the data,
# because correlated counts cannot be split.

figure = plotting.diagnose(cut)

# %%
# What to believe
# ---------------
#
# - Positions of bands, and structure that the error bars separate from its surroundings.
# - Not a sharp feature of few pixels and few counts: no method can tell it from noise. What is
#   significant and was left out shows in ``found["residual"]`` of the provenance, and in the
#   picture of the data less the clean image.
# - Error bars are for single pixels. For errors of fitted numbers use ``sample_posterior``.
#
# Repeating it
# ------------
#
# Provenance holds enough to run a step again, bit for bit on the same CPU:

again = arpes_ml_plugins.replay(clean, noisy)
print((again["spectrum"].values == clean["spectrum"].values).all())
