"""Denoisers that are compared; "oracle" means that a parameter was chosen with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr
from scenes import Scene
from scipy.ndimage import gaussian_filter
from stabilised import anscombe, bm3d_binned, inverse_anscombe

import arpes_ml_plugins  # noqa: F401


def oracle(scene: Scene, images: Iterable[np.ndarray]) -> np.ndarray:
    return max(images, key=scene.score)


def by_image(scene: Scene, denoise: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``denoise`` of every image of a map."""
    if scene.noisy.ndim == 2:
        return denoise(scene.noisy)
    return np.stack([denoise(image) for image in scene.noisy])


def gaussian_oracle(scene: Scene) -> np.ndarray:
    widths = np.arange(0.5, 8, 0.1)
    along = (0,) if scene.noisy.ndim == 2 else (0, 0.5, 1, 1.5, 2)
    return oracle(
        scene,
        (
            gaussian_filter(scene.noisy, (a, s, s)[-scene.noisy.ndim :])
            for a in along
            for s in widths
        ),
    )


def tv_oracle(scene: Scene) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    weights = (0.5, 0.7, 1, 1.4, 2, 2.8, 4, 6)
    return oracle(
        scene,
        (
            by_image(scene, lambda y, w=w: inverse_anscombe(denoise_tv_chambolle(anscombe(y), w)))
            for w in weights
        ),
    )


def nlm_oracle(scene: Scene) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    def one(counts: np.ndarray, h: float) -> np.ndarray:
        return inverse_anscombe(
            denoise_nl_means(anscombe(counts), patch_size=7, patch_distance=11, h=h, sigma=1.0)
        )

    return oracle(scene, (by_image(scene, lambda y, h=h: one(y, h)) for h in (0.4, 0.6, 0.8, 1.0)))


def bm3d_oracle(scene: Scene) -> np.ndarray:
    """With the better of no binning and 2 x 2 binning."""
    return oracle(scene, (by_image(scene, lambda y, f=f: bm3d_binned(y, f)) for f in (1, 2)))


def bm4d(scene: Scene) -> np.ndarray:
    """For maps alone."""
    import bm4d

    return inverse_anscombe(bm4d.bm4d(anscombe(scene.noisy), 1.0))


def labelled(scene: Scene) -> xr.DataArray:
    return xr.DataArray(scene.noisy, dims=("ky", "phi", "eV")[-scene.noisy.ndim :])


METHODS: dict[str, Callable[[Scene], np.ndarray]] = {
    "noisy": lambda scene: scene.noisy,
    "Gaussian, oracle": gaussian_oracle,
    "total variation, oracle": tv_oracle,
    "non-local means, oracle": nlm_oracle,
    "BM3D, oracle binning": bm3d_oracle,
    "BM4D": bm4d,
    "denoise_pcp_unet": lambda s: labelled(s).S.denoise_pcp_unet(rng=0).values,
    "denoise_counts": lambda s: labelled(s).S.denoise_counts(rng=0).values,
    "denoise_pretrained, adapt=False": lambda s: (
        labelled(s).S.denoise_pretrained(rng=0, adapt=False).values
    ),
    "denoise_pretrained": lambda s: labelled(s).S.denoise_pretrained(rng=0).values,
    "denoise_pretrained, series=None": lambda s: (
        labelled(s).S.denoise_pretrained(rng=0, series=None).values
    ),
    "denoise_pretrained, mean of two series": lambda s: (
        labelled(s).S.denoise_pretrained(rng=0, series=("ky", "phi")).values
    ),
    "denoise": lambda s: labelled(s).S.denoise(rng=0).values,
}

SLOW_METHODS = {
    "denoise_pcp_unet, published": lambda s: (
        labelled(s).S.denoise_pcp_unet(rng=0, recipe="published").values
    ),
}

SLOW_SCENES = ("cut 2 %", "kink 10")

MAPS = ("map 1",)

FOR_MAPS = (
    "BM4D",
    "denoise_pretrained, series=None",
    "denoise_pretrained, mean of two series",
)
"""Methods that differ from another one on maps only."""


def applies(method: str, scene: str) -> bool:
    if method in SLOW_METHODS:
        return scene in SLOW_SCENES
    return method not in FOR_MAPS or scene in MAPS
