"""Predict how much longer to measure until a quantity has the required accuracy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import CountsWarning, DataError, ParameterError
from arpes_ml_plugins.fitting import FEWEST_DRAWS
from arpes_ml_plugins.labelled.axes import IMAGE
from arpes_ml_plugins.labelled.seeds import seed_from
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.parameters import check_count, check_positive, shown
from arpes_ml_plugins.plugins.axes import resolved_dims
from arpes_ml_plugins.plugins.call import public_function
from arpes_ml_plugins.plugins.manager import plugins

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["counts_needed"]

FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Simulated exposures, in units of the present one."""
BEYOND = 4.0  # times the longest simulated exposure: farther extrapolations are marked uncertain
USUAL, USUAL_SPREAD = -0.5, 0.12  # slope of log(error) over log(exposure)
FLATTEST = -0.2  # slope that is still a decrease
LOG_NORMAL = math.pi**2 / 8  # variance of the logarithm of the size of a normal number
SMALLEST = 0.01  # of the error: smaller deviations are chance
FAILED = 10.0  # times the usual deviation: more is no noise, but a fit that failed
QUARTER, TO_MEDIAN = 0.25, 2.1  # quantile that shows the usual one even if half of the fits fail
MOST_FAILED = 1 / 3  # of the simulated measurements


def counts_needed(
    data: xr.DataArray | xr.Dataset,
    quantity: Callable[[xr.DataArray], float],
    error: float,
    *,
    draws: int = 12,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> xr.Dataset:
    """Estimate how much longer to measure until the error of a quantity is small enough.

    Scenes are drawn that agree with the data (:func:`sample_posterior`). Measurements of each are
    then simulated with the noise of the data, with half to eight times their exposure; each is
    denoised, and ``quantity`` is computed from it. The required exposure follows from the decrease
    of its error with the exposure.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Data measured so far, as for :func:`denoise_pretrained`. They are not changed.
    quantity : callable
        Function from a denoised image with the axes of ``data`` to a number: a fitted position, a
        width, an integrated intensity. It is called ``6 * draws + 1`` times.
    error : float
        Required standard deviation, in the unit of ``quantity``. A smaller one needs a longer
        measurement.
    draws : int
        Number of scenes, and of simulated measurements per exposure, at least 2. With twelve, each
        error is accurate to 20 %. More are more accurate and take longer.
    device : str
        Device for the computation, as for the methods.
    rng : int or generator, optional
        Seed of all random numbers; the same seed gives the same result.
    dims : mapping or sequence, optional
        Energy and momentum axis, if their names are not recognised.

    Returns
    -------
    xarray.Dataset
        - ``factor``: required exposure over the present one; 1 or less if the data are sufficient,
          infinite if longer measurements do not help, NaN if ``quantity`` fails too often.
          ``factor_error``: its standard deviation, which contains how much the scenes differ;
        - ``value``: ``quantity`` of the clean image; ``error_now``: its error at the present
          exposure;
        - ``simulated_error`` along ``exposure``: root-mean-square error of the simulations, without
          those in which ``quantity`` is more than ten times as far off as usual;
        - ``status``: result in words.

    Raises
    ------
    DataError
        The noise of the data is not that of counts, or ``quantity`` is not a finite number for the
        clean image.
    ParameterError
        ``quantity`` is no function, ``error`` is not positive, or ``draws`` is less than 2.

    See Also
    --------
    sample_posterior, fit_draws : compute the error for the present data.

    Notes
    -----
    The error is assumed to be a power of the exposure, which is fitted to all simulated exposures
    with a prior for the exponent of -0.5 ± 0.12. The error falls more slowly than with the square
    root if the prior knowledge of the network dominates over the data, and faster if structure
    becomes resolved. The scenes differ where the data do not show yet how sharp a structure is,
    and with it how long it must be measured. ``factor_error`` may then be larger than ``factor``;
    repeat the estimate after half of the time.

    Examples
    --------
    >>> import numpy as np, arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> cut = simulate_scene((32, 32), counts=2, rng=1).spectrum
    >>> total = lambda image: float(image.isel(eV=slice(10, 30)).sum())
    >>> needed = arpes_ml_plugins.counts_needed(cut, total, error=20.0, draws=4, rng=0)
    >>> bool(1 < needed.factor < 20)
    True
    """
    if not callable(quantity):
        raise ParameterError(
            f"quantity must be a function from an image to a number, got {shown(quantity)}"
        )
    check_positive("error", error)
    check_count("draws", draws, least=FEWEST_DRAWS)
    array, _ = select_spectrum(data)
    array = strip_unit(array)[0].compute()
    seed = seed_from(rng)
    image = resolved_dims(array, IMAGE, dims)
    options: dict[str, Any] = {"device": device, "dims": dims}
    estimate = _method("estimate_noise")(array, **options)
    options |= {"adapt": False, "rng": seed}
    noise = _model(estimate)
    value = _number(quantity, _method("denoise_pretrained")(array, **options))
    cut_off, read_out = (float(estimate[name]) for name in ("cut_off", "cut_off_noise"))
    off = np.empty((len(FACTORS), draws))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CountsWarning)  # it was issued before
        scenes = _method("sample_posterior")(array, draws=draws, **options)
        for draw in range(draws):
            scene = scenes.isel(draw=draw, drop=True)
            true = float(quantity(scene))
            for number, exposure in enumerate(FACTORS):
                own = seed + 1 + draw * len(FACTORS) + number
                again = _simulated(scene, image, noise, exposure, own)
                if read_out > 0:
                    again = _cut_off(again, cut_off, read_out * exposure**-0.5, own)
                gain = None if noise.shift or noise.curvature else noise.gain / exposure
                found = _method("denoise_pretrained")(again, gain=gain, mesh=None, **options)
                off[number, draw] = float(quantity(found)) - true
    return _answer(value, off, error)


