"""The demonstration: denoise PyARPES's example cut, and measure how well."""

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
GAUSSIAN_SIGMA = 2.0  # pixels, of the Gaussian filter to compare with


def load_cut() -> xr.Dataset:
    """Load PyARPES's example cut: 240 x 240 integer counts, ``phi`` by ``eV``."""
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
    """Split the cut: a ``fraction`` of its counts, and the others scaled to the same exposure."""
    thinned, rest = thin_counts(cut["spectrum"].values, fraction, seed)
    spectrum = cut["spectrum"]
    reference = spectrum.copy(data=rest * (fraction / (1 - fraction)))
    return cut.assign(spectrum=spectrum.copy(data=thinned)), cut.assign(spectrum=reference)


def run_demo(folder: Path, out: TextIO) -> None:
    """Denoise the cut; then thin it to 2 % of its counts, denoise it, and score it on the rest."""
    import arpes_ml_plugins  # noqa: F401  (this import adds the methods to .S)

    cut = load_cut()
    folder.mkdir(parents=True, exist_ok=True)
    clean = _as_it_is(cut, folder, out)
    _thinned(cut, folder, out)
    file = folder / "denoised_cut.nc"
    save(clean, file)
    print(f"result:  {file} (arpes_ml_plugins.load reads it back)", file=out)


def _as_it_is(cut: xr.Dataset, folder: Path, out: TextIO) -> xr.Dataset:
    """Denoise the cut with all of its counts, whose noise is correlated."""
    print("Denoising PyARPES's example cut: ten seconds to two minutes.", file=out, flush=True)
    started = time.perf_counter()
    clean = cut.S.denoise(rng=SEED, progress=True)
    seconds = time.perf_counter() - started
    found = clean.attrs["provenance"]["record"]["found"]
    print(
        f"{cut.sizes['phi']} x {cut.sizes['eV']} pixels. {found['why']}\n"
        f"{found['method']}, {seconds:.1f} seconds",
        file=out,
    )
    _draw(folder / "denoised_cut.png", out, cut["spectrum"], clean["spectrum"])
    return clean


def _thinned(cut: xr.Dataset, folder: Path, out: TextIO) -> None:
    """Denoise a fiftieth of the counts, and score the result on the others."""
    from scipy.ndimage import gaussian_filter

    noisy, reference = thin_cut(cut, FRACTION, SEED)
    counts = noisy["spectrum"]
    print(
        f"\nThe same cut, thinned to {FRACTION:.0%} of its counts: {float(counts.mean()):.1f} "
        f"counts per pixel",
        file=out,
        flush=True,
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
        "Poisson log-likelihood of those counts per pixel. Higher is better for both.\n",
        file=out,
    )
    _draw(folder / "thinned_cut.png", out, counts, clean["spectrum"], reference["spectrum"])


def _draw(picture: Path, out: TextIO, *images: xr.DataArray) -> None:
    figure = compare(*images)
    with whole_file(picture) as temporary:
        figure.savefig(temporary, dpi=120)
    print(f"picture: {picture}", file=out)
