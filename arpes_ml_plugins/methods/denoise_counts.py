"""Denoisers for counts: a network trained on the image itself, or one trained on simulations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.errors import CountsWarning, DataError
from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.labelled.series import choose_series
from arpes_ml_plugins.methods.estimate_noise import noise_of
from arpes_ml_plugins.networks.stored import stored_hash, stored_weights
from arpes_ml_plugins.parameters import check_choice, check_count, check_image, check_positive

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.counts_network import CountsNetwork
    from arpes_ml_plugins.denoising.splitting import Training

__all__ = [
    "COUNTED",
    "counted",
    "decompose_counts",
    "decompose_pretrained",
    "denoise_counts",
    "denoise_pretrained",
    "run_pretrained",
]

SMALLEST_IMAGE = 16
PRECISIONS = ("auto", "float32", "bfloat16")
COUNTED = ("counts", "scaled counts")
"""Kinds of noise for which these methods are valid."""


def denoise_counts(
    data: xr.DataArray | xr.Dataset,
    *,
    gain: float | None = None,
    iterations: int | None = None,
    series: str | None = "auto",
    precision: str = "auto",
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Denoise counts with a network that is trained on these very counts, by splitting them.

    Every step splits the counts at random into two independent images of the same scene, and a
    small network learns to predict one from the other: it can learn the scene but not the noise.
    No other data are involved. Held-out counts decide when to stop.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Counts, or counts times a gain, with an energy and a momentum (or angle) axis, at least
        16 x 16 pixels. Hot pixels and dead lines are left out and filled in; NaN stay NaN.
    gain : float, optional
        Variance over mean, in the unit of the data: 1 for single electrons. Default: as
        :func:`estimate_noise` finds, or an error where counts cannot be split. A given gain is
        believed, with a warning where the data contradict.
    iterations : int, optional
        Steps of training; default 120. More cost more time; the held-out counts
        stop a network that begins to learn noise.
    series : str or None
        A dimension along which neighbouring images resemble each other (time, temperature, the
        second angle): one network then serves all of them and sees the neighbours of each image.
        ``"auto"`` takes the scanned axis along which images differ least, ``None`` none: a
        network of its own for every image.
    precision : {"auto", "float32", "bfloat16"}
        Of the convolutions. ``"auto"`` takes bfloat16 where the hardware multiplies it.
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or the name of a torch device.
    rng : int or torch.Generator, optional
        Seed of the first weights and of the splits. The seed used is recorded.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The energy and the momentum axis where names do not tell.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As given, in the same unit. Integers become float32.

    Raises
    ------
    DataError
        The noise is not that of counts (interpolated, with an offset, background subtracted), or
        too little is there to tell. The message says which, and what to do.
    AxisError, DataTypeError, ParameterError, DeviceError
        Unusable input.

    Warns
    -----
    CountsWarning
        ``gain`` was given for data whose noise contradicts.

    See Also
    --------
    denoise_pretrained : better and faster on anything that looks like ARPES.
    decompose_counts : the same with error bars.

    Notes
    -----
    Binomial thinning of a Poisson number gives two independent Poisson numbers; the loss is their
    Poisson likelihood.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rate = 20 * np.outer(np.hanning(32), np.hanning(32))
    >>> counts = np.random.default_rng(0).poisson(rate)
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> clean = cut.S.denoise_counts(iterations=20, gain=1, rng=0)
    >>> bool(((clean - rate) ** 2).mean() < ((cut - rate) ** 2).mean() / 3)
    True
    """
    check_count("iterations", iterations, optional=True)
    run = _Run("denoise_counts", _untrained, _from_scratch(iterations), False)
    return run(data, dims, gain, series, precision, device, rng, progress)["clean"]


