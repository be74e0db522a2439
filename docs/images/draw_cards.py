"""Draw the three pictures of the README and of the documentation's first page.

Run it from anywhere: ``python docs/images/draw_cards.py``. It needs PyARPES and lmfit.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from arpes_ml_plugins import simulate_greens_function
from arpes_ml_plugins.demo import load_cut, thin_cut

FOLDER = Path(__file__).parent
SIZE = (6.4, 3.2)
COLOURS = ("#0072b2", "#d55e00", "#009e73")


def draw_denoising() -> None:
    """PyARPES's cut with 2 % of its counts, and denoised."""
    noisy, _ = thin_cut(load_cut(), fraction=0.02, seed=0)
    images = {"7 counts per pixel": noisy, "denoised": noisy.S.denoise(rng=0)}
    figure, panels = plt.subplots(1, 2, figsize=SIZE, sharey=True, layout="constrained")
    for axes, (title, data) in zip(panels, images.items(), strict=True):
        image = data["spectrum"].astype(float)
        image.plot(ax=axes, y="eV", cmap="magma", vmin=0, vmax=24, add_colorbar=False)
        axes.set(title=title, xlabel="phi (rad)", ylabel="energy (eV)")
    panels[1].set_ylabel("")
    figure.savefig(FOLDER / "card_denoise.png", dpi=120)


def draw_continuation() -> None:
    """Noisy G(tau) of a hybridised band, and its A(k, omega)."""
    momentum = np.linspace(-1, 1, 61)
    energy = np.linspace(-2.5, 2.5, 1001)
    self_energy = 0.35**2 / (energy + 0.3 + 0.08j) - 0.08j
    green = 1 / (energy - (2.0 * momentum**2 - 1.2)[:, None] - self_energy)
    truth = xr.DataArray(-green.imag / np.pi, {"k": momentum, "eV": energy}, ("k", "eV"))
    truth /= truth.integrate("eV")
    beta, error = 40.0, 1e-3
    g = simulate_greens_function(truth, beta=beta, times=161, stderr=error, rng=0)
    result = g.S.continue_rlista(beta=beta, stderr=error, omega=np.linspace(-2.5, 2.5, 201))
    figure, (left, right) = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
    for k in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        curve = g.sel(k=k, method="nearest")
        left.plot(g["tau"], curve, color=plt.cm.viridis(0.9 * k), linewidth=1, label=f"{k:g}")
    left.legend(title="k (1/Å)", ncols=3, fontsize=7, title_fontsize=7, loc="upper center")
    left.set(title="measured, errors of 1e-3", xlabel="τ (1/eV)", ylabel="G(τ)", yscale="log")
    left.set_ylim(3e-3, 1.2)
    result.spectral_function.plot(
        ax=right, x="k", cmap="magma", vmin=0, vmax=2.5, add_colorbar=False, ylim=(-2, 1.3)
    )
    right.set(title="A(k, ω)", xlabel="k (1/Å)", ylabel="energy (eV)")
    figure.savefig(FOLDER / "card_continue.png", dpi=120)


def draw_separation() -> None:
    """PyARPES's nano-XPS map, split into three components without a library."""
    from arpes.io import example_data

    result = example_data.nano_xps.spectrum.S.separate_gmca(n_components=3, rng=0)
    figure, (left, right) = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
    colours = np.array([mpl.colors.to_rgb(colour) for colour in COLOURS])
    shown = np.ones((result.sizes["y"], result.sizes["x"], 3))
    for number, colour in enumerate(colours):
        share = result.maps.isel(component=number).transpose("y", "x").values
        share = np.clip(share / np.nanpercentile(share, 99.5), 0, 1)
        shown -= share[..., None] * (1 - colour) * 0.8
        spectrum = result.spectra.isel(component=number)
        right.plot(spectrum["eV"], spectrum / spectrum.max(), color=COLOURS[number])
    left.imshow(np.clip(shown, 0, 1), origin="lower")
    left.set(title="maps of three components", xlabel="x", ylabel="y", xticks=(), yticks=())
    right.set(title="their spectra", xlabel="energy (eV)", ylabel="intensity", yticks=())
    figure.savefig(FOLDER / "card_separate.png", dpi=120)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draw_denoising()
        draw_continuation()
        draw_separation()