def _method(name: str) -> Callable[..., Any]:
    return public_function(plugins().methods[name])


def _model(estimate: xr.Dataset) -> NoiseModel:
    from arpes_ml_plugins.denoising.noise_model import NoiseModel

    kind = str(estimate["kind"].values)
    if not math.isfinite(float(estimate["gain"])):
        raise DataError(
            f"expected counts, or counts times a gain, of which more can be simulated; got values "
            f"of the kind {kind!r}: {estimate['verdict'].item()} Pass the counts, before anything "
            f"is subtracted"
        )
    correlated = kind == "correlated"
    rows, columns = (
        float(estimate[f"{axis}_correlation"]) if correlated else 0.0
        for axis in ("energy", "momentum")
    )
    names = ("gain", "shift", "pedestal", "curvature")
    gain, shift, pedestal, curvature = (float(estimate[name]) for name in names)
    return NoiseModel(gain, shift, rows, columns, pedestal, curvature)


def _number(quantity: Callable[[xr.DataArray], float], image: xr.DataArray) -> float:
    value = float(quantity(image))
    if not math.isfinite(value):
        raise DataError(
            f"quantity returned {value}; expected a finite number for the denoised image. Test "
            f"it on data.S.denoise() first"
        )
    return value


def _simulated(
    clean: xr.DataArray, image: tuple[Hashable, ...], noise: NoiseModel, exposure: float, seed: int
) -> xr.DataArray:
    """Simulate a measurement of ``clean`` of ``exposure`` times the duration, in the same unit."""
    import torch

    batch = [dim for dim in clean.dims if dim not in image]
    ordered = clean.transpose(*batch, *image)
    missing = np.isnan(ordered.values)
    values = torch.from_numpy(np.where(missing, 0, ordered.values)).double()
    electrons = noise.electrons(values, mean=True).clamp(min=0)
    generator = torch.Generator().manual_seed(seed)
    longer = replace(noise, shift=noise.shift * exposure, pedestal=noise.pedestal * exposure)
    drawn = longer.measured(electrons * exposure, generator)
    again = np.where(missing, np.nan, noise.values(drawn / exposure, mean=False).numpy())
    return ordered.copy(data=again).transpose(*clean.dims)


