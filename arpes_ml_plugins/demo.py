"""The demonstration: denoise PyARPES's own example cut, and measure how well."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TextIO

import xarray as xr

from arpes_ml_plugins.labelled.files import save, whole_file
from arpes_ml_plugins.plotting import compare
from arpes_ml_plugins.scoring import held_out_likelihood, psnr, thin_counts

__all__ = ["load_cut", "run_demo", "thin_cut"]

FRACTION = 0.02
SEED = 0
GAUSSIAN_SIGMA = 2.0  # pixels; what one would try first


def load_cut() -> xr.Dataset:
    """PyARPES's bundled cut: 240 x 240 integer counts, ``phi`` by ``eV``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Could not find local configuration file")
        try:
            from arpes.io import example_data
        except ImportError as error:
            raise SystemExit(
                f"the demonstration needs PyARPES and its example data ({error}); see 'Install' "
                f"in the README"
            ) from error
    return example_data.cut


def thin_cut(cut: xr.Dataset, fraction: float, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """The cut with a ``fraction`` of its counts, and the rest scaled to the same exposure."""
    thinned, rest = thin_counts(cut["spectrum"].values, fraction, seed)
    spectrum = cut["spectrum"]
    reference = spectrum.copy(data=rest * (fraction / (1 - fraction)))
    return cut.assign(spectrum=spectrum.copy(data=thinned)), cut.assign(spectrum=reference)


def run_demo(folder: Path, out: TextIO) -> None:
    """Thin the cut to 2 % of its counts, denoise it, judge it by the other 98 %, draw, save."""
    from scipy.ndimage import gaussian_filter

    import arpes_ml_plugins  # noqa: F401  (puts the methods on .S)

    cut = load_cut()
    noisy, reference = thin_cut(cut, FRACTION, SEED)
    counts = noisy["spectrum"]
    print(
        f"PyARPES's example cut, {counts.sizes['phi']} x {counts.sizes['eV']} pixels, thinned to "
        f"{FRACTION:.0%}: {float(counts.mean()):.1f} counts a pixel",
        file=out,
    )
    started = time.perf_counter()
    smooth = gaussian_filter(counts.values.astype(float), GAUSSIAN_SIGMA)
    gaussian_seconds = time.perf_counter() - started
    started = time.perf_counter()
    clean = noisy.S.denoise(rng=SEED, progress=True)
    seconds = time.perf_counter() - started
    record = clean.attrs["provenance"]["record"]
    device, chosen = record["parameters"]["device"], record["found"]["method"]

    judge = reference["spectrum"].values
    ratio = FRACTION / (1 - FRACTION)
    held_out = cut["spectrum"].values - counts.values
    print(f"\n{'':22}{'PSNR (dB)':>10}{'log-likelihood':>16}{'seconds':>9}  device", file=out)
    for name, image, took, where in (
        ("noisy", counts.values, 0.0, "-"),
        (f"Gaussian, {GAUSSIAN_SIGMA:g} pixels", smooth, gaussian_seconds, "cpu"),
        (chosen, clean["spectrum"].values, seconds, device),
    ):
        score = psnr(image, judge, judge * ratio)
        likelihood = held_out_likelihood(image, held_out, 1 / ratio)
        print(f"{name:22}{score:10.2f}{likelihood:16.3f}{took:9.1f}  {where}", file=out)
    print(
        "PSNR against the other 98 % of the counts, corrected for their Poisson variance; mean\n"
        "Poisson log-likelihood of those counts a pixel. Higher is better for both.\n",
        file=out,
    )
    folder.mkdir(parents=True, exist_ok=True)
    picture, file = folder / "denoised_cut.png", folder / "denoised_cut.nc"
    figure = compare(counts, clean["spectrum"], reference["spectrum"])
    with whole_file(picture) as temporary:
        figure.savefig(temporary, dpi=120)
    save(clean, file)
    print(f"picture: {picture}\nresult:  {file} (arpes_ml_plugins.load reads it back)", file=out)