def decompose_counts(
    data: xr.DataArray | xr.Dataset,
    *,
    gain: float | None = None,
    iterations: int | None = None,
    series: str | None = "auto",
    precision: str = "auto",
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Denoise as :func:`denoise_counts` does, with error bars.

    Parameters
    ----------
    data, gain, iterations, series, precision, device, rng, progress, dims
        As in :func:`denoise_counts`.

    Returns
    -------
    xarray.Dataset
        ``clean``, and ``lower`` and ``upper``, between which the truth lies in 68 % of the pixels.
        The band is that of repeated simulated measurements of the clean image, widened where the
        data show structure that the clean image lacks.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        As in :func:`denoise_counts`.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> counts = np.random.default_rng(0).poisson(9.0, size=(32, 32))
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> result = cut.S.decompose_counts(iterations=10, gain=1, rng=0)
    >>> list(result), bool((result.upper > result.lower).all())
    (['clean', 'lower', 'upper'], True)
    """
    check_count("iterations", iterations, optional=True)
    run = _Run("decompose_counts", _untrained, _from_scratch(iterations), True)
    return _dataset(run(data, dims, gain, series, precision, device, rng, progress))


def denoise_pretrained(
    data: xr.DataArray | xr.Dataset,
    *,
    adapt: bool = True,
    gain: float | None = None,
    series: str | None = "auto",
    precision: str = "auto",
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Denoise counts with a network that knows simulated ARPES scenes, and adapt it to the data.

    The network has seen bands of many kinds with their noise (:func:`simulate_scene`); its
    weights come with the package. Adapted, it is trained further on the user's own counts, split
    at random as in :func:`denoise_counts`. Held-out counts decide how far: a state of the network
    that does not make them significantly likelier is not used.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Counts, or counts times a gain, with an energy and a momentum (or angle) axis, at least
        16 x 16 pixels. Hot pixels and dead lines are left out and filled in; NaN stay NaN.
    adapt : bool
        Train further on the data (seconds an image, or a series). Without, the answer comes at
        once, and is nearly as good on what resembles the simulations.
    gain : float, optional
        Variance over mean, in the unit of the data: 1 for single electrons. Default: as
        :func:`estimate_noise` finds, or an error where the data are not counts. A given gain is
        believed, with a warning where the data contradict.
    series : str or None
        A dimension along which neighbouring images resemble each other (time, temperature, the
        second angle): one adapted network then serves all of them, and sees the neighbours of each
        image if held-out counts say that this helps. ``"auto"`` takes the scanned axis along
        which images differ least, ``None`` none.
    precision : {"auto", "float32", "bfloat16"}
        Of the convolutions. ``"auto"`` takes bfloat16 where the hardware multiplies it.
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or the name of a torch device.
    rng : int or torch.Generator, optional
        Seed of the splits. The seed used is recorded.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The energy and the momentum axis where names do not tell.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As given, in the same unit. Integers become float32. The provenance holds the gain used
        and the SHA-256 of the weights.

    Raises
    ------
    DataError
        The noise is not that of counts (interpolated, with an offset, background subtracted), or
        too little is there to tell. The message says which, and what to do.
    AxisError, DataTypeError, ParameterError, DeviceError
        Unusable input.

    Warns
    -----
    CountsWarning
        ``gain`` was given for data whose noise contradicts.

    See Also
    --------
    denoise : chooses a method that suits the data.
    decompose_pretrained : the same with error bars.

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> scene = simulate_scene((64, 64), counts=5, rng=1)
    >>> clean = scene.spectrum.S.denoise_pretrained(adapt=False, rng=0)
    >>> error, noise = ((clean - scene.truth) ** 2).mean(), scene.truth.mean()
    >>> bool(error < noise / 5)
    True
    """
    run = _Run("denoise_pretrained", _pretrained, _adapting(adapt), False, weights="denoiser")
    return run(data, dims, gain, series, precision, device, rng, progress)["clean"]


def decompose_pretrained(
    data: xr.DataArray | xr.Dataset,
    *,
    adapt: bool = True,
    gain: float | None = None,
    series: str | None = "auto",
    precision: str = "auto",
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Denoise as :func:`denoise_pretrained` does, with error bars.

    Parameters
    ----------
    data, adapt, gain, series, precision, device, rng, progress, dims
        As in :func:`denoise_pretrained`.

    Returns
    -------
    xarray.Dataset
        ``clean``, and ``lower`` and ``upper``, between which the truth lies in 68 % of the pixels.
        The band is that of repeated simulated measurements of the clean image, widened where the
        data show structure that the clean image lacks.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        As in :func:`denoise_pretrained`.

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> scene = simulate_scene((64, 64), counts=5, rng=1)
    >>> result = scene.spectrum.S.decompose_pretrained(adapt=False, rng=0)
    >>> inside = (result.lower < scene.truth) & (scene.truth < result.upper)
    >>> bool(inside.mean() > 0.5)
    True
    """
    run = _Run("decompose_pretrained", _pretrained, _adapting(adapt), True, weights="denoiser")
    return _dataset(run(data, dims, gain, series, precision, device, rng, progress))


def _dataset(arrays: dict[str, xr.DataArray]) -> xr.Dataset:
    return xr.Dataset(arrays, attrs=arrays["clean"].attrs)


NetworkMaker = Callable[[int], "CountsNetwork"]


def _untrained(seed: int) -> CountsNetwork:
    from arpes_ml_plugins.denoising.counts_denoiser import new_network

    return new_network(seed)


def _from_scratch(iterations: int | None) -> Training:
    from arpes_ml_plugins.denoising.counts_denoiser import SCRATCH

    return replace(SCRATCH, steps=iterations or SCRATCH.steps)


def _adapting(adapt: bool) -> Training | None:
    from arpes_ml_plugins.denoising.counts_denoiser import ADAPTED

    return ADAPTED if adapt else None


def _pretrained(seed: int) -> CountsNetwork:
    from arpes_ml_plugins.denoising.counts_denoiser import new_network
    from arpes_ml_plugins.denoising.counts_network import WIDTHS

    network = new_network(seed, WIDTHS)
    network.load_state_dict(stored_weights("denoiser"))
    return network


@dataclass(frozen=True)
class _Run:
    """What the four methods have in common."""

    method: str
    make: NetworkMaker
    training: Training | None
    errors: bool
    weights: str | None = None

    def __call__(
        self,
        data: xr.DataArray | xr.Dataset,
        dims: Any,
        gain: float | None,
        series: Hashable | None,
        precision: str,
        device: str,
        rng: Any,
        progress: ProgressOption,
    ) -> dict[str, xr.DataArray]:
        array, image = check_image(data, dims, SMALLEST_IMAGE)
        check_positive("gain", gain, optional=True)
        check_choice("precision", precision, PRECISIONS)
        together = choose_series(array, image, series)
        noise = noise_of(array, image, device)
        lazy = array.chunks is not None
        if not lazy:
            _check_counts(self.method, noise, gain)
        outputs: dict[str, Output] = {"clean": Image()}
        if self.errors:
            outputs |= {"lower": Image(), "upper": Image()}
        numbers = {"gain": noise["gain"], "counted": counted(noise)}
        arrays = map_images(
            array,
            image,
            partial(
                _run_counts,
                make=self.make,
                training=self.training,
                gain=gain,
                errors=self.errors,
                precision=precision,
                series=bool(together),
            ),
            outputs,
            method=self.method,
            device=device,
            seed=rng,
            steps=self._steps(array, together, image),
            progress=progress,
            batch_size=1,
            series=together,
            numbers=numbers,
        )
        found: dict[str, Any] = {"series": [str(dim) for dim in together]}
        if not lazy:
            found |= {"noise": str(noise["verdict"].values), "gain": gain or float(noise["gain"])}
        if self.weights:
            found["weights"] = {self.weights: stored_hash(self.weights)}
        for result in arrays.values():
            result.attrs["found"] = found
        return arrays

    def _steps(
        self,
        array: xr.DataArray,
        together: tuple[Hashable, ...],
        image: tuple[Hashable, Hashable],
    ) -> int:
        from arpes_ml_plugins.denoising.counts_denoiser import steps_of

        pixels = math.prod(array.sizes[dim] for dim in (*together, *image))
        return steps_of(self.training, pixels, self.errors)


def counted(noise: xr.Dataset) -> xr.DataArray:
    """1 where the noise is that of counts, else 0; lazy if ``noise`` is."""
    return noise["kind"].isin(COUNTED).astype(float)


def _check_counts(method: str, noise: xr.Dataset, gain: float | None) -> None:
    """Refuse data that are no counts, unless the user knows better: then warn."""
    kind, verdict = str(noise["kind"].values), str(noise["verdict"].values)
    if gain is None and kind not in COUNTED:
        raise DataError(
            f"{method} needs counts. {verdict} Use denoise_pcp_unet, which does not, or pass "
            f"gain= (variance over mean) to insist"
        )
    if gain is None or kind == "unknown":
        return
    measured, error = float(noise["gain"]), float(noise["gain_error"])
    if kind not in COUNTED:
        warnings.warn(
            f"{method} with gain={gain:g} on data that are no counts. {verdict}",
            CountsWarning,
            stacklevel=2,
        )
    elif abs(measured - gain) > max(5 * error, 0.2 * gain):
        warnings.warn(
            f"{method} with gain={gain:g}, but the noise has a gain of {measured:.3g} ± "
            f"{error:.1g}",
            CountsWarning,
            stacklevel=2,
        )


def run_pretrained(batch: ImageBatch, *, adapt: bool, series: bool) -> dict[str, torch.Tensor]:
    """What :func:`denoise_pretrained` does, with the gain ``batch.numbers["gain"]``."""
    return _run_counts(
        batch,
        make=_pretrained,
        training=_adapting(adapt),
        gain=batch.numbers["gain"],
        errors=False,
        precision="auto",
        series=series,
    )


def _run_counts(
    batch: ImageBatch,
    *,
    make: NetworkMaker,
    training: Training | None,
    gain: float | None,
    errors: bool,
    precision: str,
    series: bool,
) -> dict[str, torch.Tensor]:
    from arpes_ml_plugins.denoising.counts_denoiser import denoise_counts_images
    from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast

    if gain is None and not batch.numbers["counted"]:  # only lazy data come so far
        raise DataError(
            "the noise is not that of counts, see estimate_noise; use denoise_pcp_unet, which does "
            "not need counts, or pass gain= (variance over mean) to insist"
        )
    device = batch.images.device.type
    result = denoise_counts_images(
        batch.images,
        batch.valid,
        gain or batch.numbers["gain"],
        make(batch.seeds[0]),
        training,
        series=series,
        seed=batch.seeds[0],
        errors=errors,
        bfloat16=precision == "bfloat16" or (precision == "auto" and bfloat16_is_fast(device)),
        report=batch.report,
    )
    if result.spread is None:
        return {"clean": result.clean}
    return {
        "clean": result.clean,
        "lower": (result.clean - result.spread).clamp(min=0),
        "upper": result.clean + result.spread,
    }