def _cut_off(image: xr.DataArray, level: float, read_out: float, seed: int) -> xr.DataArray:
    """The values with noise of the read-out, of which those below ``level`` are set to it."""
    noise = np.random.default_rng(seed).normal(0, read_out, image.shape)
    return (image + noise).clip(min=level, keep_attrs=True)


def _answer(value: float, off: np.ndarray, wanted: float) -> xr.Dataset:
    """The exposure whose error is ``wanted``; ``off`` are the deviations, by exposure and scene."""
    failed = _failed(off)
    off = np.where(failed, np.nan, off)
    many = f"{failed.sum()} of {failed.size} simulated measurements, as if a fit failed"
    if failed.mean() > MOST_FAILED:
        errors = np.full(len(off), np.nan)
        factor, spread, now = math.nan, math.nan, math.nan
        status = f"quantity is far off for {many}: make it more robust, or measure longer"
    else:
        errors = np.sqrt(np.nanmean(np.square(off), axis=1))
        factor, spread, now, status = _extrapolated(off, errors, wanted)
        status += f"; quantity is far off for {many}: they are left out" if failed.any() else ""
    numbers = {
        "factor": factor,
        "factor_error": spread,
        "value": value,
        "error_now": now,
        "status": status,
    }
    return xr.Dataset(
        {"simulated_error": ("exposure", errors), **numbers}, coords={"exposure": list(FACTORS)}
    )


def _failed(off: np.ndarray) -> np.ndarray:
    """Deviations that are no numbers, or far larger than usual."""
    sizes = np.where(np.isfinite(off), np.abs(off), np.inf)
    usual = TO_MEDIAN * np.quantile(sizes, QUARTER, axis=1, keepdims=True, method="lower")
    return np.isinf(sizes) | ((sizes > FAILED * usual) & (usual > 0))


def _extrapolated(
    off: np.ndarray, errors: np.ndarray, wanted: float
) -> tuple[float, float, float, str]:
    """Fit a power law to the ``errors``: the factor, its error, the error now, and a status."""
    used = np.isfinite(off).sum(1)
    each = (2 * np.maximum(used - 1, 1)) ** -0.5  # relative errors of standard deviations
    # The prior is one more equation: errors due to noise fall with the root of the exposure.
    design = np.array([*((1.0, math.log(factor)) for factor in FACTORS), (0.0, 1.0)])
    weights = np.array([*(1 / each), 1 / USUAL_SPREAD])
    known = np.append(np.log(np.maximum(errors, np.finfo(float).tiny)), USUAL)
    weighted = design.T * weights**2
    covariance = np.linalg.inv(weighted @ design)
    level, slope = covariance @ weighted @ known
    now = math.exp(level)
    if slope > FLATTEST:
        status = "the error does not fall with the exposure, so it is not limited by noise"
        return (1.0 if now <= wanted else math.inf), math.nan, now, status
    power = (math.log(wanted) - level) / slope
    gradient = np.array([-1 / slope, -power / slope])
    factor = math.exp(power)
    variance = gradient @ covariance @ gradient + _variance_of_scenes(off, errors) / slope**2
    spread = factor * math.sqrt(variance)
    status = "the data are sufficient" if factor <= 1 else "measure longer"
    if factor > BEYOND * FACTORS[-1]:
        status += "; the exposure is far beyond those simulated, so the factor is uncertain"
    if spread > factor > 1:
        status += "; the data do not yet show how long: repeat this after half of the time"
    return factor, spread, now, status


def _variance_of_scenes(off: np.ndarray, errors: np.ndarray) -> float:
    """Variance of the logarithm of the error from scene to scene, beyond chance."""
    least = np.maximum(SMALLEST * errors, np.finfo(float).tiny)[:, None]
    sizes = np.log(np.maximum(np.abs(off), least))
    sizes = sizes[:, np.isfinite(sizes).any(0)]
    levels = np.nanmean(sizes - np.nanmean(sizes, axis=1, keepdims=True), axis=0)
    return max(levels.var(ddof=1) - LOG_NORMAL / len(off), 0.0)
